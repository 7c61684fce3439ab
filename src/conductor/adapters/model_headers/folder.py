"""Read what a model is from where it lies: a folder as Hugging Face has it, a GGUF file, a safetensors file.

`config.json` says how the model is built, the headers of the weights how large it is. Nothing in the folder is
executed; Python files in it are not looked at. Formats that run code when they are loaded are refused by what they
begin with as well as by their names.

Not covered: caches that are smaller than all layers at full context (sliding windows, latent attention): what is
computed from these facts is then too much, never too little. Models of several parts in subfolders.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from conductor.adapters.model_headers.gguf_header import parts_of, read_gguf
from conductor.adapters.model_headers.refusals import absent, corrupt, empty, unknown_architecture, unsafe
from conductor.adapters.model_headers.safetensors_header import Tensor, tensors_in, tensors_of_index
from conductor.domain.model import Precision
from conductor.domain.units import MIB
from conductor.serving.ports import Attention, ModelHeader

_INDEX: Final = "model.safetensors.index.json"
_LONGEST_CONFIG: Final = 8 * MIB
_PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill"})
#: What pickles begin with: protocols 2 to 5, and the zip archives that torch writes them into.
_PICKLE_STARTS: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
_PRECISIONS: Final = {"F32": Precision.FP32, "F16": Precision.FP16, "BF16": Precision.BF16}
#: The token embedding and the output layer by the ends of their names in the families that Transformers knows.
_TABLES: Final = (
    "embed_tokens.weight", "lm_head.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight",
    "embed_out.weight", "shared.weight", "tok_embeddings.weight", "output.weight",
)  # fmt: skip
#: Names of one and the same size in the families that Transformers knows, the commonest first.
_LAYERS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_decoder_layers", "decoder_layers", "num_layers")
_DECODER_LAYERS: Final = ("decoder_layers", "num_decoder_layers")
_HEADS: Final = ("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "num_heads")
_CACHED_HEADS: Final = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
_HEAD_WIDTH: Final = ("head_dim", "d_kv", "attention_head_dim")
_WIDTH: Final = ("hidden_size", "n_embd", "d_model", "dim")
_CONTEXT: Final = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")


def read_model(path: Path) -> ModelHeader:
    """What the model at `path` says about itself; blocking, reads headers only.

    Raises:
        NotFound: nothing is there (`details["reason"]` is `absent`).
        ModelError: `details["reason"]` is `empty`, `corrupt`, `unsafe` or `unknown_architecture`.
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        if not path.is_file():
            raise absent(path)
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as unreadable:
        raise absent(path, unreadable.strerror or "it cannot be read") from unreadable
    if start[:4] == b"GGUF":
        return read_gguf(path)
    # A header of 640 bytes begins like a pickle of protocol 2: what follows the length tells them apart.
    is_pickle = start.startswith(_PICKLE_STARTS) and start[8:] != b"{"
    if path.suffix.lower() in _PICKLES or is_pickle:
        raise unsafe(path)
    if path.suffix.lower() == ".safetensors":
        return _from_parts(path.parent, tensors_in(path))
    if path.suffix.lower() == ".gguf":
        return read_gguf(path)
    if not start:
        raise empty(path)
    raise unknown_architecture(path, "is neither a GGUF file nor a safetensors file")


def _read_folder(folder: Path) -> ModelHeader:
    if (folder / _INDEX).exists():
        return _from_parts(folder, tensors_of_index(folder / _INDEX))
    weights = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    if weights:
        return _from_parts(folder, [tensor for path in weights for tensor in tensors_in(path)])
    inside = sorted(path for path in folder.iterdir() if path.is_file())
    ggufs = [path for path in inside if path.suffix.lower() == ".gguf"]
    if ggufs and set(ggufs) <= set(parts_of(ggufs[0])):
        return read_gguf(ggufs[0])
    if ggufs:
        raise empty(folder, f"holds {len(ggufs)} GGUF files and does not say which ({ggufs[0].name}, …)")
    pickles = [path for path in inside if path.suffix.lower() in _PICKLES]
    if pickles:
        raise unsafe(pickles[0])
    raise empty(folder, "holds no weights")


def _from_parts(folder: Path, tensors: Iterable[Tensor]) -> ModelHeader:
    config = _config(folder)
    architecture = config.get("model_type")
    if not isinstance(architecture, str) or not architecture:
        raise unknown_architecture(folder / "config.json", "does not name its architecture (`model_type`)")
    text: Mapping[str, Any] = inner if isinstance(inner := config.get("text_config"), dict) else config
    tables, matrices, vectors, other_bytes, stored_bytes = 0, 0, 0, 0, 0
    by_kind: Counter[str] = Counter()
    for tensor in tensors:
        stored_bytes += tensor.size_bytes
        by_kind[tensor.kind] += tensor.size_bytes
        if not tensor.is_float:
            other_bytes += tensor.size_bytes
        elif tensor.name.endswith(_TABLES):
            tables += tensor.count
        elif len(tensor.shape) > 1:
            matrices += tensor.count
        else:
            vectors += tensor.count
    return ModelHeader(
        architecture=architecture,
        fixed=False,
        stored_bytes=stored_bytes,
        matrices=matrices,
        tables=tables,
        vectors=vectors,
        other_bytes=other_bytes,
        context_tokens=_size(folder, text, _CONTEXT),
        attention=_attention(folder, text),
        precision=_PRECISIONS.get(by_kind.most_common(1)[0][0]),
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST_CONFIG + 1)
    except OSError as unreadable:
        raise unknown_architecture(
            folder, f"has no config.json that says how the model is built ({unreadable.strerror})"
        ) from unreadable
    if len(raw) > _LONGEST_CONFIG:
        raise corrupt(path, f"it has more than {_LONGEST_CONFIG:,} bytes")
    try:
        config = json.loads(raw)
    except (ValueError, RecursionError) as wrong:
        raise corrupt(path, "it is no JSON") from wrong
    if not isinstance(config, dict):
        raise corrupt(path, "it is no JSON object")
    return config


def _attention(folder: Path, config: Mapping[str, Any]) -> Attention | None:
    layers, heads, width = (_size(folder, config, names) for names in (_LAYERS, _HEADS, _WIDTH))
    head_width = _size(folder, config, _HEAD_WIDTH)
    if layers is None or heads is None or (head_width is None and width is None):
        return None
    cached = _size(folder, config, _CACHED_HEADS)
    if cached is None:
        cached = 1 if config.get("multi_query") is True else heads
    if head_width is None:
        assert width is not None, "checked above"
        head_width = -(-width // heads)
    if config.get("is_encoder_decoder") is True:
        # what is written is kept by the decoder's layers, and what it was written from once more by each of them
        layers = 2 * (_size(folder, config, _DECODER_LAYERS) or layers)
    return Attention(layers=layers, heads=cached, head_width=head_width)


def _size(folder: Path, config: Mapping[str, Any], names: Iterable[str]) -> int | None:
    """The first of these that the configuration has; a positive whole number."""
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 < value < 2**40:
            raise corrupt(folder / "config.json", f"{name} is {str(value)[:60]}; a positive whole number is expected")
        return value
    return None
