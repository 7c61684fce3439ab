"""What engines on torch have in common: a loaded model, the batch in which texts grow, and which request each text is of.

Not covered: how a text begins and what is computed for it (`transformers_engine`, `translating_engine`).
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from conductor.adapters.runners.batch import Batch
from conductor.adapters.runners.beginnings import Tell
from conductor.adapters.runners.cards import memory_on_cards
from conductor.adapters.runners.transformers_loading import Loaded, ends_of
from conductor.adapters.runners.writing import Writing
from conductor.domain.generation import Message
from conductor.domain.model import ModelName
from conductor.serving.ports import RunnerFacts, Warmed

WritingT = TypeVar("WritingT", bound=Writing)


class TorchEngine(Generic[WritingT]):
    """Most of a `worker.Engine`; who inherits makes `_batch` and `facts`, begins texts, counts and embeds.

    Args:
        loaded: the model.
    """

    facts: RunnerFacts
    _batch: Batch

    def __init__(self, loaded: Loaded) -> None:
        import torch

        self._torch = torch
        self._model, self._tokenizer, self._device = loaded.model, loaded.tokenizer, loaded.device
        self.notes = loaded.notes
        self._ends = ends_of(self._model, self._tokenizer)
        self._open: dict[int, WritingT] = {}

    @property
    def has_work(self) -> bool:
        """Whether `step` would do something."""
        return not self._batch.is_idle

    def warm(self, number: int, beginning: Sequence[Message], tell: Tell) -> None:
        """Nothing: where texts look at sources of their own, equal beginnings have nothing in common."""
        tell(Warmed(0, 0, 0))

    def cancel(self, number: int) -> None:
        """Stop a text; nothing happens if it has ended."""
        writing = self._open.get(number)
        if writing is not None:
            with self._torch.inference_mode():  # what was made in this mode may only be changed in it
                self._batch.drop(writing)
            self.ended(number)

    def ended(self, number: int) -> None:
        """Its last piece or its error was told."""
        writing = self._open.pop(number, None)
        if writing is not None:
            self._forget(writing)

    def step(self) -> None:
        """Compute a little for everybody."""
        with self._torch.inference_mode():
            self._batch.step()

    def _put(self, number: int, writing: WritingT) -> None:
        self._open[number] = writing
        self._batch.put(writing)

    def _forget(self, writing: WritingT) -> None:
        """Let go of what was kept for a text besides."""

    def _decoded(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _facts_of(
        self,
        loaded: Loaded,
        *,
        name: str,
        context_tokens: int,
        devices: Sequence[str],
        measure_bytes: Callable[[], int],
    ) -> RunnerFacts:
        """What the model is, once everything is in its place; what it can do besides writing is for the caller to say."""
        on_cards = memory_on_cards(self._torch, devices)
        return RunnerFacts(
            backend="transformers",
            device=loaded.devices,
            precision=loaded.precision,
            context_tokens=context_tokens,
            memory_bytes=sum(count for _, count in on_cards) or measure_bytes(),
            memory_on=on_cards,
            constrains=False,
            embeds=False,
            fills_in=False,
            model=ModelName(name),
        )
