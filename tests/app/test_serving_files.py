"""Files that are sent in at the same time, and disks that refuse."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest

from conductor.adapters.clock import SystemClock
from conductor.adapters.document_folder import DocumentFolder
from conductor.app.serving.files import FileBounds, ServingFiles
from conductor.domain.errors import Conflict, StorageError


def files_in(folder: DocumentFolder) -> ServingFiles:
    ids = count(1)
    bounds = FileBounds(largest_bytes=100, total_bytes=150)
    return ServingFiles(folder, clock=SystemClock(), new_id=lambda: str(next(ids)), bounds=bounds)


async def pieces(*parts: bytes, after_the_first: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        if after_the_first is not None:
            await after_the_first.wait()


def test_two_files_that_come_at_a_time_are_bounded_together(tmp_path: Path) -> None:
    async def go() -> None:
        files, others_are_there = files_in(DocumentFolder(tmp_path)), asyncio.Event()
        slow = pieces(b"x", b"x" * 89, after_the_first=others_are_there)
        coming = asyncio.create_task(files.add(slow, name="slow", purpose="batch"))
        await asyncio.sleep(0)
        await files.add(pieces(b"x" * 90), name="quick", purpose="batch")
        others_are_there.set()
        with pytest.raises(Conflict):
            await coming
        await files.add(pieces(b"x" * 60), name="fits", purpose="batch")
        assert [file.size_bytes for file in files.oldest()] == [90, 60]

    asyncio.run(go())
    assert len(list(tmp_path.glob("*.bytes"))) == 2


def test_a_file_whose_document_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_name: str, _document: object) -> None:
        raise StorageError("the disk is full")

    folder = DocumentFolder(tmp_path)
    monkeypatch.setattr(folder, "write", full)

    with pytest.raises(StorageError, match="the disk is full"):
        asyncio.run(files_in(folder).add(pieces(b"x"), name="x", purpose="batch"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_removed_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stubborn(_name: str) -> None:
        raise StorageError("the disk says no")

    async def go() -> None:
        folder = DocumentFolder(tmp_path)
        files = files_in(folder)
        file = await files.add(pieces(b"x"), name="x", purpose="batch")
        with monkeypatch.context() as patch:
            patch.setattr(folder, "remove", stubborn)
            with pytest.raises(StorageError):
                await files.remove(file.file_id)
        assert files.get(file.file_id) == file
        await files.remove(file.file_id)
        assert not files.oldest()

    asyncio.run(go())


def test_what_was_being_sent_when_the_server_was_killed_is_removed_and_what_batches_write_is_not(
    tmp_path: Path,
) -> None:
    async def go() -> list[int]:
        folder = DocumentFolder(tmp_path)
        files = files_in(folder)
        await files.add(pieces(b"x"), name="whole", purpose="batch")
        for name in ("file-torn", "file-output"):
            folder.append(name, b"half")
        return [await files.drop_strays(but={"file-output"}) for _ in range(2)]

    assert asyncio.run(go()) == [1, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file-1.bytes", "file-1.json", "file-output.bytes"]
