import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.adapters.mind_tuning.guard import read_guard
from conductor.adapters.mind_tuning.versions import SHIPPED, Versions
from conductor.domain.device import DeviceType
from conductor.domain.errors import ModelError, StorageError

ARRAYS = {"weights": np.random.default_rng(3).normal(size=(6, 4)), "scale": np.array(0.9)}


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path / "mind")


def test_a_version_is_read_back_to_the_last_bit(versions: Versions) -> None:
    version = versions.add(ARRAYS, {"parent": 0})

    stored = versions.read(version.number)

    assert {name: array.tobytes() for name, array in stored.arrays.items()} == {
        name: array.tobytes() for name, array in ARRAYS.items()
    }
    assert stored.checksum == version.card["sha256"]["adapter.npz"]
    assert stored.card["parent"] == 0


def test_versions_are_counted_up_and_one_is_in_use(versions: Versions) -> None:
    assert versions.active() == SHIPPED
    assert [versions.add(ARRAYS, {"parent": parent}).number for parent in (0, 1)] == [1, 2]

    versions.activate(2)

    assert versions.active() == 2
    assert [version.name for version in versions.all()] == ["tuned mind 0001", "tuned mind 0002"]


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_a_version_with_any_bit_changed_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    root = tmp_path_factory.mktemp("mind")
    Versions(root).add(ARRAYS, {})
    path = root / "versions" / "0001" / "adapter.npz"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)

    with pytest.raises(ModelError, match="was changed"):
        Versions(root).read(1)


def foreign(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # an array of objects is what is tried
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"not an archive", foreign(weights=np.array([{"a": "pickle"}], dtype=object)), foreign(weights=[1.0])[:60]],
    ids=["empty", "text", "pickle", "cut off"],
)
def test_a_foreign_file_is_refused_though_its_card_names_its_digest(versions: Versions, content: bytes) -> None:
    versions.add(ARRAYS, {})
    folder = versions._root / "versions" / "0001"
    (folder / "adapter.npz").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    card["sha256"]["adapter.npz"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))

    with pytest.raises(ModelError):
        versions.read(1)


def test_what_a_crash_left_half_written_is_no_version(versions: Versions, tmp_path: Path) -> None:
    (tmp_path / "mind" / "versions" / ".0001.new").mkdir(parents=True)
    (tmp_path / "mind" / "versions" / "0004").mkdir()

    assert versions.all() == []
    assert versions.add(ARRAYS, {}).number == 5


def test_a_pointer_that_names_no_number_is_reported(versions: Versions, tmp_path: Path) -> None:
    (tmp_path / "mind").mkdir()
    (tmp_path / "mind" / "active").write_text("latest\n")

    with pytest.raises(StorageError, match="rollback"):
        versions.active()


def test_the_guard_has_every_device_on_both_sides_and_no_text_twice() -> None:
    guard = read_guard()
    texts = [text.text for text in (*guard.rehearsed, *guard.judging)]

    assert len(texts) == len(set(texts)) >= 120
    for side in (guard.rehearsed, guard.judging):
        assert set(DeviceType) == {device for text in side for device in text.accept}
