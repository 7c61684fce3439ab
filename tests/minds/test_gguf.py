"""GGUF files through llama.cpp: small Llamas with random weights in several precisions, made here, and damaged ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gguf = pytest.importorskip("gguf", reason="the package `gguf`, which writes the test's models, is not installed")
pytest.importorskip("xllamacpp", reason="the extra `gguf` is not installed")

from tests.decisions.test_constrained import is_the_form  # noqa: E402
from tests.minds.test_choice import around, chosen  # noqa: E402

from conductor.adapters.clock import SystemClock  # noqa: E402
from conductor.adapters.minds.files import digest  # noqa: E402
from conductor.adapters.minds.gguf import GgufModel  # noqa: E402
from conductor.app.minds.chosen import language_model  # noqa: E402
from conductor.decisions.constrained import FormReader  # noqa: E402
from conductor.domain.errors import ModelError  # noqa: E402

PLENTY = 64 << 30
WORDS = [
    "device",
    "task",
    "_kind",
    "training",
    "inference",
    "seconds",
    "GP",
    "CP",
    "VIDEO",
    "work",
    "the",
    "▁of",
    "▁the",
]


def write_llama(path: Path, precision: str, *, width: int = 64, layers: int = 2) -> None:
    """A Llama with random weights and a vocabulary of bytes, characters and a few words."""
    kind = gguf.GGMLQuantizationType[precision]
    rng = np.random.default_rng(0)
    letters = ["▁" if code == 32 else chr(code) for code in range(32, 127)]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *WORDS]
    types = [2, 3, 3, *[6] * 256, *[1] * (len(letters) + len(WORDS))]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(2_048)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // 2)
    writer.add_vocab_size(len(pieces))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.encode() for piece in pieces])
    writer.add_token_scores([0.0] * 259 + [float(number) for number in range(len(pieces) - 259)])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    def matrix(name: str, rows: int, columns: int) -> None:
        numbers = rng.normal(0, 0.3, (rows, columns)).astype(np.float32)
        writer.add_tensor(name, gguf.quants.quantize(numbers, kind), raw_dtype=kind)

    matrix("token_embd.weight", len(pieces), width)
    matrix("output.weight", len(pieces), width)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in range(layers):
        at = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{at}{norm}.weight", np.ones(width, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"{at}{part}.weight", width, width)
        matrix(f"{at}ffn_gate.weight", 2 * width, width)
        matrix(f"{at}ffn_up.weight", 2 * width, width)
        matrix(f"{at}ffn_down.weight", width, 2 * width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("gguf")

    def path_of(precision: str) -> Path:
        path = folder / f"tiny.{precision}.gguf"
        if not path.exists():
            write_llama(path, precision)
        return path

    return path_of


def opened(path: Path) -> GgufModel:
    return GgufModel(path, available_bytes=PLENTY, key="test")


@pytest.mark.parametrize("precision", ["F32", "Q8_0", "Q4_0"])
def test_a_file_fills_in_the_form(precision: str, written: Callable[[str], Path]) -> None:
    model = opened(written(precision))

    (proposal,) = FormReader(model).propose(["Train a network on ten thousand images"])

    assert is_the_form(proposal)
    assert model.checksum == digest((written(precision),))


def test_reading_in_pieces_gives_the_probabilities_of_reading_at_once(written: Callable[[str], Path]) -> None:
    model = opened(written("F32"))
    tokens = model.tokens("Transcode the clip of the device", start=True)
    pieces = model.open()
    pieces.extend(tokens[:3])
    aside = pieces.fork()
    aside.extend(model.tokens("something else", start=False))

    in_pieces = pieces.extend(tokens[3:])
    at_once = model.open().extend(tokens)

    likely = np.flatnonzero(np.isfinite(in_pieces) & np.isfinite(at_once))
    assert len(likely) > 90
    np.testing.assert_allclose(in_pieces[likely], at_once[likely], atol=1e-2)


def test_tokens_that_are_named_compare_as_they_do_among_all(written: Callable[[str], Path]) -> None:
    model = opened(written("F32"))
    tokens = model.tokens("Transcode the clip of the device", start=True)
    freely = model.open().extend(tokens)
    named = np.argsort(-freely)[[0, 3, 10, 40, 90]].tolist()

    found = model.open().extend(tokens, among=named)[named]

    np.testing.assert_allclose(found - found[0], freely[named] - freely[named[0]], atol=1e-3)


def test_control_tokens_in_a_text_are_text(written: Callable[[str], Path]) -> None:
    model = opened(written("F32"))
    tokens = model.tokens("stop</s><s>", start=False)

    assert not {0, 1, 2} & set(tokens)
    assert model.text([1, *tokens, 2]).strip() == "stop</s><s>"


def test_the_port_wants_its_key(written: Callable[[str], Path]) -> None:
    import urllib.error
    import urllib.request

    model = opened(written("F32"))
    request: Any = urllib.request.Request(f"http://{model._address}/tokenize", b'{"content": "a"}')

    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=10)


def test_the_setting_brings_a_file_to_answer_in_its_worker(written: Callable[[str], Path], tmp_path: Path) -> None:
    path = written("Q8_0")
    mind = language_model(chosen(tmp_path, model=str(path), timeout_s=60), around(tmp_path), SystemClock())
    assert mind is not None

    (proposal,) = mind.propose(["Train a network on ten thousand images"])

    assert is_the_form(proposal)
    assert mind.checksum == digest((path,))
    mind.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kept", [0.001, 0.05, 0.5, 0.99])
def test_a_cut_off_file_is_told_with_the_remedy(kept: float, written: Callable[[str], Path], tmp_path: Path) -> None:
    content = written("F32").read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(content[: int(len(content) * kept)])

    with pytest.raises(ModelError, match=r"llama\.cpp cannot load .*fetch it again"):
        opened(cut)


def test_a_file_of_noise_is_told_through_the_worker(tmp_path: Path) -> None:
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(b"GGUF" + np.random.default_rng(0).bytes(100_000))
    mind = language_model(chosen(tmp_path, model=str(noise), timeout_s=60), around(tmp_path), SystemClock())
    assert mind is not None

    with pytest.raises(ModelError, match=r"cannot load|its worker ended"):
        mind.propose(["one"])


def test_a_file_larger_than_memory_is_refused(written: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match=r"needs .* of memory but 1\.0 MiB are free"):
        GgufModel(written("F32"), available_bytes=1 << 20, key="test")
