"""The GGUF export holds the same numbers, and llama.cpp decides with it as we do."""

import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from conductor.adapters.mind_llama.gguf_export import export_gguf
from conductor.adapters.mind_llama.model import SHIPPED, WEIGHTS, OwnMind
from conductor.adapters.mind_llama.spoken import SpokenMind, spoken_form
from conductor.adapters.mind_llama.vocabulary import Vocabulary
from conductor.domain.errors import InvalidInput, StorageError

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")

TASKS = [
    f"{work} {thing}{end}"
    for work in ("transcode", "train", "sharpen", "resample", "count people in", "back up", "simulate", "transcribe")
    for thing in ("the interviews", "a ResNet on defect photos", "IMG_2041.CR3", "the podcast", "camera 7", "Postgres")
    for end in ("", " at 720p, asap", " tonight with 4 workers")
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "conductor-mind.gguf"
    export_gguf(path)
    return path


def test_the_numbers_are_repacked_and_not_rounded_again(exported: Path) -> None:
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(exported).tensors}
    table = tensors["token_embd.weight"]

    found = gguf.quants.dequantize(table.data, table.tensor_type)

    with safe_open(SHIPPED / WEIGHTS, framework="numpy") as weights:
        ours = Vocabulary(weights.get_tensor("model.embed_tokens.q8"), weights.get_tensor("model.embed_tokens.scale"))
    assert np.array_equal(found, ours.rows(np.arange(ours.size)))


def test_the_file_says_which_form_it_speaks(exported: Path) -> None:
    card = json.loads((SHIPPED / "card.json").read_text(encoding="utf-8"))

    assert spoken_form(exported) == card["form"]


def test_a_file_that_exists_is_not_overwritten(exported: Path) -> None:
    with pytest.raises(InvalidInput, match="exists already"):
        export_gguf(exported)


def test_a_folder_that_does_not_exist_is_a_mistake_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"there is no folder .*absent; make it with `mkdir -p .*absent`") as told:
        export_gguf(tmp_path / "absent" / "mind.gguf")

    assert told.value.field == "target"
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_no_folder_is_a_mistake_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidInput, match=r"cannot be written: Not a directory; choose another place"):
        export_gguf(tmp_path / "file" / "mind.gguf")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_mistake_with_a_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidInput, match=r"Permission denied; choose another place"):
        export_gguf(tmp_path / "mind.gguf")


def test_an_export_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot be written: .*; make room"):
            export_gguf(tmp_path / "mind.gguf")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handled)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("float32", "alike"), [(True, 0.99), (False, 0.9)])
def test_llama_cpp_takes_the_same_greedy_decisions(
    tmp_path: Path, mind: OwnMind, *, float32: bool, alike: float
) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    from conductor.adapters.minds.gguf import GgufModel

    path = tmp_path / "mind.gguf"
    export_gguf(path, float32=float32)
    form = spoken_form(path)
    assert form is not None
    theirs = SpokenMind(GgufModel(path, available_bytes=2**33, key="of this test"), form).propose(TASKS)

    ours = mind.propose(TASKS)

    def decided(proposal):  # type: ignore[no-untyped-def]
        shares = proposal.device_probabilities
        return max(shares, key=shares.get), proposal.task_kind

    same = [decided(a) == decided(b) for a, b in zip(ours, theirs, strict=True)]
    # Many of these texts are nonsense, on purpose: with 4-bit weights llama.cpp rounds activations too, and ties fall.
    assert sum(same) >= alike * len(TASKS), [text for text, equal in zip(TASKS, same, strict=True) if not equal]


def test_an_answer_of_the_file_can_be_held_to_a_form(exported: Path) -> None:
    """llama.cpp's usual conversation has line breaks, which the vocabulary cannot write: no form could begin after them."""
    pytest.importorskip("xllamacpp", reason="the package xllamacpp is not installed")
    from tests.runners.test_llama_cpp_engine import Hearing, loaded, text

    from conductor.domain.generation import Generation, Message, Role, Sampling

    form = {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["kind", "n"],
        "additionalProperties": False,
    }
    turns = (Message(role=Role.USER, content="train a model"),)
    asked = Generation(messages=turns, form=form, sampling=Sampling(max_tokens=80, temperature=0))

    answer = json.loads(text(Hearing(loaded(exported), 1, asked).pieces()))

    assert answer["kind"] in ("a", "b")
    assert answer["n"] in range(10)
