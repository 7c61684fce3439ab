import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.adapters.encoder_onnx import SHIPPED
from conductor.adapters.encoder_onnx.letters import LetterExpert
from conductor.adapters.letter_features import BUCKETS, features
from conductor.domain.device import DeviceType
from conductor.domain.errors import StorageError

EVEN = np.ones(BUCKETS, np.float32)


@given(st.text(alphabet=string.printable + "äéñçßабвг视频動画", max_size=60))
def test_a_text_has_the_same_features_whatever_its_case_and_spaces(text: str) -> None:
    buckets, weights = features(text, EVEN)
    again, same = features(f"  {text.casefold()}\n", EVEN)

    assert buckets.tolist() == again.tolist()
    assert weights.tolist() == same.tolist()
    assert ((buckets >= 0) & (buckets < BUCKETS)).all()


def test_letters_and_words_are_each_of_unit_length() -> None:
    _, weights = features("transcode the clip", EVEN)

    assert float(weights @ weights) == pytest.approx(2.0, abs=1e-5)


def test_a_slip_of_typing_keeps_most_of_the_letters() -> None:
    right, wrong, other = (set(features(t, EVEN)[0].tolist()) for t in ("transcode", "transocde", "spreadsheet"))

    assert len(right & wrong) > len(right & other)


def test_the_shipped_table_knows_product_names() -> None:
    expert = LetterExpert.load(SHIPPED / "letters.npz")

    answers = expert.logits(["encode with libx265 crf", "gromacs mdrun", "imagemagick mogrify", "sox resample"]).argmax(
        axis=1
    )

    assert [list(DeviceType)[answer] for answer in answers] == ["VIDEO", "GPU", "ISP", "DSP"]


@pytest.mark.parametrize("content", [b"", b"not a table", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letters.npz"
    path.write_bytes(content)

    with pytest.raises(StorageError, match=r"letters\.npz"):
        LetterExpert.load(path)


def test_a_table_without_its_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letters.npz"
    np.savez(path, weights=np.zeros((2, 6), np.int8))

    with pytest.raises(StorageError, match=r"letters\.npz"):
        LetterExpert.load(path)
