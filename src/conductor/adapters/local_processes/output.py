"""What a task prints: bounded, streamed in pieces, kept in files, its end remembered.

One `TaskPrinting` takes the bytes of both streams as they are read. It stores at most the limit and says when that is
passed or the disk refuses; killing the task is the caller's. Memory use does not grow with the output.

Covered: characters cut between two reads, bytes that are no UTF-8 (shown as U+FFFD), a full disk.
Not covered: the order between the two streams below a piece; the kernel does not keep it.
"""

import asyncio
import codecs
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from conductor.domain.event import TaskOutput
from conductor.domain.task import TaskId

TAIL_CHARACTERS: Final = 4000
PIECE_BYTES: Final = 8192
PIECE_S: Final = 0.05


class PrintedStream:
    """One stream: pieces of text go out when they are large or old enough, bytes go into the file."""

    def __init__(self, name: str, task_id: TaskId, file: Path, emit: Callable[[TaskOutput], None]) -> None:
        self._name, self._task_id, self._emit = name, task_id, emit
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: list[str] = []
        self._waiting_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self.tail = ""

    def take(self, data: bytes) -> None:
        """Store and stream a few bytes.

        Raises:
            OSError: the file cannot take them (a full disk).
        """
        self._show(self._decoder.decode(data))
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= PIECE_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PIECE_S, self.flush)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def flush(self) -> None:
        """Send what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        text, self._waiting, self._waiting_bytes = "".join(self._waiting), [], 0
        if text:
            self._emit(TaskOutput(task_id=self._task_id, stream=self._name, text=text))

    def close(self) -> None:
        """Send what is left, half a character included."""
        self._show(self._decoder.decode(b"", final=True))
        self.flush()
        os.close(self._fd)

    def _show(self, text: str) -> None:
        if text:
            self._waiting.append(text)
            self.tail = (self.tail + text)[-TAIL_CHARACTERS:]


class TaskPrinting:
    """Both streams of a task under one bound.

    Args:
        folder: where the files `stdout` and `stderr` are appended to.
        limit_bytes: how much of both together is kept.

    Raises:
        OSError: the files cannot be made.
    """

    def __init__(self, folder: Path, task_id: TaskId, *, limit_bytes: int, emit: Callable[[TaskOutput], None]) -> None:
        self.stdout = PrintedStream("stdout", task_id, folder / "stdout", emit)
        try:
            self.stderr = PrintedStream("stderr", task_id, folder / "stderr", emit)
        except OSError:
            self.stdout.close()
            raise
        self._limit_bytes = limit_bytes
        self.printed_bytes = 0
        self.disk_error: OSError | None = None

    @property
    def is_over(self) -> bool:
        """Whether more was printed than is allowed."""
        return self.printed_bytes > self._limit_bytes

    @property
    def is_refused(self) -> bool:
        """Whether the task must end because of what it prints."""
        return self.is_over or self.disk_error is not None

    def take(self, store: Callable[[bytes], None], data: bytes) -> None:
        """Count the bytes and give those within the bound to one of the streams; never raises."""
        room = max(0, self._limit_bytes - self.printed_bytes)
        self.printed_bytes += len(data)
        if self.disk_error is None and room:
            try:
                store(data[:room])
            except OSError as error:
                self.disk_error = error

    def close(self) -> None:
        """Send the rest of both streams."""
        self.stdout.close()
        self.stderr.close()
