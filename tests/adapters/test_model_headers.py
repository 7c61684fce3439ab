"""Headers of model files: whole ones read in full, damaged, dangerous and absent ones told apart; nothing is executed."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from conductor.adapters.model_headers import gguf_header
from conductor.adapters.model_headers.folder import read_model
from conductor.adapters.model_headers.safetensors_header import tensors_in
from conductor.domain.errors import ConductorError, ModelError, NotFound
from conductor.domain.model import Precision
from conductor.serving.lifetimes.memory_budget import memory_need
from conductor.serving.ports import Attention

SAMPLES = Path(__file__).parents[3] / "shared" / "vectors" / "models"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files of shared/vectors are not here")

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2_048,
}


def llama_tensors(layers: int = 2) -> dict[str, Any]:
    tensors = {"model.embed_tokens.weight": np.zeros((100, 64), np.float16)}
    for layer in range(layers):
        tensors[f"model.layers.{layer}.mlp.up_proj.weight"] = np.zeros((128, 64), np.float16)
        tensors[f"model.layers.{layer}.input_layernorm.weight"] = np.zeros(64, np.float16)
    return tensors


def write_folder(folder: Path, config: dict[str, Any] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(llama_tensors(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(LLAMA if config is None else config))
    return folder


def write_header(path: Path, header: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return path


def tensor(begin: int = 0, end: int = 8, kind: str = "F32", shape: tuple[int, ...] = (2,)) -> dict[str, Any]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}


def reason(path: Path) -> str:
    with pytest.raises(ConductorError) as refused:
        read_model(path)
    assert refused.value.field == "model"
    return str(refused.value.details["reason"])


# Folders as Hugging Face has them.


def test_a_folder_says_how_large_its_model_is_and_how_it_is_built(tmp_path: Path) -> None:
    header = read_model(write_folder(tmp_path / "model"))

    assert (header.tables, header.matrices, header.vectors, header.other_bytes) == (6_400, 16_384, 128, 0)
    assert header.stored_bytes == 2 * header.parameters == 45_824
    assert header.attention == Attention(layers=2, heads=2, head_width=16)
    assert (header.architecture, header.context_tokens, header.precision) == ("llama", 2_048, Precision.FP16)
    assert not header.fixed


def test_a_folder_of_several_files_is_read_by_its_index(tmp_path: Path) -> None:
    whole = read_model(write_folder(tmp_path / "whole"))
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA))
    names = sorted(llama_tensors())
    places = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(names)}
    for file_name in set(places.values()):
        save_file({name: llama_tensors()[name] for name in names if places[name] == file_name}, folder / file_name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "unlisted.safetensors").write_bytes(b"not looked at")

    assert read_model(folder) == whole

    index.write_text(json.dumps({"weight_map": places | {"another.weight": places[names[0]]}}))
    assert reason(folder) == "corrupt"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "../secret.safetensors")}))
    assert reason(folder) == "corrupt"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "pytorch_model-00001.bin")}))
    assert reason(folder) == "unsafe"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "missing.safetensors")}))
    assert reason(folder) == "absent"
    index.write_text("{")
    assert reason(folder) == "corrupt"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"n_layer": 12, "n_head": 12, "n_embd": 768}, Attention(layers=12, heads=12, head_width=64)),
        ({"num_layers": 6, "num_heads": 8, "d_model": 512, "d_kv": 64}, Attention(layers=6, heads=8, head_width=64)),
        (
            {"decoder_layers": 12, "decoder_attention_heads": 16, "d_model": 1_024},
            Attention(layers=12, heads=16, head_width=64),
        ),
        (
            {"n_layer": 32, "n_head": 71, "hidden_size": 4_544, "multi_query": True},
            Attention(layers=32, heads=1, head_width=64),
        ),
        (
            {"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128},
            Attention(layers=28, heads=8, head_width=128),
        ),
        (
            {
                "is_encoder_decoder": True,
                "num_hidden_layers": 24,
                "decoder_layers": 12,
                "num_attention_heads": 16,
                "d_model": 1_024,
            },
            Attention(layers=24, heads=16, head_width=64),
        ),
        ({"text_config": LLAMA}, Attention(layers=2, heads=2, head_width=16)),
        ({"state_size": 16}, None),
    ],
)
def test_the_names_that_families_of_models_have_for_the_same_things(
    tmp_path: Path, config: dict[str, Any], expected: Attention | None
) -> None:
    assert read_model(write_folder(tmp_path / "model", {"model_type": "any"} | config)).attention == expected


@pytest.mark.parametrize("value", [-1, 0, 1.5, "32", True, 2**60, [2]])
def test_a_configuration_with_impossible_sizes_is_corrupt(tmp_path: Path, value: object) -> None:
    assert reason(write_folder(tmp_path / "model", LLAMA | {"num_hidden_layers": value})) == "corrupt"


def test_what_a_folder_lacks_is_told_apart(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    assert reason(tmp_path / "nothing") == "absent"
    (folder / "config.json").write_text('{"hidden_size": 64}')
    assert reason(folder) == "unknown_architecture"
    (folder / "config.json").write_text("[" * 100_000)
    assert reason(folder) == "corrupt"
    (folder / "config.json").unlink()
    assert reason(folder) == "unknown_architecture"
    (folder / "model.safetensors").unlink()
    assert reason(folder) == "empty"
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    assert reason(folder) == "unsafe"
    assert reason(folder / "pytorch_model.bin") == "unsafe"


def test_pickles_are_known_by_what_they_begin_with_too(tmp_path: Path) -> None:
    for start in (
        b"\x80\x02cos\nsystem\n",
        b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
        b"PK\x03\x04" + bytes(40),
    ):
        for name in ("model.safetensors", "model.gguf", "model"):
            (tmp_path / name).write_bytes(start)
            assert reason(tmp_path / name) == "unsafe"


def test_a_header_whose_length_looks_like_a_pickle_is_none(tmp_path: Path) -> None:
    header = {"a": tensor()}
    raw = json.dumps(header).encode().ljust(0x280)  # 640 is b"\x80\x02" and six zeros
    path = write_header(tmp_path / "model.safetensors", raw, bytes(8))
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))

    assert path.read_bytes()[:2] == b"\x80\x02"
    assert read_model(path).vectors == 2


# safetensors.


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"", b""),
        (b"[]", b""),
        (b"{", b""),
        (b'{"a": 1}', b""),
        (b'{"a\xff": {}}', b""),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}} trailing', bytes(8)),
        (b'{"a": ' + b"[" * 5_000, b""),
        ({"a": tensor(), "__metadata__": {"n": 1}}, bytes(8)),
        ({"a": tensor(kind="F33")}, bytes(8)),
        ({"a": tensor(kind="F16")}, bytes(8)),
        ({"a": tensor(shape=(2**62, 2**62))}, bytes(8)),
        ({"a": tensor(shape=(-2,))}, bytes(8)),
        ({"a": tensor() | {"shape": [2.0]}}, bytes(8)),
        ({"a": tensor() | {"data_offsets": [8, 0]}}, bytes(8)),
        ({"a": tensor() | {"data_offsets": [0]}}, bytes(8)),
        ({"a": tensor()}, bytes(7)),
        ({"a": tensor()}, bytes(9)),
        ({"a": tensor(), "b": tensor(9, 17)}, bytes(17)),
        ({"a": tensor(), "b": tensor(4, 12)}, bytes(12)),
        ({"a": tensor(1, 9)}, bytes(9)),
        (b'{"a": %b, "a": %b}' % ((json.dumps(tensor()).encode(),) * 2), bytes(8)),
    ],
)
def test_a_safetensors_file_that_is_not_whole_is_corrupt(
    tmp_path: Path, header: dict[str, Any] | bytes, data: bytes
) -> None:
    assert reason(write_header(tmp_path / "model.safetensors", header, data)) == "corrupt"


@pytest.mark.parametrize("length", [0, 1, 10**9, 2**63, 2**64 - 1])
def test_a_header_of_impossible_length_is_not_read(tmp_path: Path, length: int) -> None:
    path = write_header(tmp_path / "model.safetensors", {"a": tensor()}, bytes(8), length)
    assert reason(path) == "corrupt"


def test_empty_files_and_files_without_tensors_are_empty(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert reason(tmp_path / "model.safetensors") == "empty"
    assert reason(write_header(tmp_path / "none.safetensors", {"__metadata__": {"format": "pt"}})) == "empty"
    (tmp_path / "model.gguf").touch()
    assert reason(tmp_path / "model.gguf") == "empty"
    (tmp_path / "short.safetensors").write_bytes(b"1234")
    assert reason(tmp_path / "short.safetensors") == "corrupt"


def test_tensors_are_told_with_their_places(tmp_path: Path) -> None:
    header = {"b": tensor(8, 8, "I64", (0, 3)), "a": tensor(), "c": tensor(8, 11, "F4", (2, 3))}
    found = tensors_in(write_header(tmp_path / "model.safetensors", header, bytes(11)))
    assert [(one.name, one.count, one.size_bytes, one.is_float) for one in found] == [
        ("a", 2, 8, True),
        ("b", 0, 0, False),
        ("c", 6, 3, True),
    ]


@settings(max_examples=300)
@given(raw=st.binary(max_size=400), framed=st.booleans())
def test_no_bytes_make_the_safetensors_reader_fail_otherwise(tmp_path_factory: Any, raw: bytes, framed: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw if framed else raw)
    with pytest.raises(ConductorError):
        read_model(path)


# GGUF.


def text(content: str | bytes) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return struct.pack("<Q", len(raw)) + raw


def gguf_file(
    path: Path,
    *,
    values: list[bytes] | None = None,
    tensors: list[tuple[str, tuple[int, ...], int, int]] | None = None,
    data: bytes = bytes(1_024),
    counts: tuple[int, int] | None = None,
    version: int = 3,
) -> Path:
    """A GGUF file by hand; `counts` lies about how much follows."""
    values = [text("general.architecture") + struct.pack("<I", 8) + text("llama")] if values is None else values
    tensors = [("token_embd.weight", (16, 16), 0, 0)] if tensors is None else tensors
    told = counts or (len(tensors), len(values))
    raw = b"GGUF" + struct.pack("<IQQ", version, *told) + b"".join(values)
    for name, shape, kind, offset in tensors:
        raw += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    path.write_bytes(raw + bytes(-len(raw) % 32) + data)
    return path


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def test_a_gguf_file_says_how_large_its_model_is_and_how_it_is_built(tmp_path: Path) -> None:
    values = [
        text("general.architecture") + struct.pack("<I", 8) + text("qwen3"),
        number("qwen3.block_count", 28),
        number("qwen3.context_length", 40_960),
        number("qwen3.embedding_length", 1_024),
        number("qwen3.attention.head_count", 16),
        number("qwen3.attention.head_count_kv", 8),
        number("qwen3.attention.key_length", 128),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + text("a") + text("b" * 5_000) + text(""),
        text("tokenizer.ggml.scores") + struct.pack("<IIQ3f", 9, 6, 3, 0.0, 1.0, 2.0),
        text("tokenizer.chat_template") + struct.pack("<I", 8) + text("{{ cycler.__init__ }}" * 1_000),
        text("nested") + struct.pack("<IIQ", 9, 9, 2) + struct.pack("<IQ2B", 0, 2, 1, 2) + struct.pack("<IQ", 8, 0),
    ]
    tensors = [
        ("token_embd.weight", (32, 4), 8, 0),  # Q8_0: 4 blocks of 34 bytes
        ("blk.0.attn_q.weight", (256, 1), 12, 160),  # Q4_K: one block of 144 bytes
        ("blk.0.attn_norm.weight", (16,), 0, 320),
        ("rope.positions", (4,), 26, 384),
    ]
    header = read_model(gguf_file(tmp_path / "model.gguf", values=values, tensors=tensors))

    assert header.architecture == "qwen3"
    assert header.fixed
    assert header.attention == Attention(layers=28, heads=8, head_width=128)
    assert header.context_tokens == 40_960
    assert (header.tables, header.matrices, header.vectors, header.other_bytes) == (128, 256, 16, 16)
    assert header.stored_bytes == 4 * 34 + 144 + 64 + 16


def test_a_file_that_the_gguf_package_wrote_is_read_alike(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the package `gguf` is not installed")
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(2_048)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv([2, 4])
    writer.add_token_list([f"token {one}" for one in range(3_000)])
    writer.add_token_scores([0.5] * 3_000)
    for name, kind in (("token_embd.weight", "Q8_0"), ("blk.0.ffn_up.weight", "Q4_0"), ("output.weight", "F16")):
        quantised = gguf.GGMLQuantizationType[kind]
        rows = gguf.quants.quantize(np.ones((128, 64), np.float32), quantised)
        writer.add_tensor(name, rows, raw_dtype=quantised)
    writer.add_tensor("output_norm.weight", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    header = read_model(path)

    reader = gguf.GGUFReader(path)
    assert header.stored_bytes == sum(int(one.n_bytes) for one in reader.tensors)
    assert header.parameters == sum(int(one.n_elements) for one in reader.tensors) == 3 * 128 * 64 + 64
    assert header.attention == Attention(layers=2, heads=4, head_width=16)  # the layer with most heads counts
    assert header.tables == 2 * 128 * 64

    whole = path.read_bytes()
    for length in (4, 8, 20, 24, 100, len(whole) // 2, len(whole) - 3_000):
        path.write_bytes(whole[:length])
        assert reason(path) == "corrupt"


def test_a_model_in_several_gguf_files_is_read_from_all_of_them(tmp_path: Path) -> None:
    first = gguf_file(tmp_path / "m-00001-of-00003.gguf", tensors=[])
    for part in (2, 3):
        tensors = [(f"blk.{part}.ffn_up.weight", (16, 16), 0, 0)]
        gguf_file(tmp_path / f"m-0000{part}-of-00003.gguf", values=[number("split.no", part)], tensors=tensors)

    assert read_model(first).stored_bytes == 2 * 1_024
    assert read_model(tmp_path / "m-00003-of-00003.gguf") == read_model(first) == read_model(tmp_path)

    (tmp_path / "m-00002-of-00003.gguf").unlink()
    assert reason(first) == "absent"
    first.rename(tmp_path / "m-00004-of-00003.gguf")
    assert reason(tmp_path / "m-00004-of-00003.gguf") == "corrupt"


def test_a_folder_with_several_gguf_models_does_not_say_which(tmp_path: Path) -> None:
    gguf_file(tmp_path / "a.gguf")
    assert read_model(tmp_path).architecture == "llama"
    gguf_file(tmp_path / "b.gguf")
    assert reason(tmp_path) == "empty"


def test_the_table_of_block_sizes_is_that_of_the_gguf_package() -> None:
    constants = pytest.importorskip("gguf", reason="the package `gguf` is not installed").constants
    assert {int(kind): size for kind, size in constants.GGML_QUANT_SIZES.items()} == gguf_header._BLOCKS


@pytest.mark.parametrize(
    "lie",
    [
        {"version": 1},
        {"version": 3 << 24},
        {"counts": (1, 2**62)},
        {"counts": (2**62, 1)},
        {"counts": (1, 2)},
        {"values": [struct.pack("<Q", 2**63)]},
        {"values": [text("x") + struct.pack("<I", 77)]},
        {"values": [text("x") + struct.pack("<IQ", 8, 74 * 10**9)]},
        {"values": [text("x") + struct.pack("<IIQ", 9, 4, 2**62)]},
        {"values": [text("x") + struct.pack("<IIQ", 9, 8, 2**62)]},
        {"values": [text("x") + struct.pack("<IIQ", 9, 8, 5) + struct.pack("<Q", 10**12)]},
        {"values": [text("x") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50]},
        {"values": [text(b"\xff\xfe") + struct.pack("<II", 4, 1)]},
        {"values": [number("general.alignment", 33)]},
        {"tensors": [("a", (16,), 5, 0)]},
        {"tensors": [("a", (16,), 99, 0)]},
        {"tensors": [("a", (2**40, 2**40), 0, 0)]},
        {"tensors": [("a", (16,), 0, 1_024)]},
        {"tensors": [("a", (16,), 0, 2**60)]},
        {"tensors": [("a", (16,), 0, 3)]},
        {"tensors": [("a", (16,), 8, 0)]},
        {"tensors": [("a", (16,), 0, 0), ("a", (16,), 0, 64)]},
        {"tensors": [("a", (1, 1, 1, 1, 1), 0, 0)]},
    ],
)
def test_a_gguf_file_that_lies_is_corrupt(tmp_path: Path, lie: dict[str, Any]) -> None:
    assert reason(gguf_file(tmp_path / "model.gguf", **lie)) == "corrupt"


def test_a_gguf_file_without_architecture_or_weights_is_told_apart(tmp_path: Path) -> None:
    assert reason(gguf_file(tmp_path / "model.gguf", values=[])) == "unknown_architecture"
    assert reason(gguf_file(tmp_path / "model.gguf", tensors=[])) == "empty"
    values = [text("general.architecture") + struct.pack("<I", 8) + text("llama"), number("llama.block_count", 2)]
    assert read_model(gguf_file(tmp_path / "model.gguf", values=values)).attention is None


@settings(max_examples=300)
@given(at=st.integers(0, 400), new=st.binary(min_size=1, max_size=12), cut=st.integers(0, 900))
def test_no_damage_makes_the_gguf_reader_fail_otherwise(tmp_path_factory: Any, at: int, new: bytes, cut: int) -> None:
    path = gguf_file(tmp_path_factory.getbasetemp() / "damaged.gguf", data=bytes(1_024))
    raw = bytearray(path.read_bytes())
    raw[at : at + len(new)] = new
    path.write_bytes(bytes(raw[: len(raw) - cut]))
    try:
        told = "" if read_model(path).stored_bytes > 0 else "nothing stored"
    except (ModelError, NotFound) as refused:
        told = "" if "reason" in refused.details else refused.message
    assert told == ""


# What others made.


@needs_samples
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gguf/CORRUPT_utf8-mangled_ggml-vocab-bert-bge.gguf", "corrupt"),
        ("gguf/ggml-vocab-bert-bge.repaired.gguf", "empty"),  # a vocabulary alone
        ("pytorch/samplenet.pth", "unsafe"),
        ("pytorch/two_layer_model.pt", "unsafe"),
        ("safetensors/safe_model.safetensors", "unknown_architecture"),  # no config.json beside it
        ("onnx/light_squeezenet.onnx", "unknown_architecture"),
        ("keras-v3/qkeras-v3_3layer.keras", "unsafe"),
    ],
)
def test_files_from_elsewhere(name: str, expected: str) -> None:
    assert reason(SAMPLES / name) == expected


@needs_samples
def test_no_pickle_from_elsewhere_is_taken_for_weights() -> None:
    pickles = [path for path in (SAMPLES / "pickle-scan").rglob("*") if path.is_file()]
    assert len(pickles) > 20
    assert {reason(path) for path in pickles} <= {"unsafe", "unknown_architecture", "empty"}


@needs_samples
def test_a_script_in_the_metadata_stays_a_text() -> None:
    found = tensors_in(SAMPLES / "safetensors" / "MALICIOUS_metadata_script_injection.safetensors")
    assert found


# What a real model would need, by hand.


def test_the_need_of_a_known_model_is_what_its_makers_say(tmp_path: Path) -> None:
    """Llama 3.1 8B: 8.03 billion parameters, 16.06 GB in 16 bits, 128 KiB of cache a token."""
    header = {}
    at = 0

    def add(name: str, *shape: int) -> None:
        nonlocal at
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size

    add("model.embed_tokens.weight", 128_256, 4_096)
    add("lm_head.weight", 128_256, 4_096)
    add("model.norm.weight", 4_096)
    for layer in range(32):
        of = f"model.layers.{layer}."
        for name, shape in {"q": (4_096, 4_096), "k": (1_024, 4_096), "v": (1_024, 4_096), "o": (4_096, 4_096)}.items():
            add(f"{of}self_attn.{name}_proj.weight", *shape)
        for name, shape in {"gate": (14_336, 4_096), "up": (14_336, 4_096), "down": (4_096, 14_336)}.items():
            add(f"{of}mlp.{name}_proj.weight", *shape)
        add(f"{of}input_layernorm.weight", 4_096)
        add(f"{of}post_attention_layernorm.weight", 4_096)
    path = write_header(tmp_path / "model.safetensors", header)
    with path.open("r+b") as file:  # a hole, not 16 GB
        file.truncate(path.stat().st_size + at)
    config = {"model_type": "llama", "hidden_size": 4_096, "num_hidden_layers": 32, "num_attention_heads": 32}
    config |= {"num_key_value_heads": 8, "max_position_embeddings": 131_072}
    (tmp_path / "config.json").write_text(json.dumps(config))

    found = read_model(tmp_path)
    assert found.parameters == 8_030_261_248
    in_16 = memory_need(found, Precision.BF16, backend="transformers", most_context_tokens=8_192)
    assert in_16.weights_bytes == 16_060_522_496
    assert in_16.context_bytes == 8_192 * 128 * 1_024
    in_4 = memory_need(found, Precision.INT4, backend="transformers", most_context_tokens=8_192)
    assert 5.9e9 < in_4.weights_bytes < 6.2e9  # 16-bit tables included
