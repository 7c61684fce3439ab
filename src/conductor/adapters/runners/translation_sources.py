"""What a translation looks at: its source, read once by the encoder, as keys and values for each layer of the decoder.

A text's source is read with its first step and kept as long as the text grows. For a step, the sources of its rows are
put side by side, padded at the end; that is done anew only when other texts are in the step.

It reaches into the attention of Transformers' M2M100 (of which NLLB are): keys and values of a source are made by its
own projections, because texts must be able to join and leave while others grow, which its own caches cannot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Translated(Protocol):
    """A text that is being translated: what its encoder reads, as token ids."""

    source: list[int]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """The sources of a step's rows.

    Args:
        cache: keys and values of each layer, [rows, heads, tokens, width].
        mask: added to scores, [rows, 1, 1, tokens].
    """

    cache: Any
    mask: Any


class Sources:
    """Sources of texts, by text, until it is told that nobody looks at them any more.

    Args:
        torch, transformers: the modules.
        model: an `M2M100ForConditionalGeneration`.
        device: where its inputs go.
    """

    def __init__(self, torch: Any, transformers: Any, model: Any, *, device: Any, padding: int) -> None:
        self._torch = torch
        self._transformers = transformers
        self._encoder = model.get_encoder()
        self._layers = list(model.get_decoder().layers)
        self._device = device
        self._padding = padding
        self._dtype = model.get_input_embeddings().weight.dtype
        self._kept: dict[Translated, list[tuple[Any, Any]]] = {}
        self._together: tuple[tuple[int, ...], SideBySide] | None = None

    def of(self, texts: Sequence[Translated]) -> SideBySide:
        """The sources of these texts, in order; those that are new are read."""
        self._read([text for text in texts if text not in self._kept])
        who = tuple(map(id, texts))
        if self._together is None or self._together[0] != who:
            self._together = (who, self._side_by_side(texts))
        return self._together[1]

    def forget(self, text: Translated) -> None:
        """Nothing looks at this source any more."""
        self._kept.pop(text, None)
        self._together = None

    def _read(self, texts: Sequence[Translated]) -> None:
        if not texts:
            return
        torch = self._torch
        longest = max(len(text.source) for text in texts)
        ids = torch.tensor(
            [text.source + [self._padding] * (longest - len(text.source)) for text in texts], device=self._device
        )
        real = torch.tensor(
            [[1] * len(text.source) + [0] * (longest - len(text.source)) for text in texts], device=self._device
        )
        read = self._encoder(input_ids=ids, attention_mask=real).last_hidden_state  # [texts, tokens, hidden]
        made = [_keys_and_values(layer, read) for layer in self._layers]
        for row, text in enumerate(texts):
            length = len(text.source)
            self._kept[text] = [(keys[row, :, :length], values[row, :, :length]) for keys, values in made]

    def _side_by_side(self, texts: Sequence[Translated]) -> SideBySide:
        torch = self._torch
        cache = self._transformers.DynamicCache()
        longest = max(len(text.source) for text in texts)
        for layer in range(len(self._layers)):
            padded = []
            for which in (0, 1):
                first = self._kept[texts[0]][layer][which]  # [heads, tokens, width]
                stacked = first.new_zeros((len(texts), first.shape[0], longest, first.shape[2]))
                for row, text in enumerate(texts):
                    stacked[row, :, : len(text.source)] = self._kept[text][layer][which]
                padded.append(stacked)
            cache.update(padded[0], padded[1], layer)
        lengths = torch.tensor([len(text.source) for text in texts], device=self._device)
        behind = torch.arange(longest, device=self._device)[None, :] >= lengths[:, None]  # [rows, tokens]
        mask = torch.zeros(behind.shape, dtype=self._dtype, device=self._device)
        return SideBySide(cache, mask.masked_fill_(behind, torch.finfo(self._dtype).min)[:, None, None])


def _keys_and_values(layer: Any, read: Any) -> tuple[Any, Any]:
    """[texts, heads, tokens, width] each, on the layer's device."""
    attention = layer.encoder_attn
    read = read.to(layer.encoder_attn_layer_norm.weight.device)
    keys, values = (
        made.view(*read.shape[:-1], -1, attention.head_dim).transpose(1, 2)
        for made in (attention.k_proj(read), attention.v_proj(read))
    )
    return keys, values


def own_places(torch: Any, table: Any) -> Any:
    """A module that stands in for the decoder's `embed_positions`, and looks up each row's own places.

    Transformers' own counts all rows of a step from the same place. `rows` is set before each step: int64 [rows, step].
    """

    class OwnPlaces(torch.nn.Module):  # type: ignore[misc]  # torch is looked up here
        rows: Any = None

        def forward(self, *_: Any, **__: Any) -> Any:
            return table.weights[self.rows.to(table.weights.device)]

    return OwnPlaces()
