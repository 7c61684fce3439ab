"""Read a stranger's file: headers here, content by decoders in a confined process (`worker`) with bounds on all it uses.

Covered: a decoder that crashes, hangs, eats memory or answers nonsense; the headers stay, with a note that says so.
"""

import asyncio
import os
import shutil
import sys
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from conductor.adapters.attachments.reading import Reading, read_headers
from conductor.adapters.local_processes.processes import LocalProcesses, ProcessEnding
from conductor.domain.attachment import Medium
from conductor.domain.errors import InvalidInput
from conductor.domain.outcome import Ending
from conductor.domain.plain_data import check_plain
from conductor.domain.task import TaskId
from conductor.domain.units import MIB
from conductor.domain.workload import Limits

_LIMITS: Final = Limits(
    memory_bytes=1024 * MIB, wall_time_s=20.0, cpu_time_s=20.0, output_bytes=64 * 1024, processes=32
)
#: For a copy that is sent to a model that sees.
_COPY_LIMITS: Final = replace(_LIMITS, output_bytes=4 * MIB)
#: More would take the machine from the tasks.
_AT_ONCE: Final = 2


class ConfinedReader:
    """Reads files of strangers, two at a time.

    Args:
        processes: runs the worker.
        import_path: where the worker finds this program.
    """

    def __init__(self, processes: LocalProcesses, *, import_path: list[str]) -> None:
        self._processes = processes
        self._import_path = os.pathsep.join(entry for entry in import_path if entry)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._numbers = count(1)

    async def read(self, path: Path) -> Reading:
        """What the file is; takes up to twenty seconds.

        Raises:
            OSError: it is not there.
        """
        headers = await asyncio.to_thread(read_headers, path)
        if headers.medium not in (Medium.IMAGE, Medium.AUDIO):
            return headers
        async with self._turns:
            return await self._measured(path, headers)

    async def small_copy(self, path: Path, media_type: str) -> bytes | None:
        """A picture as a small JPEG without what the camera noted; None where it cannot be made."""
        async with self._turns:
            ending = await self._worked([str(path), media_type], _COPY_LIMITS)
        return ending.returned if ending.outcome.ending is Ending.SUCCEEDED else None

    async def _measured(self, path: Path, headers: Reading) -> Reading:
        ending = await self._worked([str(path)], _LIMITS)
        if ending.outcome.ending is not Ending.SUCCEEDED:
            return headers.with_note(f"its content was not measured: the decoder ended by {ending.outcome.ending}")
        return _parsed(ending.returned, headers)

    async def _worked(self, arguments: list[str], limits: Limits) -> ProcessEnding:
        task_id = TaskId(f"attachment-{next(self._numbers)}")
        try:
            return await self._processes.run(
                [sys.executable, "-P", "-m", "conductor.adapters.attachments.worker", *arguments],
                task_id=task_id,
                limits=limits,
                emit=lambda _output: None,
                # A thread per core, each with an address space of its own, would not fit into the memory bound.
                environment={"PYTHONPATH": self._import_path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                returns=True,
            )
        finally:
            await asyncio.to_thread(shutil.rmtree, self._processes.folder(task_id), ignore_errors=True)


def _parsed(answer: bytes, headers: Reading) -> Reading:
    """The worker's answer. It is foreign data: what the headers say is believed over it."""
    try:
        found = _readings().validate_json(answer)
        check_plain(dict(found.facts), field="facts", depth=4)
    except (ValidationError, InvalidInput):
        return headers.with_note("its content was not measured: the decoder's answer made no sense")
    sizes = {name: size for name, size in found.sizes.items() if 0 < size < float("inf")}
    sizes |= headers.sizes
    return replace(found, media_type=headers.media_type, medium=headers.medium, sizes=sizes, described="")


@cache
def _readings() -> TypeAdapter[Reading]:
    return TypeAdapter(Reading)  # built at the first file, not at every start
