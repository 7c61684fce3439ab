"""The folder of kept answers is private and bounded; what cannot be read back is dropped, counted and never raised."""

import asyncio
import os
from pathlib import Path

import pytest

from conductor.adapters.cache_folder import CacheFolder
from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.model_files import files_of
from conductor.domain.model import ModelName
from conductor.serving.ports import KeptAnswer

MODEL, OTHER = ModelName("/models/../a"), ModelName("http://host/v1#b")
KEYS = [f"{number:064x}" for number in range(10)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


async def _get(folder: CacheFolder, key: str, model: ModelName = MODEL) -> bytes | None:
    found = await folder.get(key, model, not_before_unix_s=0.0)
    return None if found is None else found.body


@pytest.mark.anyio
async def test_an_answer_outlives_its_folder_object_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    root = tmp_path / "answers"
    await CacheFolder(root, most_bytes=100_000).put(KEYS[0], MODEL, KeptAnswer(b"\x00body", 12.5))
    again = CacheFolder(root, most_bytes=100_000)
    assert await again.get(KEYS[0], MODEL, not_before_unix_s=12.5) == KeptAnswer(b"\x00body", 12.5)
    assert await _get(again, KEYS[0], OTHER) is None
    assert [path.stat().st_mode & 0o777 for path in _files(root)] == [0o600]
    assert {path.stat().st_mode & 0o777 for path in (root, *root.iterdir())} == {0o700}
    assert (again.counts.hits, again.counts.misses) == (1, 1)


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
@pytest.mark.anyio
async def test_a_damaged_file_is_a_miss_and_is_removed(tmp_path: Path, damage: bytes | None) -> None:
    folder = CacheFolder(tmp_path, most_bytes=100_000)
    await folder.put(KEYS[0], MODEL, KeptAnswer(b"body", 1.0))
    (path,) = _files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!" if damage is None else damage)
    assert await _get(folder, KEYS[0]) is None
    assert (folder.counts.corrupt, folder.counts.entries, folder.counts.bytes) == (1, 0, 0)
    assert not _files(tmp_path)


@pytest.mark.anyio
async def test_a_file_that_somebody_removed_is_a_miss(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, most_bytes=100_000)
    await folder.put(KEYS[0], MODEL, KeptAnswer(b"body", 1.0))
    _files(tmp_path)[0].unlink()
    assert await _get(folder, KEYS[0]) is None


@pytest.mark.anyio
async def test_a_link_in_place_of_an_answer_is_not_followed(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "answers", most_bytes=100_000)
    await folder.put(KEYS[0], MODEL, KeptAnswer(b"body", 1.0))
    (path,) = _files(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert await _get(folder, KEYS[0]) is None
    assert (tmp_path / "elsewhere").exists()


@pytest.mark.anyio
async def test_what_was_used_longest_ago_gives_way_also_after_a_restart(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, most_bytes=3 * 4096)
    for key in KEYS[:3]:
        await folder.put(key, MODEL, KeptAnswer(b"body", 1.0))
    assert await _get(folder, KEYS[0]) == b"body"
    await folder.put(KEYS[3], MODEL, KeptAnswer(b"body", 1.0))
    assert [await _get(folder, key) for key in KEYS[:4]] == [b"body", None, b"body", b"body"]
    assert folder.counts.evictions == 1
    for place, key in enumerate((KEYS[2], KEYS[0], KEYS[3])):
        os.utime(next(path for path in _files(tmp_path) if path.name == key), ns=(place, place))
    smaller = CacheFolder(tmp_path, most_bytes=2 * 4096)
    assert [await _get(smaller, key) for key in KEYS[:4]] == [b"body", None, None, b"body"]


@pytest.mark.anyio
async def test_an_answer_larger_than_the_folder_may_be_is_not_kept(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, most_bytes=4096)
    await folder.put(KEYS[0], MODEL, KeptAnswer(b"x" * 4096, 1.0))
    assert not _files(tmp_path)


@pytest.mark.anyio
async def test_an_old_answer_is_dropped(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, most_bytes=100_000)
    await folder.put(KEYS[0], MODEL, KeptAnswer(b"body", 1.0))
    assert await folder.get(KEYS[0], MODEL, not_before_unix_s=1.5) is None
    assert folder.counts.expired == 1
    assert not _files(tmp_path)


@pytest.mark.anyio
async def test_forgetting_a_model_removes_its_files_and_no_others(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, most_bytes=100_000)
    for key, model in ((KEYS[0], MODEL), (KEYS[1], MODEL), (KEYS[2], OTHER)):
        await folder.put(key, model, KeptAnswer(b"body", 1.0))
    assert await folder.forget(MODEL) == 2
    assert [path.name for path in _files(tmp_path)] == [KEYS[2]]
    assert await folder.forget(None) == 1
    assert not _files(tmp_path)


@pytest.mark.anyio
async def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, most_bytes=100_000)
    await folder.put(KEYS[0], MODEL, KeptAnswer(b"body", 1.0))
    half = _files(tmp_path)[0].with_name("0123.part")
    half.write_bytes(b"half")
    assert await _get(CacheFolder(tmp_path, most_bytes=100_000), KEYS[0]) == b"body"
    assert not half.exists()


@pytest.mark.anyio
async def test_a_folder_that_cannot_be_written_keeps_nothing_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("a file is in the way")
    folder = CacheFolder(tmp_path / "answers", most_bytes=100_000)
    await folder.put(KEYS[0], MODEL, KeptAnswer(b"body", 1.0))
    assert await _get(folder, KEYS[0]) is None
    assert folder.counts.entries == 0


@pytest.mark.anyio
async def test_many_at_once_leave_the_books_right(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, most_bytes=5 * 4096)

    async def use(number: int) -> None:
        key = KEYS[number % len(KEYS)]
        await folder.put(key, MODEL, KeptAnswer(key.encode(), 1.0))
        assert await _get(folder, key) in (None, key.encode())
        if number % 17 == 0:
            await folder.forget(MODEL)

    await asyncio.gather(*(use(number) for number in range(100)))
    files = _files(tmp_path)
    assert len(files) == folder.counts.entries <= 5
    assert folder.counts.bytes == 4096 * len(files)
    assert folder.counts.corrupt == 0


def test_a_replaced_file_is_another_model(tmp_path: Path) -> None:
    hub, path = HubCache(tmp_path / "hub"), tmp_path / "x.gguf"
    model = ModelName(f"llama-server:{path}")
    assert files_of(model, hub) is None
    path.write_bytes(b"one")
    before = files_of(model, hub)
    assert before == files_of(ModelName(str(path)), hub) != ()
    path.write_bytes(b"three")
    assert files_of(model, hub) not in (None, before)


def test_every_part_of_a_split_model_counts(tmp_path: Path) -> None:
    hub = HubCache(tmp_path / "hub")
    for part in (1, 2):
        (tmp_path / f"x-0000{part}-of-00002.gguf").write_bytes(b"one")
    model = ModelName(str(tmp_path / "x-00001-of-00002.gguf"))
    before = files_of(model, hub)
    (tmp_path / "x-00002-of-00002.gguf").write_bytes(b"three")
    assert before != files_of(model, hub)


def test_models_of_endpoints_have_no_files_here(tmp_path: Path) -> None:
    assert files_of(OTHER, HubCache(tmp_path)) == ()
