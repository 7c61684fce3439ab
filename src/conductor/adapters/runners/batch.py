"""Continuous batching: several texts grow at once, and each joins and leaves when it likes.

A step reads a stretch of the prompts that are new and adds a token to each text that has been read, so a long prompt
does not stop the others. Rows of the cache are kept in this order: texts that grow, prompts that are being read, rows
nobody uses. The last ones are remembered: a text that begins like one of them, or like one under way, does not read
that beginning again (a shared system prompt, the next turn of a conversation).

Memory is bounded by rows × longest text. Where it does not suffice, the text that came last goes back to waiting and is
read again later; nothing of it is lost. What a token does to its text is `writing`'s, which token it is `choosing_tokens`'.

Not covered: speculative decoding; results that are equal to the last bit whatever else is in the batch: matrix
products of other shapes round otherwise, and 8-bit activations on a processor share one scale.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from conductor.adapters.runners.beginnings import common_length
from conductor.adapters.runners.slot_cache import SlotCache
from conductor.domain.errors import ConductorError, ModelError

#: Tokens of prompts that one step reads.
STRETCH: Final = 256
_LEAST_CAPACITY: Final = 256
#: Copying a beginning from a text under way is worth it from so many tokens on.
_WORTH_COPYING: Final = 16


class Text(Protocol):
    """One text that grows: `tokens` with the prompt, `cached_tokens` of which did not have to be read at its beginning."""

    tokens: list[int]
    cached_tokens: int | None

    def add(self, scores: Any, likeliest: int) -> bool:
        """Choose the next token and append it to `tokens`; whether the text has ended. Scores: float32 [vocabulary]."""
        ...

    def fail(self, error: ConductorError) -> None:
        """It ends because of an error."""
        ...


#: Forward pass: rows from `first` on, token ids [rows, step], how many each row holds, which of its places counts.
#: Returns float32 scores [rows, vocabulary] at that place, on the processor.
Forward = Callable[[int, list[list[int]], Sequence[int], Sequence[int]], Any]


@dataclass(slots=True, eq=False)
class _Row:
    """What a row of the cache holds, and whose it is."""

    read: list[int] = field(default_factory=list)
    text: Text | None = None
    used: int = 0


class Batch:
    """Texts under way and texts that wait.

    Args:
        cache: where keys and values are kept.
        forward: computes.
        most_rows: texts at a time.
        context: tokens of the longest text.
        most_tokens: of the cache, rows × capacity; one text may always have the whole context.
        remembers: whether equal beginnings have equal keys and values; not so where texts look at sources of their own.
    """

    def __init__(
        self, cache: SlotCache, forward: Forward, *, most_rows: int, context: int, most_tokens: int,
        remembers: bool = True,
    ) -> None:  # fmt: skip
        self._cache = cache
        self._remembers = remembers
        self._forward = forward
        self._most_rows = most_rows
        self._context = context
        self._most_tokens = most_tokens
        self._waiting: deque[Text] = deque()
        self._rows: list[_Row] = []
        self._growing = 0  # rows before this one are read
        self._active = 0  # rows before this one are somebody's
        self._steps = 0

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._active and not self._waiting

    def texts(self, first: int, count: int) -> list[Text]:
        """Whose the rows of a forward pass are."""
        return [row.text for row in self._rows[first : first + count] if row.text]

    def known(self, tokens: Sequence[int]) -> int:
        """How many of these tokens some row begins with."""
        if not self._remembers:
            return 0
        return max((common_length(row.read, tokens) for row in self._rows), default=0)

    def put(self, text: Text) -> None:
        """Have a text begin as soon as there is room."""
        self._waiting.append(text)

    def drop(self, text: Text) -> None:
        """Stop a text, wherever it is."""
        if text in self._waiting:
            self._waiting.remove(text)
        for at, row in enumerate(self._rows[: self._active]):
            if row.text is text:
                self._release(at)
                return

    def step(self) -> None:
        """Read a stretch of new prompts, and add a token to each text that was read.

        An error of the computation ends the texts that were in it, and the cache is emptied.
        """
        self._steps += 1
        try:
            self._admit()
            if self._active > self._growing:
                self._read()
            if self._growing:
                self._grow()
        except (RuntimeError, MemoryError) as failed:  # torch tells of too little memory like that
            self.fail_all(
                ModelError(f"the computation failed: {str(failed)[:200]}; try a shorter text or a smaller model")
            )

    def fail_all(self, error: ModelError) -> None:
        """End everything with an error, and forget what was read."""
        texts = [row.text for row in self._rows if row.text] + list(self._waiting)
        self._waiting.clear()
        self._rows, self._growing, self._active = [], 0, 0
        self._cache.reshape(0, 0)
        for text in texts:
            text.fail(error)

    # -- joining ------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        while self._waiting and self._active < self._most_rows:
            text = self._waiting[0]
            longest = max([len(text.tokens) + 1, *(len(row.text.tokens) + 1 for row in self._rows if row.text)])
            if not self._fits(self._active + 1, longest):
                return
            self._waiting.popleft()
            self._join(text)

    def _join(self, text: Text) -> None:
        """Give a text a row, with as much of its beginning as some row holds."""
        at = self._place_for(text)
        common = self._known(text)
        source = max(range(len(common)), key=common.__getitem__)
        if common[source] >= common[at] + _WORTH_COPYING:
            self._cache.copy(source, at, common[source])
            common[at], self._rows[source].used = common[source], self._steps
        row = self._rows[at]
        row.read = text.tokens[: common[at]]
        row.text, row.used = text, self._steps
        if text.cached_tokens is None:
            text.cached_tokens = common[at]
        self._swap(at, self._active)
        self._active += 1

    def _place_for(self, text: Text) -> int:
        """The idle row that holds most of a text's beginning, if little else of it is lost; else a new or the oldest row."""
        common = self._known(text)
        idle = range(self._active, len(self._rows))
        loses_little = [place for place in idle if len(self._rows[place].read) - common[place] < _WORTH_COPYING]
        if loses_little:
            return max(loses_little, key=lambda place: (common[place], -self._rows[place].used))
        oldest = min(idle, key=lambda place: self._rows[place].used, default=None)
        if oldest is None or len(self._rows) < self._most_rows:
            return self._new_row(len(text.tokens) + 1, oldest)
        return oldest

    def _known(self, text: Text) -> list[int]:
        """How much of a text's beginning each row holds. The last token has to be read again, for its scores."""
        if not self._remembers:
            return [0] * len(self._rows)
        return [min(common_length(row.read, text.tokens), len(text.tokens) - 1) for row in self._rows]

    def _new_row(self, length: int, otherwise: int | None) -> int:
        """A row that holds nothing yet, if there may be one more."""
        count, capacity = len(self._rows) + 1, self._cache.capacity
        if count * capacity > self._most_tokens:
            if otherwise is not None:
                return otherwise
            longest = max([length, *(len(row.text.tokens) + 1 for row in self._rows if row.text)])
            capacity = max(longest, self._most_tokens // count)
            for row in self._rows:
                row.read = row.read[:capacity]
        self._cache.reshape(count, capacity)
        self._rows.append(_Row())
        return count - 1

    # -- steps --------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Read on in the prompts that are not read yet."""
        rows = self._rows[self._growing : self._active]
        left = [len(row.text.tokens) - len(row.read) for row in rows if row.text]
        step = max(1, min(max(left), STRETCH // len(rows)))
        self._make_room(max(len(row.read) for row in rows) + step)
        first = self._growing
        rows = self._rows[first : self._active]  # making room may have sent some back
        if not rows:
            return
        starts = [len(row.read) for row in rows]
        new = [row.text.tokens[start : start + step] for row, start in zip(rows, starts, strict=True) if row.text]
        scores = self._forward(
            first, [each + [0] * (step - len(each)) for each in new], starts, [len(each) - 1 for each in new]
        )
        likeliest = scores.argmax(dim=-1).tolist()
        for row, each in zip(rows, new, strict=True):
            row.read = row.read + each
        for number, row in enumerate(rows):
            if row.text is not None and len(row.read) == len(row.text.tokens):
                self._swap(self._rows.index(row), self._growing)
                self._growing += 1
                self._extend(row, scores[number], likeliest[number])

    def _grow(self) -> None:
        """Add a token to each text that was read."""
        self._make_room(max(len(row.read) for row in self._rows[: self._growing]) + 1)
        rows = self._rows[: self._growing]
        if not rows:
            return
        new = [[row.text.tokens[len(row.read)]] for row in rows if row.text]
        scores = self._forward(0, new, [len(row.read) for row in rows], [0] * len(rows))
        likeliest = scores.argmax(dim=-1).tolist()
        for row, each in zip(rows, new, strict=True):
            row.read.extend(each)
        for number, row in enumerate(rows):
            self._extend(row, scores[number], likeliest[number])

    def _extend(self, row: _Row, scores: Any, likeliest: int) -> None:
        assert row.text is not None
        try:
            ended = row.text.add(scores, likeliest)
        except ConductorError as failed:
            row.text.fail(failed)
            row.read = []
            self._cache.clear(self._rows.index(row))
            ended = True
        if ended:
            self._release(self._rows.index(row))

    # -- room ---------------------------------------------------------------------------------------------------

    def _capacity(self, length: int) -> int:
        """Rounded up, so that growing is rare."""
        return min(self._context, max(_LEAST_CAPACITY, 1 << (length - 1).bit_length())) if length else 0

    def _fits(self, rows: int, length: int) -> bool:
        return rows <= 1 or rows * length <= self._most_tokens

    def _make_room(self, length: int) -> None:
        """See that the rows can hold that many tokens; who came last waits if they cannot all."""
        length = min(length, self._context + STRETCH)
        if length <= self._cache.capacity:
            return
        while not self._fits(self._active, length):
            self._send_back()
        rows = len(self._rows)
        if not self._fits(rows, length):
            rows = self._active
            del self._rows[rows:]
        capacity = max(length, self._capacity(length))
        if not self._fits(rows, capacity):
            capacity = max(length, self._most_tokens // rows)
        self._cache.reshape(rows, capacity)

    def _send_back(self) -> None:
        at = max(range(self._active), key=lambda place: self._rows[place].used)
        text = self._rows[at].text
        assert text is not None
        self._release(at)
        self._waiting.appendleft(text)

    def _release(self, at: int) -> None:
        """Nobody uses the row any more; what it holds is remembered."""
        self._rows[at].text, self._rows[at].used = None, self._steps
        if at < self._growing:
            self._growing -= 1
            self._swap(at, self._growing)
            at = self._growing
        self._active -= 1
        self._swap(at, self._active)

    def _swap(self, one: int, other: int) -> None:
        if one != other:
            rows = self._rows
            self._cache.swap(one, other, max(len(rows[one].read), len(rows[other].read)))
            rows[one], rows[other] = rows[other], rows[one]
