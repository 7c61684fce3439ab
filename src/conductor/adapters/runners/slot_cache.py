"""Keys and values of several texts at once, each row at its own length: what lets texts join and leave a batch.

It stands where transformers expects its `Cache`: a layer hands in the keys and values of the present step, which are
written at each row's own place, and gets back those of the rows in this step as a view. Nothing is copied per token,
where a `DynamicCache` copies everything. Rows in use are kept next to each other by their owner (`batch`), so that a
step is a range of rows.

Not covered: layers that do not keep keys and values (Mamba and other recurrences).
"""

from collections.abc import Sequence
from typing import Any


class SlotCache:
    """Rows × capacity of keys and values, on the devices where the layers are.

    Args:
        torch: the module.
        layers: how many layers the model has.
    """

    def __init__(self, torch: Any, *, layers: int) -> None:
        self._torch = torch
        self.rows = 0
        self.capacity = 0
        self._kept: list[list[Any]] = [
            [None, None] for _ in range(layers)
        ]  # keys, values: [rows, heads, tokens, width]
        self._first = self._count = self._past = self._step = 0
        self._starts: Sequence[int] = ()
        self._places: dict[Any, tuple[Any, Any]] = {}

    def reshape(self, rows: int, capacity: int) -> None:
        """Make room for that much; what is beyond is forgotten. Layer by layer, so that little is held twice."""
        for kept in self._kept:
            for which, old in enumerate(kept):
                if old is not None:
                    new = old.new_zeros((rows, old.shape[1], capacity, old.shape[3]))
                    common, length = min(rows, self.rows), min(capacity, self.capacity)
                    new[:common, :, :length] = old[:common, :, :length]
                    kept[which] = new
        self.rows, self.capacity = rows, capacity

    def begin(self, first: int, starts: Sequence[int], step: int) -> None:
        """The next forward pass is for rows `first`…, which hold `starts` tokens, and reads `step` tokens of each."""
        self._first, self._count, self._starts, self._step = first, len(starts), starts, step
        self._past = max(starts)
        self._places = {}

    @property
    def is_even(self) -> bool:
        """Whether all rows of this step hold equally much, so that nothing has to be masked but the future."""
        return min(self._starts) == self._past

    def mask(self, dtype: Any, device: Any, *, window: int | None = None) -> Any:
        """What each token of this step may look at, as numbers that are added to scores.

        Returns:
            [rows, 1, step, past + step]; 0 where it may, the smallest number of `dtype` where it may not.
        """
        torch = self._torch
        at = torch.tensor(self._starts, device=device)[:, None] + torch.arange(
            self._step, device=device
        )  # [rows, step]
        seen = torch.arange(self._past + self._step, device=device)
        allowed = seen[None, None, :] <= at[:, :, None]
        if window is not None:
            allowed &= seen[None, None, :] > at[:, :, None] - window
        blocked = torch.zeros(allowed.shape, dtype=dtype, device=device)
        return blocked.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]

    def update(self, keys: Any, values: Any, layer: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Write this step's keys and values, each [rows, heads, step, width]; returns all of these rows."""
        rows = slice(self._first, self._first + self._count)
        found = []
        for which, new in enumerate((keys, values)):
            kept = self._kept[layer][which]
            if kept is None:
                kept = new.new_zeros((self.rows, new.shape[1], self.capacity, new.shape[3]))
                self._kept[layer][which] = kept
            if self.is_even:
                kept[rows, :, self._past : self._past + self._step] = new
            else:
                row, at = self._at(new.device)
                kept[row, :, at] = new.transpose(1, 2)
            found.append(kept[rows, :, : self._past + self._step])
        return found[0], found[1]

    def _at(self, device: Any) -> tuple[Any, Any]:
        """Rows [rows, 1] and places [rows, step] of this step, made once a device."""
        if device not in self._places:
            torch = self._torch
            row = torch.arange(self._first, self._first + self._count, device=device)[:, None]
            starts = torch.tensor(self._starts, device=device)[:, None]
            self._places[device] = (row, starts + torch.arange(self._step, device=device))
        return self._places[device]

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange two rows of which none holds more than `length` tokens."""
        if one == other or not length:
            return
        for kept in filter(_is_made, self._tensors()):
            held = kept[one, :, :length].clone()
            kept[one, :, :length] = kept[other, :, :length]
            kept[other, :, :length] = held

    def copy(self, source: int, target: int, length: int) -> None:
        """Have `target` begin like `source`."""
        for kept in filter(_is_made, self._tensors()):
            kept[target, :, :length] = kept[source, :, :length]

    def clear(self, row: int) -> None:
        """Forget a row's numbers. Masked numbers count nothing, but what is no number would spoil the next text."""
        for kept in filter(_is_made, self._tensors()):
            kept[row] = 0

    def _tensors(self) -> list[Any]:
        return [kept for pair in self._kept for kept in pair]

    # What transformers asks a cache when it makes masks itself, which it does where rows are even.

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that the rows of this step hold."""
        return self._past

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """The place of the step's first token."""
        return self._past

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Tokens that a step of that length looks at, and the place of the first."""
        return self._past + query_length, 0


def _is_made(kept: Any) -> bool:
    return kept is not None
