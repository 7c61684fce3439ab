"""Run a causal language model of Hugging Face's `transformers` on torch, one token after the other.

Only what lies on this machine is loaded, only from safetensors, never with code of its own. Text of strangers cannot
become control tokens: `</s>` in a text is read as four characters. Torch takes seconds to import and gigabytes to
run, so this module belongs into the worker process and imports it only when a model is opened.

Precision: float32 on a processor where memory allows, since bfloat16 reads prompts 6 times slower there; otherwise
as stored. Not covered: several GPUs, quantised checkpoints (take GGUF), encoder-decoder models.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from conductor.adapters.minds.files import Weights, check_memory, digest, safetensors_in
from conductor.decisions.ports import FloatArray, TokenSession
from conductor.domain.errors import ModelError

_UNBOUNDED_CONTEXT: Final = 2_048


class HuggingFaceModel:
    """The `TokenModel` of a folder as `save_pretrained` or `hf download` leaves it.

    Args:
        folder: holds `config.json`, a tokenizer and safetensors.
        name: how people call it.
        available_bytes: free memory; the model is refused where it does not fit.
        threads: processor threads of one forward pass.

    Raises:
        ModelError: torch is missing, or the folder cannot be loaded; names the remedy.
    """

    def __init__(self, folder: Path, *, name: str, available_bytes: int, threads: int = 1) -> None:
        try:
            import torch
            import transformers
        except ImportError as missing:
            raise ModelError(
                "models of Hugging Face need torch and transformers; install them with `pip install 'conductor[hf]'`, "
                "or take a GGUF file or an endpoint",
                field="mind.model",
            ) from missing
        weights = safetensors_in(folder)
        self.name = name
        self._torch = torch
        torch.set_num_threads(threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        precision = _precision(name, weights, device, available_bytes)
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=precision
            )
        except Exception as wrong:  # transformers raises whatever its parts raise, and all of it means the same here
            raise ModelError(
                f"{folder} cannot be loaded as a causal language model ({type(wrong).__name__}: {_first_line(wrong)}); "
                "fetch it again, or choose another model",
                field="mind.model",
            ) from wrong
        self._tokenizer.backend_tokenizer.encode_special_tokens = True  # a stranger's `</s>` is text
        self._model.eval().to(device)
        self.checksum = digest(weights.files)
        self.context = int(getattr(self._model.config, "max_position_embeddings", None) or _UNBOUNDED_CONTEXT)

    def tokens(self, text: str, *, start: bool) -> list[int]:
        """Token ids of a text; `start` puts the beginning-of-text token in front where the model has one."""
        ids = list(self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)
        first = self._tokenizer.bos_token_id
        return [first, *ids] if start and first is not None else ids

    def text(self, tokens: Sequence[int]) -> str:
        """The text that tokens stand for, without control tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def open(self) -> TokenSession:
        """An empty session."""
        import transformers

        return _Session(self._torch, self._model, transformers.DynamicCache(config=self._model.config))


class _Session:
    """One text; what was read is kept as keys and values per layer."""

    def __init__(self, torch: Any, model: Any, cache: Any) -> None:
        self._torch = torch
        self._model = model
        self._cache = cache

    def extend(self, tokens: Sequence[int], *, among: Sequence[int] = ()) -> FloatArray:
        with self._torch.inference_mode():
            ids = self._torch.tensor([list(tokens)], device=self._model.device)  # [1, tokens]
            found = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            return np.asarray(found.logits[0, -1].float().cpu().numpy(), np.float32)  # [vocabulary]

    def fork(self) -> "_Session":
        with self._torch.inference_mode():
            return _Session(self._torch, self._model, copy.deepcopy(self._cache))


def _precision(name: str, weights: Weights, device: str, available_bytes: int) -> str:
    """How to hold the weights: see the module. On a GPU its own allocator tells when memory is short."""
    if device != "cpu":
        return "auto"
    if 4 * weights.numbers + weights.size_bytes // 10 < available_bytes:
        return "float32"
    check_memory(name, weight_bytes=weights.size_bytes, available_bytes=available_bytes)
    return "auto"


def _first_line(wrong: BaseException) -> str:
    lines = str(wrong).strip().splitlines()
    return lines[0][:200] if lines else ""
