"""Files whose time is over leave the disk by themselves, at the start and later."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.serving.simulated import LoopClock

from conductor.adapters.document_folder import DocumentFolder
from conductor.app.serving.files import ServingFiles
from conductor.domain.errors import StorageError


class Clock(LoopClock):
    def __init__(self) -> None:
        self.now_s = 1000.0

    def now_unix_s(self) -> float:
        return self.now_s


async def pieces() -> AsyncIterator[bytes]:
    yield b"something"


def on_disk(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def swept(files: ServingFiles, folder: Path) -> None:
    """One sweep of the background's; bytes and description of one file are left."""
    running = asyncio.create_task(files.run())
    async with asyncio.timeout(10):
        while len(on_disk(folder)) != 2:
            await asyncio.sleep(0.001)
    running.cancel()


def test_only_what_is_over_is_removed(tmp_path: Path) -> None:
    clock, ids = Clock(), count(1)

    async def go() -> str:
        first = ServingFiles(DocumentFolder(tmp_path), clock=clock, new_id=lambda: str(next(ids)))
        await first.add(pieces(), name="short", purpose="batch", expires_after_s=3600)
        kept = await first.add(pieces(), name="kept", purpose="batch")
        clock.now_s += 3601

        again = ServingFiles(DocumentFolder(tmp_path), clock=clock, new_id=lambda: str(next(ids)))
        await again.recover()
        await swept(again, tmp_path)
        return kept.file_id

    file_id = asyncio.run(go())

    assert on_disk(tmp_path) == [f"{file_id}.bytes", f"{file_id}.json"]


@pytest.mark.usefixtures("usual_logging")
def test_a_document_that_fits_nothing_is_left_out_with_a_warning(tmp_path: Path) -> None:
    async def go() -> ServingFiles:
        files = ServingFiles(DocumentFolder(tmp_path), clock=Clock(), new_id=lambda: "1")
        await files.add(pieces(), name="kept", purpose="batch")
        for name, content in (("a", "{}"), ("b", "[1]"), ("c", '{"of": "another version"}')):
            (tmp_path / f"file-{name}.json").write_text(content)
        again = ServingFiles(DocumentFolder(tmp_path), clock=Clock(), new_id=lambda: "2")
        await again.recover()
        return again

    with capture_logs() as told:
        files = asyncio.run(go())

    assert [file.name for file in files.oldest()] == ["kept"]
    assert [one["event"] for one in told] == ["document_left_out"] * 3


def test_a_file_that_cannot_be_removed_does_not_end_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ids, folder = Clock(), count(1), DocumentFolder(tmp_path)
    remove = folder.remove

    def stubborn(name: str) -> None:
        if name == "file-1":
            raise StorageError("the disk says no")
        remove(name)

    async def go() -> tuple[int, int]:
        files = ServingFiles(folder, clock=clock, new_id=lambda: str(next(ids)))
        for _ in range(3):
            await files.add(pieces(), name="short", purpose="batch", expires_after_s=1)
        clock.now_s += 2
        monkeypatch.setattr(folder, "remove", stubborn)
        first = await files.forget_expired()
        monkeypatch.undo()
        return first, await files.forget_expired()

    assert asyncio.run(go()) == (2, 1)
    assert on_disk(tmp_path) == []
