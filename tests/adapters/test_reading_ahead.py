"""Weights that are read ahead: real files, put out of the operating system's memory first and found in it afterwards."""

import ctypes
import mmap
import os
import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.model_files import weights_of
from conductor.adapters.reading_ahead import PageCache, SpareMemory, is_in_memory
from conductor.adapters.sensors.tree import Tree
from conductor.domain.model import ModelName
from conductor.domain.units import GIB, KIB, MIB

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing is read ahead elsewhere"),
]
MODEL = ModelName("model")


def put_out(path: Path) -> None:
    """Have nothing of a file in memory; skips where the file system cannot do without, or does not say."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        if is_in_memory(file, 0):
            pytest.skip("this file system keeps everything in memory")
        os.pread(file, 1, 0)
        if not is_in_memory(file, 0):
            pytest.skip("this file system does not say what is in memory")
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


def share_in_memory(path: Path) -> float:
    """By the kernel's own table of pages; asking by reading would bring in what is asked for."""
    size = path.stat().st_size
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        failed = ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(size), pages)
        del first
    assert not failed
    return sum(page & 1 for page in pages) / len(pages)


def weights(where: Path, *sizes: int) -> list[Path]:
    paths = [where / f"model-{number}.safetensors" for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(os.urandom(MIB) * (size // MIB) + b"x" * (size % MIB))
        put_out(path)
    return paths


async def fetched(paths: Sequence[Path], free_bytes: int) -> list[int]:
    cache = PageCache(lambda _model: paths, lambda: free_bytes)
    return [count async for count in cache.fetch(MODEL)]


async def test_all_files_of_a_model_are_in_memory_afterwards(tmp_path: Path) -> None:
    paths = weights(tmp_path, 70 * MIB + 5, 30 * MIB)

    read = sum(await fetched(paths, GIB))

    # A page that the kernel did not put out speaks for the megabyte that it ends.
    assert min(share_in_memory(path) for path in paths) > 0.9
    assert read > 60 * MIB
    assert sum(await fetched(paths, GIB)) == 0, "what is there is not read again"


async def test_no_more_is_read_than_is_free(tmp_path: Path) -> None:
    (path,) = weights(tmp_path, 100 * MIB)

    assert await fetched([path], 20 * MIB) == []
    assert share_in_memory(path) < 0.5
    assert sum(await fetched([path], 70 * MIB)) <= 70 * MIB
    assert share_in_memory(path) < 0.9


async def test_who_leaves_has_the_rest_left_alone(tmp_path: Path) -> None:
    (path,) = weights(tmp_path, 160 * MIB)
    cache = PageCache(lambda _model: [path], lambda: GIB)

    async with aclosing(cache.fetch(MODEL)) as stretches:
        async for _ in stretches:
            break

    assert 0 < share_in_memory(path) < 0.9


async def test_files_that_are_gone_are_no_failure(tmp_path: Path) -> None:
    assert await fetched([tmp_path / "gone.gguf"], GIB) == []


def test_only_numbers_that_are_loaded_here_are_weights(tmp_path: Path) -> None:
    for name in ("b-00001-of-00002.gguf", "b-00002-of-00002.gguf", "c.gguf"):
        (tmp_path / name).touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("model.safetensors", "pytorch_model.bin", "config.json"):
        (folder / name).touch()
    hub = HubCache(tmp_path)

    def names(model: str) -> list[str]:
        return [path.name for path in weights_of(ModelName(model), hub)]

    assert names(str(folder)) == ["model.safetensors"]
    assert names(f"llama-server:{tmp_path}/b-00001-of-00002.gguf") == ["b-00001-of-00002.gguf", "b-00002-of-00002.gguf"]
    assert names(str(tmp_path / "gone.gguf")) == []
    assert names("http://host/v1#model.gguf") == []


def kernel(where: Path, *, available_bytes: int, load: float) -> SpareMemory:
    proc = where / "proc"
    proc.mkdir(exist_ok=True)
    (proc / "meminfo").write_text(f"MemTotal: {16 * GIB // KIB} kB\nMemAvailable: {available_bytes // KIB} kB\n")
    (proc / "loadavg").write_text(f"{load} 0.0 0.0 1/1 1\n")
    return SpareMemory(Tree(where))


async def test_a_reserve_is_left_alone_and_a_busy_machine_has_no_leisure(tmp_path: Path) -> None:
    spare = kernel(tmp_path, available_bytes=8 * GIB, load=0.0)
    assert 6 * GIB < spare.free_bytes() < 7 * GIB
    assert await spare.spare_bytes() == spare.free_bytes()
    busy = kernel(tmp_path, available_bytes=8 * GIB, load=1_000.0)
    assert await busy.spare_bytes() == 0
    assert busy.free_bytes() > 6 * GIB
    assert kernel(tmp_path, available_bytes=GIB, load=0.0).free_bytes() == 0


async def test_where_the_kernel_says_nothing_nothing_is_free(tmp_path: Path) -> None:
    assert SpareMemory(Tree(tmp_path)).free_bytes() == 0
