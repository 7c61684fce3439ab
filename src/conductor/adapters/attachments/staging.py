"""Lay a task's attachments into its folder for one attempt: `attachments/NAME`, copies that may only be read.

Copies and not links: a program that changed a linked file would change the stored one, whose name is its digest.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from conductor.adapters.local_processes.processes import LocalProcesses
from conductor.domain.attachment import Attachment
from conductor.domain.errors import NotFound, StorageError
from conductor.domain.task import Task

FOLDER: Final = "attachments"
#: Says where they lie to a task that starts in another folder.
VARIABLE: Final = "CONDUCTOR_ATTACHMENTS"


def _nowhere(attachment_id: str) -> Path:
    raise NotFound(f"the attachment {attachment_id} cannot be found: no attachments are kept here", field="attachments")


class Staging:
    """Attachments in the folders of tasks.

    Args:
        processes: knows the folder of a task.
        find: where the bytes of an attachment are, by its id; raises `NotFound`.
    """

    def __init__(self, processes: LocalProcesses, find: Callable[[str], Path] = _nowhere) -> None:
        self._processes = processes
        self._find = find

    @contextlib.asynccontextmanager
    async def of(self, task: Task) -> AsyncIterator[Mapping[str, str]]:
        """For the duration of the block the task's files are there; yields what to add to its environment.

        Raises:
            NotFound: one was removed.
            StorageError: a copy cannot be made.
        """
        attachments = task.submission.attachments
        if not attachments:
            yield {}
            return
        folder = self._processes.folder(task.task_id) / FOLDER
        try:
            await asyncio.to_thread(self._lay, attachments, folder)
            yield {VARIABLE: str(folder)}
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _lay(self, attachments: Sequence[Attachment], folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was cut off
        try:
            folder.mkdir(mode=0o700, parents=True)
            for attachment in attachments:
                copy = folder / attachment.name
                shutil.copyfile(self._find(attachment.attachment_id), copy)
                copy.chmod(0o400)
        except OSError as failure:
            raise StorageError(f"{folder} cannot be filled: {failure.strerror or failure}") from failure
