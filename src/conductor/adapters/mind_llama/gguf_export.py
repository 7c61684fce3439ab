"""Write our language model as a GGUF file that llama.cpp runs with the same weights.

The numbers are repacked, not rounded again: GGUF's Q4_0 differs from our blocks only in the order of nibbles, and what
is stored in 8 bits is its Q8_0 with a sign.
llama.cpp rotates neighbouring channels where we rotate halves, so the rows of queries and keys change places. What the
answer tokens stand for travels along under `conductor.form`, so that the file can be a mind again (`minds.gguf`).

Source: GGUF specification 3 (ggml); Q4_0: `d * (q - 8)`, 16 bytes per block, low nibbles first; Q8_0: `d * q`.
"""

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from conductor.adapters.mind_llama.model import SHIPPED, TOKENIZER, WEIGHTS
from conductor.adapters.model_card import read_card, verify
from conductor.domain.errors import InvalidInput, ModelError, StorageError

FORM_KEY: Final = "conductor.form"
_WORD_START: Final = "\u2581"
_NORMAL, _CONTROL, _UNUSED = 1, 3, 5
_BLOCK: Final = 32
#: A conversation is what was said, and no more. llama.cpp's usual form has marks and line breaks that this vocabulary cannot
#: write; an answer in a form begins after them, and could never begin.
_CONVERSATION: Final = "{% for message in messages %}{{ message['content'] }}{{ '' if loop.last else ' ' }}{% endfor %}"
_DISK_FAILS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})

Bytes = npt.NDArray[np.uint8]


def export_gguf(target: Path, folder: Path = SHIPPED, *, float32: bool = False) -> None:
    """Write the model in `folder` to `target`, which appears whole or not at all.

    Args:
        float32: write out every number in full, five times the size. llama.cpp multiplies 4-bit weights with activations
            rounded to 8 bits, which flips close calls; with float32 weights it decides as we do.

    Raises:
        ModelError: the package `gguf` is missing.
        InvalidInput: the file exists already, or nothing can be written where it is to be.
        StorageError: the model's files are missing or damaged, or the disk is full or fails.
    """
    try:
        import gguf  # noqa: F401  # told before anything else is done
    except ImportError as missing:
        raise ModelError(
            "writing GGUF needs the package gguf; install it with `pip install 'conductor[gguf]'`"
        ) from missing
    try:
        if target.exists():
            raise InvalidInput(f"{target} exists already; choose another name or remove it", field="target")
        with TemporaryDirectory(prefix=".conductor-", dir=target.parent) as beside:
            whole = Path(beside, "model.gguf")
            _write(whole, folder, float32=float32)
            whole.rename(target)
    except OSError as refused:
        raise _not_written(target, refused) from refused


def _write(target: Path, folder: Path, *, float32: bool) -> None:
    import gguf
    from safetensors import safe_open

    card = read_card(folder, (WEIGHTS, TOKENIZER))
    verify(folder, card)
    shape = card.facts["architecture"]
    writer = gguf.GGUFWriter(target, "llama")
    _describe(writer, card.name, shape, float(card.facts["rope_theta"]), file_type=0 if float32 else 2)
    writer.add_string(FORM_KEY, json.dumps(card.facts["form"]))
    _vocabulary(writer, json.loads((folder / TOKENIZER).read_text(encoding="utf-8")), card.facts["form"])
    with safe_open(folder / WEIGHTS, framework="numpy") as weights:
        for name, values in _plain(weights, int(shape["layers"])):
            writer.add_tensor(name, values)
        for name, wide in _wide(weights, int(shape["layers"])):
            _add(writer, name, wide, gguf.GGMLQuantizationType.Q8_0, float32=float32)
        for name, packed in _packed(weights, shape):
            _add(writer, name, packed, gguf.GGMLQuantizationType.Q4_0, float32=float32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _not_written(target: Path, refused: OSError) -> InvalidInput | StorageError:
    """The caller's mistake, unless the disk is to blame."""
    said = refused.strerror or "the disk did not take all of it"  # numpy's words for that have no number
    if refused.errno is None or refused.errno in _DISK_FAILS:
        return StorageError(f"{target} cannot be written: {said}; make room, or choose another place")
    if isinstance(refused, FileNotFoundError) and not target.parent.exists():
        return InvalidInput(
            f"there is no folder {target.parent}; make it with `mkdir -p {target.parent}`, or choose another place",
            field="target",
        )
    return InvalidInput(f"{target} cannot be written: {said}; choose another place", field="target")


def _add(writer: Any, name: str, packed: Bytes, kind: Any, *, float32: bool) -> None:
    import gguf

    if float32:
        writer.add_tensor(name, gguf.quants.dequantize(packed, kind))
    else:
        writer.add_tensor(name, packed, raw_dtype=kind)


def _describe(writer: Any, name: str, shape: Any, rope_theta: float, *, file_type: int) -> None:
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_context_length(int(shape["context"]))
    writer.add_embedding_length(int(shape["width"]))
    writer.add_block_count(int(shape["layers"]))
    writer.add_feed_forward_length(int(shape["inner_width"]))
    writer.add_head_count(int(shape["heads"]))
    writer.add_head_count_kv(int(shape["heads"]))
    writer.add_key_length(int(shape["head_width"]))
    writer.add_value_length(int(shape["head_width"]))
    writer.add_rope_dimension_count(int(shape["head_width"]))
    writer.add_rope_freq_base(rope_theta)
    writer.add_layer_norm_rms_eps(float(shape["epsilon"]))
    writer.add_file_type(file_type)  # 0 all float32, 2 mostly Q4_0


def _vocabulary(writer: Any, tokenizer: dict[str, Any], form: dict[str, Any]) -> None:
    """WordPiece as llama.cpp wants it: word starts are marked, continuations are bare; answers are readable words."""
    known: dict[str, int] = dict(tokenizer["model"]["vocab"])
    known.update({added["content"]: added["id"] for added in tokenizer["added_tokens"]})
    special = {added["content"] for added in tokenizer["added_tokens"] if added["special"]}
    spoken = {
        token: f"{_WORD_START}⟨{field}={answer}⟩"
        for field, tokens in form["tokens"].items()
        for token, answer in zip(tokens, form["answers"][field], strict=True)
    }
    words = [""] * (max(known.values()) + 1)
    kinds = [_UNUSED] * len(words)
    for word, token in known.items():
        if token in spoken:
            words[token], kinds[token] = spoken[token], _NORMAL
        elif word in special:
            words[token], kinds[token] = word, _CONTROL
        elif word.startswith("[unused"):
            words[token] = word
        else:
            words[token], kinds[token] = word[2:] if word.startswith("##") else _WORD_START + word, _NORMAL
    # A bare continuation and a token that is written alike would be one to llama.cpp, which wants every text once.
    seen: set[str] = set()
    for token, word in enumerate(words):
        if word in seen:
            words[token], kinds[token] = f"[same as another {token}]", _UNUSED
        seen.add(words[token])
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    writer.add_unk_token_id(known["[UNK]"])
    writer.add_sep_token_id(known["[SEP]"])
    writer.add_pad_token_id(known["[PAD]"])
    writer.add_mask_token_id(known["[MASK]"])
    writer.add_bos_token_id(known["[CLS]"])
    writer.add_eos_token_id(known["[SEP]"])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    writer.add_chat_template(_CONVERSATION)


def _plain(weights: Any, layers: int) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    yield "output_norm.weight", weights.get_tensor("model.norm.weight")
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        yield f"blk.{layer}.attn_norm.weight", weights.get_tensor(f"{prefix}.input_layernorm.weight")
        yield f"blk.{layer}.ffn_norm.weight", weights.get_tensor(f"{prefix}.post_attention_layernorm.weight")


def _wide(weights: Any, layers: int) -> Iterator[tuple[str, Bytes]]:
    """What is stored in 8 bits."""
    yield "token_embd.weight", _blocks_of_8_bits(weights, "model.embed_tokens")
    for layer in range(layers):
        yield (
            f"blk.{layer}.attn_output.weight",
            _blocks_of_8_bits(weights, f"model.layers.{layer}.self_attn.o_proj"),
        )


def _packed(weights: Any, shape: Any) -> Iterator[tuple[str, Bytes]]:
    heads, head_width = int(shape["heads"]), int(shape["head_width"])
    inner = int(shape["inner_width"])
    order = _neighbouring(heads, head_width)
    for layer in range(int(shape["layers"])):
        prefix = f"model.layers.{layer}"
        query, key, value = np.split(_blocks(weights, f"{prefix}.self_attn.qkv_proj"), 3)
        yield f"blk.{layer}.attn_q.weight", query[order]
        yield f"blk.{layer}.attn_k.weight", key[order]
        yield f"blk.{layer}.attn_v.weight", value
        gate, up = np.split(_blocks(weights, f"{prefix}.mlp.gate_up_proj"), [inner])
        yield f"blk.{layer}.ffn_gate.weight", gate
        yield f"blk.{layer}.ffn_up.weight", up
        yield f"blk.{layer}.ffn_down.weight", _blocks(weights, f"{prefix}.mlp.down_proj")


def _neighbouring(heads: int, width: int) -> npt.NDArray[np.int64]:
    """Rows of a head with its first and second half interleaved."""
    rows = np.arange(heads * width).reshape(heads, 2, width // 2)
    return np.asarray(rows.swapaxes(1, 2).reshape(-1))


def _blocks(weights: Any, name: str) -> Bytes:
    """uint8 [rows, blocks * 18] as Q4_0 stores a matrix."""
    codes = weights.get_tensor(f"{name}.q4")  # [rows, blocks, 16], neighbours share a byte
    scales = weights.get_tensor(f"{name}.scale").astype(np.float16)
    numbers = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], _BLOCK)
    halves = numbers[..., : _BLOCK // 2] | (numbers[..., _BLOCK // 2 :] << 4)
    packed = np.concatenate([np.ascontiguousarray(scales[..., None]).view(np.uint8), halves], axis=-1)
    return np.ascontiguousarray(packed.reshape(len(codes), -1))


def _blocks_of_8_bits(weights: Any, name: str) -> Bytes:
    """uint8 [rows, blocks * 34] as Q8_0 stores a matrix."""
    codes = weights.get_tensor(f"{name}.q8")  # [rows, blocks, 32]
    scales = np.ascontiguousarray(weights.get_tensor(f"{name}.scale")[..., None]).view(np.uint8)
    return np.ascontiguousarray(np.concatenate([scales, codes ^ 0x80], axis=-1).reshape(len(codes), -1))
