"""Run a causal language model of `transformers` on torch for several requests at a time.

The pieces: `transformers_loading` loads it, `prompts` makes tokens of requests, `batch` lets texts grow together over a
`slot_cache`, `choosing_tokens` and `grammar` choose, `writing` tells what was written. Here they meet, and embeddings are
computed: the mean of the last layer over a text's tokens, at length one. Belongs into the engine process.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from conductor.adapters.runners.batch import Batch
from conductor.adapters.runners.beginnings import Beginning, Tell, common_tokens
from conductor.adapters.runners.choosing_tokens import Chooser
from conductor.adapters.runners.grammar import Grammars
from conductor.adapters.runners.prompts import Prompts
from conductor.adapters.runners.slot_cache import SlotCache
from conductor.adapters.runners.tool_calls import ToolSieve, tool_form
from conductor.adapters.runners.torch_engine import TorchEngine
from conductor.adapters.runners.transformers_loading import load
from conductor.adapters.runners.writing import Emit, Writing
from conductor.domain.errors import ConductorError, InvalidInput, ModelError
from conductor.domain.generation import Generation, Message, Usage
from conductor.domain.model import Precision
from conductor.serving.ports import Warmed

_UNBOUNDED_CONTEXT: Final = 2_048
#: The cache holds at least so many tokens for each row, however short the context is.
_LEAST_PER_ROW: Final = 1_024
_EMBEDDED_AT_ONCE: Final = 8


class TransformersEngine(TorchEngine[Writing]):
    """A `worker.Engine` of a folder as `save_pretrained` or `hf download` leaves it; for one thread.

    Args:
        most_rows: requests that are computed at a time; others wait.
        most_context_tokens: longest prompt and answer together, if the model knows more; None takes what it knows.
        measure_bytes: tells how much memory this process holds.
        devices: what the cards that this process sees are called outside, in order.

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
        config = self._model.config.get_text_config()
        known = int(getattr(config, "max_position_embeddings", None) or _UNBOUNDED_CONTEXT)
        self._context = min(known, most_context_tokens or known)
        self._vocabulary = int(config.vocab_size)
        self._prompts = Prompts(self._tokenizer)
        self._grammars: Grammars | None = None
        self._warming: Beginning | None = None
        self._window, self._kinds = _window(config)
        self._cache = SlotCache(self._torch, layers=int(config.num_hidden_layers))
        self._batch = Batch(
            self._cache,
            self._computed,
            most_rows=most_rows,
            context=self._context,
            most_tokens=max(self._context, most_rows * min(self._context, _LEAST_PER_ROW)),
        )
        facts = self._facts_of(
            loaded, name=name, context_tokens=self._context, devices=devices, measure_bytes=measure_bytes
        )
        self.facts = replace(facts, constrains=True, embeds=True, fills_in=self._prompts.fills_in)

    def begin(self, number: int, asked: Generation, emit: Emit) -> None:
        """Have an answer written; `emit` is called from `step`.

        Raises:
            InvalidInput: it cannot be asked like that.
        """
        prompt = self._checked(self._prompts.tokens(asked))
        call = tool_form(asked) if asked.tools else None
        form = call or asked.form
        bound = self._context - len(prompt)
        writing = Writing(
            prompt,
            chooser=Chooser(
                self._torch,
                asked.sampling,
                decode=self._decoded,
                grammar=None if form is None else self._known_grammars().of(form),
            ),
            most_tokens=min(bound, asked.sampling.max_tokens or bound),
            ends=self._ends,
            decode=self._decoded,
            stop=asked.sampling.stop,
            sieve=ToolSieve(
                asked.tools if asked.tool_choice != "none" else (),
                must_call=call is not None,
                new_id=lambda: f"call_{secrets.token_hex(12)}",
            ),
            emit=emit,
        )
        self._give_way()
        self._put(number, writing)

    def warm(self, number: int, beginning: Sequence[Message], tell: Tell) -> None:
        """Read a beginning while there is nothing else to do; `tell` is called from here, `step`, `begin` or `cancel`.

        Raises:
            InvalidInput: it cannot be told like that, or is longer than the context.
        """
        tokens = self._checked(common_tokens(beginning, self._prompts.tokens))
        known = self._batch.known(tokens)

        def ended(error: ConductorError | None) -> None:
            self._warming = None
            tell(error or Warmed(len(tokens), known, self._batch.known(tokens)))

        if known == len(tokens) or self.has_work:
            ended(None)
            return
        self._warming = Beginning(number, tokens, ended=ended)
        self._batch.put(self._warming)

    def cancel(self, number: int) -> None:
        """Stop an answer or a beginning; nothing happens if it has ended."""
        if self._warming is not None and self._warming.number == number:
            self._give_way()
        super().cancel(number)

    def _give_way(self) -> None:
        """A beginning that is being read is left where it is; what was read is remembered."""
        warming = self._warming
        if warming is not None:
            with self._torch.inference_mode():
                self._batch.drop(warming)
            warming.end()

    def count_tokens(self, asked: Generation) -> int:
        """Tokens of the prompt; errors as `begin`."""
        return len(self._prompts.tokens(asked))

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """Unit vectors.

        Raises:
            InvalidInput: a text is longer than the context.
            ModelError: the computation failed.
        """
        prompts = [self._checked(self._prompts.of_embedded(text), room=0) for text in texts]
        try:
            vectors = [
                vector
                for at in range(0, len(prompts), _EMBEDDED_AT_ONCE)
                for vector in self._means(prompts[at : at + _EMBEDDED_AT_ONCE])
            ]
        except (RuntimeError, MemoryError) as failed:
            raise ModelError(
                f"the texts could not be embedded: {str(failed)[:200]}; send fewer or shorter ones"
            ) from failed
        return vectors, Usage(prompt_tokens=sum(map(len, prompts)), completion_tokens=0)

    def _means(self, prompts: list[list[int]]) -> list[list[float]]:
        torch = self._torch
        longest = max(map(len, prompts))
        ids = torch.tensor([each + [0] * (longest - len(each)) for each in prompts], device=self._device)
        real = torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in prompts], device=self._device)
        with torch.inference_mode():
            last = self._model.get_decoder()(input_ids=ids, attention_mask=real, use_cache=False).last_hidden_state
            counted = real[:, :, None].to(last.device)  # [texts, tokens, 1]
            means = (last.float() * counted).sum(dim=1) / counted.sum(dim=1)
            found: list[list[float]] = torch.nn.functional.normalize(means, dim=-1).cpu().tolist()
        return found

    def _checked(self, prompt: list[int], *, room: int = 1) -> list[int]:
        if len(prompt) + room > self._context:
            raise InvalidInput(
                f"the prompt has {len(prompt):,} tokens but the model reads {self._context:,}, its answer included; "
                "shorten the prompt or take a model with a longer context",
                field="prompt",
                details={"prompt_tokens": len(prompt), "context_tokens": self._context},
            )
        return prompt

    def _known_grammars(self) -> Grammars:
        """Made at the first form: reading the whole vocabulary takes a moment."""
        if self._grammars is None:
            self._grammars = Grammars(self._torch, self._tokenizer, vocabulary=self._vocabulary, ends=self._ends)
        return self._grammars

    def _computed(self, first: int, new: list[list[int]], starts: Sequence[int], counts: Sequence[int]) -> Any:
        """A `batch.Forward`."""
        torch, step = self._torch, len(new[0])
        self._cache.begin(first, starts, step)
        ids = torch.tensor(new, device=self._device)  # [rows, step]
        places = torch.tensor(starts, device=self._device)[:, None] + torch.arange(step, device=self._device)
        wanted = sorted(set(counts))
        scores = self._model(
            input_ids=ids,
            position_ids=places.clamp_(max=self._context - 1),
            attention_mask=self._mask(max(starts) + step),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=torch.tensor(wanted, device=self._device),
        ).logits  # [rows, wanted, vocabulary]
        if len(wanted) == 1:
            return scores[:, 0].float().cpu()
        return torch.stack([scores[row, wanted.index(at)] for row, at in enumerate(counts)]).float().cpu()

    def _mask(self, length: int) -> Any:
        """None where rows are even and no window is in the way: transformers has faster ways then."""
        windowed = self._window is not None and length > self._window
        if self._cache.is_even and not windowed:
            return None
        dtype = self._model.get_input_embeddings().weight.dtype
        full = self._cache.mask(dtype, self._device)
        if self._window is None:
            return full
        near = self._cache.mask(dtype, self._device, window=self._window)
        if len(self._kinds) > 1:
            return {"full_attention": full, "sliding_attention": near}
        return near


def _window(config: Any) -> tuple[int | None, frozenset[str]]:
    """How far layers with a window look back, and which kinds of layers there are."""
    kinds = frozenset(getattr(config, "layer_types", None) or ())
    window: Any = getattr(config, "sliding_window", None)
    looks_back = window and getattr(config, "use_sliding_window", True) and kinds != {"full_attention"}
    return (int(window) if looks_back else None), kinds
