"""Load a model of Hugging Face's `transformers` onto what this machine has, in the precision that was asked for.

Only what lies on this machine is loaded, only from safetensors, never with code of its own. Devices: CUDA and ROCm
(torch calls both `cuda`), Metal, else the processor. A model that is larger than one card is sharded over those that
this process sees (`cards`, `layer_split`); moving its weights and what they compute is accelerate's. 8-bit on a
processor is torch's dynamic quantisation, made after loading in float32: the fastest that was measured there, but
loading takes four bytes a weight for a moment. 4-bit is bitsandbytes' on cards and on processors. Belongs into the
engine process.

Not covered: encoder-decoder models other than NLLB; models that keep no keys and values (Mamba): take a GGUF file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from conductor.adapters.minds.files import Weights, check_memory, safetensors_in
from conductor.adapters.runners.cards import names_of, placement
from conductor.adapters.runners.precisions import attainable
from conductor.domain.errors import ModelError
from conductor.domain.model import Precision

#: What Transformers calls NLLB models.
_TRANSLATOR: Final = "m2m_100"
_KEPT_LAYERS: Final = frozenset({"full_attention", "sliding_attention"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to compute.

    Args:
        device: where its inputs go.
        devices: all that hold part of it, for people.
        notes: what is otherwise than it was asked for.
    """

    model: Any
    tokenizer: Any
    device: Any
    devices: str
    precision: Precision
    notes: tuple[str, ...]


def translates(folder: Path) -> bool:
    """Whether the folder's model is one for `TranslatingEngine`; errors in its files are `load`'s to tell."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and config.get("model_type") == _TRANSLATOR


def load(
    folder: Path, *, name: str, asked: Precision, available_bytes: int, threads: int, devices: Sequence[str] = ()
) -> Loaded:
    """Load the folder's model.

    Args:
        folder: holds `config.json`, a tokenizer and safetensors.
        name: how people call it.
        available_bytes: free memory of the machine; a model that does not fit is refused.
        threads: processor threads of one forward pass.
        devices: what the cards that this process sees are called outside, in order.

    Raises:
        ModelError: torch is missing, or the model cannot be loaded; names the remedy.
    """
    try:
        import torch
        import transformers
    except ImportError as missing:
        raise ModelError(
            "models of Hugging Face need torch and transformers; install them with `pip install 'conductor[hf]'`, "
            "or take a GGUF file or an endpoint",
            details={"reason": "missing_extra"},
        ) from missing
    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    weights = safetensors_in(folder)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    metal = not gpus and torch.backends.mps.is_available()
    precision, note = attainable(
        asked,
        accelerator=bool(gpus or metal),
        bitsandbytes=not metal and all(find_spec(each) for each in ("bitsandbytes", "accelerate")),
    )
    if not gpus:
        _check_memory(name, weights, precision, available_bytes)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        _check_kind(name, config)
        kind = transformers.AutoModelForSeq2SeqLM if _has_encoder(config) else transformers.AutoModelForCausalLM
        where = placement(torch, kind, config, weights, precision, gpus=gpus, metal=metal)
        with_map = len(set(where.values())) > 1 or (where and find_spec("accelerate") is not None)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, told = kind.from_pretrained(
            folder,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            **_quantised(torch, transformers, precision, on_processor=not (gpus or metal)),
            **({"device_map": dict(where)} if with_map else {}),
        )
        _check_whole(name, config, told)
        model = model.eval()
    except ModelError:
        raise
    except Exception as wrong:  # transformers raises whatever its parts raise, and all of it means the same here
        raise ModelError(
            f"{folder} cannot be loaded as a language model ({type(wrong).__name__}: {_first_line(wrong)}); "
            "fetch it again, or choose another model",
            details={} if isinstance(wrong, MemoryError | torch.OutOfMemoryError) else {"reason": "corrupt"},
        ) from wrong
    if precision is Precision.INT8 and not (gpus or metal):
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    elif precision is Precision.INT4 and not gpus:
        _no_packing_of_odd_sizes(model)
    elif where and not with_map:
        model = model.to(where[""])
    device = model.get_input_embeddings().weight.device
    return Loaded(model, tokenizer, device, names_of(where, devices), precision, (note,) if note else ())


def ends_of(model: Any, tokenizer: Any) -> frozenset[int]:
    """Token ids after which the model says nothing more."""
    named = [getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id]
    listed = [each if isinstance(each, list) else [each] for each in named]
    return frozenset(int(each) for ids in listed for each in ids if each is not None)


def _check_memory(name: str, weights: Weights, precision: Precision, available_bytes: int) -> None:
    """8 bits are made from 32 here, so these are what must fit."""
    width = 4.0 if precision is Precision.INT8 else precision.bytes_per_weight
    check_memory(name, weight_bytes=int(weights.numbers * width), available_bytes=available_bytes)


def _check_kind(name: str, config: Any) -> None:
    if _has_encoder(config) and config.model_type != _TRANSLATOR:
        raise ModelError(
            f"{name} is an encoder-decoder model ({config.model_type}), of which only NLLB runs here; take another model",
            details={"reason": "unknown_architecture"},
        )
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ())
    if kinds - _KEPT_LAYERS or getattr(config, "model_type", "") in ("mamba", "mamba2", "rwkv"):
        odd = ", ".join(sorted(kinds - _KEPT_LAYERS)) or config.model_type
        raise ModelError(
            f"{name} has layers of a kind that is not batched here ({odd}); take it as a GGUF file",
            details={"reason": "unknown_architecture"},
        )


def _check_whole(name: str, config: Any, told: Mapping[str, Any]) -> None:
    """What the files lack would be made up of random numbers. A head may be absent: such models are for embeddings."""
    absent = [str(key) for key in told["missing_keys"] if not str(key).startswith("lm_head.")]
    absent += [str(key[0]) for key in told["mismatched_keys"]]
    if absent:
        raise ModelError(
            f"{name} has not the weights of a {config.model_type} model: {len(absent)} tensors are missing or of another "
            f"shape, {min(absent)} for one; its config.json is another model's, or files are missing: fetch it again",
            details={"reason": "corrupt"},
        )


def _no_packing_of_odd_sizes(model: Any) -> None:
    """bitsandbytes' fast way on processors takes whole blocks only, and fails in the first computation otherwise."""
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu") and (layer.out_features % 32 or layer.in_features % 64):
            layer.support_avx512bf16_for_cpu = False


def _has_encoder(config: Any) -> bool:
    return bool(getattr(config, "is_encoder_decoder", False))


def _quantised(torch: Any, transformers: Any, precision: Precision, *, on_processor: bool) -> dict[str, Any]:
    match precision:
        case Precision.FP32:
            return {"dtype": torch.float32}
        case Precision.BF16:
            return {"dtype": torch.bfloat16}
        case Precision.FP16:
            return {"dtype": torch.float16}
        case Precision.INT8 if on_processor:
            return {"dtype": torch.float32}
        case Precision.INT8:
            chosen = transformers.BitsAndBytesConfig(load_in_8bit=True)
        case Precision.INT4:
            chosen = transformers.BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
            )
    return {"dtype": torch.bfloat16, "quantization_config": chosen}


def _first_line(wrong: BaseException) -> str:
    lines = str(wrong).strip().splitlines()
    return lines[0][:200] if lines else ""
