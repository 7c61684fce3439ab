"""The use cases about attached files: take one in, find it again for a task, and let go of what nobody needs."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import Final

import structlog

from conductor.adapters.attachments.confined import ConfinedReader
from conductor.adapters.attachments.describing import Describer
from conductor.adapters.attachments.folder import AttachmentFolder, Incoming, too_large
from conductor.app.settings.model import AttachmentSettings
from conductor.domain.attachment import Attachment, check_file_name
from conductor.domain.clock import Clock
from conductor.domain.errors import InvalidInput
from conductor.domain.task import Task, UserId

#: How often old files are looked for; they are kept for days.
_SWEEP_INTERVAL_S: Final = 3600.0
_PIECE_BYTES: Final = 1024 * 1024

log = structlog.get_logger(__name__)


class Attachments:
    """Attached files of this installation.

    Args:
        describer: has pictures described where a model that sees is set.
        settings: as they are now.
        open_tasks: every task that is not settled; their files are never removed.
    """

    def __init__(
        self,
        *,
        folder: AttachmentFolder,
        reader: ConfinedReader,
        describer: Describer,
        clock: Clock,
        settings: Callable[[], AttachmentSettings],
        open_tasks: Callable[[], Collection[Task]],
    ) -> None:
        self._folder = folder
        self._reader = reader
        self._describer = describer
        self._clock = clock
        self._settings = settings
        self._open_tasks = open_tasks

    @property
    def most_bytes(self) -> int:
        """The largest file that is taken now."""
        return self._settings().max_bytes

    async def add(
        self, pieces: AsyncIterable[bytes], *, name: str, user_id: UserId, claimed: str | None = None
    ) -> Attachment:
        """Take a file in: store it by its digest, and read what it is. The same file twice is one file.

        Args:
            pieces: its bytes in order.
            name: what it is called in a task's folder.
            user_id: whose it is; nobody else can attach it by its id.
            claimed: the media type that the sender names; the content decides.

        Raises:
            InvalidInput: it is empty or too large, or the name is a path.
            StorageError: there is no room for it.
        """
        check_file_name(name)
        with await asyncio.to_thread(self._incoming) as incoming:
            async for piece in pieces:
                await asyncio.to_thread(incoming.write, piece)
            attachment_id = await asyncio.to_thread(incoming.finish)
            reading = await self._reader.read(incoming.path)
            reading = await self._describer.described(incoming.path, reading)
            attachment = reading.attachment(
                attachment_id=attachment_id, name=name, size_bytes=incoming.size_bytes, claimed=claimed
            )
            await asyncio.to_thread(self._folder.keep, incoming, attachment, user_id)
        return attachment

    async def add_file(self, path: Path, *, user_id: UserId) -> Attachment:
        """Take in a file of this machine; see `add`.

        Raises:
            InvalidInput: there is no such file, or it cannot be read.
        """
        return await self.add(self._pieces(path), name=path.name, user_id=user_id)

    async def find(self, attachment_ids: Sequence[str], user_id: UserId) -> tuple[Attachment, ...]:
        """What this user sent under these ids.

        Raises:
            NotFound: one of them is not his, or was removed.
        """
        now = self._clock.now_unix_s()
        return tuple(
            [await asyncio.to_thread(self._folder.find, each, user_id, now_unix_s=now) for each in attachment_ids]
        )

    async def check_kept(self, task: Task) -> None:
        """See that the files of a task are still here, before it is repeated.

        Raises:
            NotFound: one was removed.
        """
        await self.find([each.attachment_id for each in task.submission.attachments], task.submission.user_id)

    async def sweep(self) -> int:
        """Remove what no open task needs and nobody used for the time set; returns how many files."""
        in_use = {each.attachment_id for task in self._open_tasks() for each in task.submission.attachments}
        before = self._clock.now_unix_s() - self._settings().kept_s
        return await asyncio.to_thread(self._folder.sweep, before_unix_s=before, in_use=in_use)

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            removed = await self.sweep()
            if removed:
                log.info("attachments_removed", files=removed)
            await asyncio.sleep(_SWEEP_INTERVAL_S)

    def _incoming(self) -> Incoming:
        return self._folder.incoming(most_bytes=self.most_bytes)

    async def _pieces(self, path: Path) -> AsyncIterator[bytes]:
        try:
            if not path.is_file():  # noqa: ASYNC240 (one look at a local file)
                raise InvalidInput(f"there is no file {path}", field="attachments")
            size_bytes = path.stat().st_size  # noqa: ASYNC240
            if size_bytes > self.most_bytes:
                raise too_large(size_bytes, self.most_bytes)
            with path.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                    yield piece
        except OSError as failure:
            raise InvalidInput(
                f"{path} cannot be read: {failure.strerror or failure}", field="attachments"
            ) from failure
