"""Load a model of Hugging Face's `transformers` onto what this machine has, in the precision that was asked for.

Only what lies on this machine is loaded, only from safetensors, never with code of its own. Devices: CUDA and ROCm
(torch calls both `cuda`), Metal, else the processor. A model that is larger than one GPU is sharded over all of them by
accelerate's `device_map`. 8-bit on a processor is torch's dynamic quantisation, made after loading in float32: the
fastest that was measured there, but loading takes four bytes a weight for a moment. Belongs into the engine process.

Not covered: encoder-decoder models (NLLB), models that keep no keys and values (Mamba): take a GGUF file.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from conductor.adapters.minds.files import Weights, check_memory, safetensors_in
from conductor.adapters.runners.precisions import attainable
from conductor.domain.errors import ModelError
from conductor.domain.model import Precision

#: Room that sharding leaves on each GPU for keys, values and activations.
_SHARE_OF_GPU: Final = 0.85
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


def load(folder: Path, *, name: str, asked: Precision, available_bytes: int, threads: int) -> Loaded:
    """Load the folder's model.

    Args:
        folder: holds `config.json`, a tokenizer and safetensors.
        name: how people call it.
        available_bytes: free memory of the machine; a model that does not fit is refused.
        threads: processor threads of one forward pass.

    Raises:
        ModelError: torch is missing, or the model cannot be loaded; names the remedy.
    """
    try:
        import torch
        import transformers
    except ImportError as missing:
        raise ModelError(
            "models of Hugging Face need torch and transformers; install them with `pip install 'conductor[hf]'`, "
            "or take a GGUF file or an endpoint"
        ) from missing
    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    weights = safetensors_in(folder)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    metal = not gpus and torch.backends.mps.is_available()
    precision, note = attainable(
        asked, accelerator=bool(gpus or metal), bitsandbytes=find_spec("bitsandbytes") is not None
    )
    how = _placement(torch, weights, precision, gpus=gpus, metal=metal)
    if not gpus:
        _check_memory(name, weights, precision, available_bytes)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        _check_kind(name, config)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            **_quantised(torch, transformers, precision, on_processor=not (gpus or metal)),
            **({"device_map": how} if how is not None and find_spec("accelerate") else {}),
        ).eval()
    except ModelError:
        raise
    except Exception as wrong:  # transformers raises whatever its parts raise, and all of it means the same here
        raise ModelError(
            f"{folder} cannot be loaded as a causal language model ({type(wrong).__name__}: {_first_line(wrong)}); "
            "fetch it again, or choose another model"
        ) from wrong
    if precision is Precision.INT8 and not (gpus or metal):
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    elif getattr(model, "hf_device_map", None) is None and (gpus or metal):
        model = model.to("cuda:0" if gpus else "mps")
    device = model.get_input_embeddings().weight.device
    return Loaded(model, tokenizer, device, _device_names(model, device), precision, (note,) if note else ())


def _placement(torch: Any, weights: Weights, precision: Precision, *, gpus: int, metal: bool) -> Any:
    """The `device_map`: one GPU where the model fits onto it, all of them where not; None on a processor."""
    if not gpus:
        return {"": "mps"} if metal else None
    free = [torch.cuda.mem_get_info(number)[0] for number in range(gpus)]
    needed = weights.numbers * precision.bytes_per_weight
    best = max(range(gpus), key=free.__getitem__)
    if needed <= _SHARE_OF_GPU * free[best]:
        return {"": best}
    if needed > _SHARE_OF_GPU * sum(free):
        raise ModelError(
            f"the model needs {needed / 2**30:.1f} GiB in {precision} but the GPUs have {sum(free) / 2**30:.1f} GiB free; "
            "choose a lower precision, unload another model, or split it over machines"
        )
    return "balanced"


def _check_memory(name: str, weights: Weights, precision: Precision, available_bytes: int) -> None:
    """8 bits are made from 32 here, so these are what must fit."""
    width = 4.0 if precision is Precision.INT8 else precision.bytes_per_weight
    check_memory(name, weight_bytes=int(weights.numbers * width), available_bytes=available_bytes)


def _check_kind(name: str, config: Any) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{name} is an encoder-decoder model, which this backend does not run; take another model")
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ())
    if kinds - _KEPT_LAYERS or getattr(config, "model_type", "") in ("mamba", "mamba2", "rwkv"):
        odd = ", ".join(sorted(kinds - _KEPT_LAYERS)) or config.model_type
        raise ModelError(f"{name} has layers of a kind that is not batched here ({odd}); take it as a GGUF file")


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


def _device_names(model: Any, device: Any) -> str:
    placed = getattr(model, "hf_device_map", None) or {"": device}
    names = {f"cuda:{each}" if isinstance(each, int) else str(each) for each in placed.values()}
    return "+".join(sorted(names))


def _first_line(wrong: BaseException) -> str:
    lines = str(wrong).strip().splitlines()
    return lines[0][:200] if lines else ""
