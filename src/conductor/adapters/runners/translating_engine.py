"""Run a model of `transformers` that only translates, and is told languages by codes (NLLB), for several texts at a time.

As in `transformers_engine` texts grow together in a `batch`, join and leave; what is different: each looks at its own
source (`translation_sources`), a translation begins with the code of its language, and equal beginnings mean nothing.
The likeliest token is taken, or one is drawn; there are no beams, which cannot be streamed. Belongs into the engine process.

Not covered: M2M100 and mBART with codes of their own, the mixture of experts among the NLLB models; grammars, tools.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from conductor.adapters.runners.batch import Batch
from conductor.adapters.runners.choosing_tokens import Chooser
from conductor.adapters.runners.slot_cache import SlotCache
from conductor.adapters.runners.tool_calls import ToolSieve
from conductor.adapters.runners.torch_engine import TorchEngine
from conductor.adapters.runners.transformers_loading import load
from conductor.adapters.runners.translation_prompts import TranslationPrompts
from conductor.adapters.runners.translation_sources import Sources, own_places
from conductor.adapters.runners.writing import Emit, Writing
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Generation, Usage
from conductor.domain.model import Precision


class _Translating(Writing):
    """A translation that grows; `source` is what its encoder reads."""

    source: list[int]


class TranslatingEngine(TorchEngine[_Translating]):
    """A `worker.Engine` of a folder with an NLLB model; for one thread.

    Args:
        devices, most_rows, most_context_tokens, measure_bytes: as `TransformersEngine`; the context is that of a source,
            and that of a translation.

    Raises:
        ModelError: it cannot be loaded; names the remedy.
    """

    def __init__(
        self, folder: Path, *, name: str, precision: Precision, available_bytes: int, threads: int, most_rows: int,
        most_context_tokens: int | None, measure_bytes: Callable[[], int], devices: Sequence[str] = (),
    ) -> None:  # fmt: skip
        loaded = load(
            folder, name=name, asked=precision, available_bytes=available_bytes, threads=threads, devices=devices
        )
        super().__init__(loaded)
        import torch
        import transformers

        config = self._model.config
        known = int(config.max_position_embeddings)
        self._context = min(known, most_context_tokens or known)
        self._padding = int(config.pad_token_id)
        self._start = int(config.decoder_start_token_id)
        self._prompts = TranslationPrompts(self._tokenizer, name=name)
        self._decoder = self._model.get_decoder()
        self._places = own_places(torch, self._decoder.embed_positions)
        self._decoder.embed_positions = self._places
        self._sources = Sources(torch, transformers, self._model, device=self._device, padding=self._padding)
        layers = int(config.decoder_layers)
        self._own = SlotCache(torch, layers=layers)
        self._both = transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())
        self._both.self_attention_cache = self._own
        self._both.is_updated = dict.fromkeys(range(layers), True)  # the sources' keys and values are always there
        self._batch = Batch(
            self._own,
            self._computed,
            most_rows=most_rows,
            context=self._context,
            most_tokens=most_rows * self._context,
            remembers=False,
        )
        facts = self._facts_of(
            loaded, name=name, context_tokens=self._context, devices=devices, measure_bytes=measure_bytes
        )
        self.facts = replace(facts, translates=True)

    def begin(self, number: int, asked: Generation, emit: Emit) -> None:
        """Have a translation written; `emit` is called from `step`.

        Raises:
            InvalidInput: it cannot be asked like that.
        """
        source = self._prompts.source(asked)
        if len(source) > self._context:
            raise InvalidInput(
                f"the text has {len(source):,} tokens but the model reads {self._context:,}; translate it in parts",
                field="prompt",
                details={"prompt_tokens": len(source), "context_tokens": self._context},
            )
        prompt = [self._start, self._prompts.target(asked)]
        bound = self._context - len(prompt)
        writing = _Translating(
            prompt,
            chooser=Chooser(self._torch, asked.sampling, decode=self._decoded, grammar=None),
            most_tokens=min(bound, asked.sampling.max_tokens or bound),
            ends=self._ends,
            decode=self._decoded,
            stop=asked.sampling.stop,
            sieve=ToolSieve((), must_call=False, new_id=str),
            emit=emit,
            prompt_tokens=len(source),
        )
        writing.source = source
        self._put(number, writing)

    def count_tokens(self, asked: Generation) -> int:
        """Tokens of the source."""
        return self._prompts.count(asked)

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """It does not.

        Raises:
            InvalidInput: always.
        """
        raise InvalidInput("this model translates and does not embed; name another one", field="model")

    def _forget(self, writing: _Translating) -> None:
        self._sources.forget(writing)

    def _computed(self, first: int, new: list[list[int]], starts: Sequence[int], counts: Sequence[int]) -> Any:
        """A `batch.Forward`."""
        torch, step = self._torch, len(new[0])
        sources = self._sources.of(
            [text for text in self._batch.texts(first, len(new)) if isinstance(text, _Translating)]
        )
        self._own.begin(first, starts, step)
        self._both.cross_attention_cache = sources.cache
        ids = torch.tensor(new, device=self._device)  # [rows, step]
        places = torch.tensor(starts, device=self._device)[:, None] + torch.arange(step, device=self._device)
        places = places.clamp_(max=self._context - 1) + self._padding + 1
        self._places.rows = torch.where(ids == self._padding, self._padding, places)
        dtype = self._model.get_input_embeddings().weight.dtype
        seen = self._decoder(
            input_ids=ids,
            attention_mask=None if self._own.is_even else self._own.mask(dtype, self._device),
            # only that there is a source, and how long it is, is taken from this: keys and values are in the cache
            encoder_hidden_states=sources.mask[:, 0, 0, :, None],
            encoder_attention_mask=sources.mask.expand(-1, -1, step, -1),
            past_key_values=self._both,
            use_cache=True,
        ).last_hidden_state  # [rows, step, hidden]
        at = torch.tensor(counts, device=seen.device)
        scores = self._model.get_output_embeddings()(seen[torch.arange(len(new), device=seen.device), at])
        return scores.float().cpu()  # [rows, vocabulary]
