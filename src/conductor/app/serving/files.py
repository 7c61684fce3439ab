"""The files of the OpenAI API: sent in for batches, or written by them; bounded in size, number and sum.

Everything is in the data folder, so files outlive restarts. A file stays until its owner removes it, or until its time is
over, if it has one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterable, Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog

from conductor.adapters.document_folder import DocumentFolder
from conductor.domain.clock import Clock
from conductor.domain.errors import Conflict, InvalidInput, NotFound, StorageError
from conductor.domain.units import GIB, MIB, format_bytes

PURPOSES: Final = ("batch", "assistants", "fine-tune", "vision", "user_data", "evals")
_PIECE_BYTES: Final = MIB
_SWEEP_INTERVAL_S: Final = 3600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBounds:
    """How much is kept."""

    largest_bytes: int = 100 * MIB
    total_bytes: int = 4 * GIB
    files: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file; `expires_at_unix_s` None keeps it until it is removed."""

    file_id: str
    name: str
    purpose: str
    size_bytes: int
    created_at_unix_s: int
    expires_at_unix_s: int | None = None


class ServingFiles:
    """The files of this installation. Await `recover` once before anything else; `run` is a task of the owner."""

    def __init__(
        self, folder: DocumentFolder, *, clock: Clock, new_id: Callable[[], str], bounds: FileBounds | None = None
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._new_id = new_id
        self._bounds = bounds or FileBounds()
        self._files: dict[str, StoredFile] = {}
        #: Of files that are not published yet.
        self._coming_bytes: dict[str, int] = {}

    @property
    def largest_bytes(self) -> int:
        """The largest file that is taken."""
        return self._bounds.largest_bytes

    async def recover(self) -> None:
        """Find the files of earlier runs."""
        found = await asyncio.to_thread(self._folder.all_as, StoredFile)
        self._files = {file.file_id: file for file in sorted(found, key=lambda file: file.created_at_unix_s)}

    async def drop_strays(self, *, but: Collection[str]) -> int:
        """Remove what was being sent in when the server was killed; returns how many files that was.

        Args:
            but: ids that were reserved, and are still being written.
        """
        dropped = 0
        for name in await asyncio.to_thread(self._folder.without_document):
            if name not in but:
                with contextlib.suppress(StorageError):  # it is met again at the next start
                    await asyncio.to_thread(self._folder.remove, name)
                    dropped += 1
        if dropped:
            log.info("files_removed", files=dropped)
        return dropped

    async def add(
        self, pieces: AsyncIterable[bytes], *, name: str, purpose: str, expires_after_s: int | None = None
    ) -> StoredFile:
        """Take a file in.

        Raises:
            InvalidInput: it is empty or too large, or its purpose is unknown.
            Conflict: too much is kept already.
        """
        if purpose not in PURPOSES:
            raise InvalidInput(f"purpose is {purpose[:50]!r}; it must be one of {', '.join(PURPOSES)}", field="purpose")
        if len(self._files) >= self._bounds.files:
            await self.forget_expired()
        if len(self._files) >= self._bounds.files:
            raise Conflict(f"{len(self._files)} files are kept already; delete some", field="file")
        file_id = self.reserve()
        self._coming_bytes[file_id] = 0
        try:
            size = await self._take_in(file_id, pieces)
            return await self.publish(
                file_id, name=name, purpose=purpose, size_bytes=size, expires_after_s=expires_after_s
            )
        except BaseException:
            with contextlib.suppress(StorageError):  # what went wrong first is told
                await asyncio.to_thread(self._folder.remove, file_id)
            raise
        finally:
            del self._coming_bytes[file_id]

    def reserve(self) -> str:
        """The id of a file that is still to be written with `append`."""
        return f"file-{self._new_id()}"

    async def append(self, file_id: str, content: bytes) -> None:
        """Write on at a reserved file."""
        await asyncio.to_thread(self._folder.append, file_id, content)

    async def publish(
        self,
        file_id: str,
        *,
        name: str,
        purpose: str,
        size_bytes: int | None = None,
        expires_after_s: int | None = None,
    ) -> StoredFile:
        """Make a reserved file one that everybody sees."""
        now_unix_s = int(self._clock.now_unix_s())
        file = StoredFile(
            file_id=file_id,
            name=name[:255] or "file",
            purpose=purpose,
            size_bytes=await asyncio.to_thread(self._folder.size, file_id) if size_bytes is None else size_bytes,
            created_at_unix_s=now_unix_s,
            expires_at_unix_s=None if expires_after_s is None else now_unix_s + expires_after_s,
        )
        await asyncio.to_thread(self._folder.write, file_id, asdict(file))
        self._files[file_id] = file
        return file

    def get(self, file_id: str) -> StoredFile:
        """One file.

        Raises:
            NotFound: there is none.
        """
        file = self._files.get(file_id)
        if file is None or self._is_over(file):
            raise NotFound(f"there is no file {file_id[:100]!r}", field="file_id")
        return file

    def oldest(self, purpose: str | None = None) -> Sequence[StoredFile]:
        """Files, oldest first."""
        return [
            file
            for file in self._files.values()
            if not self._is_over(file) and (purpose is None or file.purpose == purpose)
        ]

    async def remove(self, file_id: str) -> None:
        """Remove a file; errors as `get`, and `StorageError` where it cannot be removed, and is still there."""
        self.get(file_id)
        await asyncio.to_thread(self._folder.remove, file_id)
        self._files.pop(file_id, None)

    async def run(self) -> None:
        """Remove files whose time is over, at once and now and then, until cancelled."""
        while True:
            removed = await self.forget_expired()
            if removed:
                log.info("files_removed", files=removed)
            await asyncio.sleep(_SWEEP_INTERVAL_S)

    async def forget_expired(self) -> int:
        """Remove files whose time is over; returns how many. One that cannot be removed is tried again the next time."""
        removed = 0
        for file in [file for file in self._files.values() if self._is_over(file)]:
            try:
                await asyncio.to_thread(self._folder.remove, file.file_id)
            except StorageError as failure:
                log.warning("file_not_removed", file=file.file_id, reason=failure.message)
            else:
                removed += self._files.pop(file.file_id, None) is not None
        return removed

    def content(self, file_id: str) -> Path:
        """Where its bytes are; errors as `get`."""
        self.get(file_id)
        return self._folder.content(file_id)

    @property
    def folder(self) -> DocumentFolder:
        """For those who read files line by line."""
        return self._folder

    def _is_over(self, file: StoredFile) -> bool:
        return file.expires_at_unix_s is not None and file.expires_at_unix_s <= self._clock.now_unix_s()

    async def _take_in(self, file_id: str, pieces: AsyncIterable[bytes]) -> int:
        held, size = bytearray(), 0
        async for piece in pieces:
            size += len(piece)
            self._coming_bytes[file_id] = size
            self._check_size(size)
            held += piece
            if len(held) >= _PIECE_BYTES:
                await self.append(file_id, bytes(held))
                held.clear()
        if not size:
            raise InvalidInput("the file is empty", field="file")
        await self.append(file_id, bytes(held))
        return size

    def _check_size(self, size: int) -> None:
        kept_bytes = sum(file.size_bytes for file in self._files.values())  # others may have come meanwhile
        if size > self._bounds.largest_bytes:
            raise InvalidInput(
                f"a file may have {format_bytes(self._bounds.largest_bytes)} here; split it", field="file"
            )
        if kept_bytes + sum(self._coming_bytes.values()) > self._bounds.total_bytes:
            raise Conflict(
                f"all files together may have {format_bytes(self._bounds.total_bytes)} here; delete some", field="file"
            )
