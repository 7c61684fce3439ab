"""Work on one batch: its requests are answered line by line, and the answers become a file.

What was answered stands in its output file, a line each, and is not asked again after a restart. Lines that fail go to an
error file, each with its own error; no line ends a batch. A few lines are answered side by side, so that interactive calls
find room. What keeps a batch from going on is told as its error, and what was answered until then is given out.

Not covered: a line that was being answered when the server was killed is answered again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import orjson
import structlog

from conductor.app.serving.batch import Batch, BatchBounds
from conductor.app.serving.batch_lines import BatchLines, Line, told
from conductor.app.serving.files import ServingFiles
from conductor.domain.clock import Clock
from conductor.domain.errors import StorageError

_MOST_TRIES: Final = 5
_OUR_FAULT: Final = "the server met an error of its own; its log has the details"


class Performed(NamedTuple):
    """How one request was answered: status and document, as the protocol has them, and whether asking again may help."""

    status: int
    document: dict[str, Any]
    again: bool = False


#: Answers one request, of which it is given path and body.
Perform = Callable[[str, dict[str, Any]], Awaitable[Performed]]

log = structlog.get_logger(__name__)


class BatchWork:
    """Works on batches.

    Args:
        files: where requests are read and answers written.
        keep: makes a batch's state outlive a restart.
    """

    def __init__(
        self,
        files: ServingFiles,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        bounds: BatchBounds,
        keep: Callable[[Batch], Awaitable[None]],
    ) -> None:
        self._files = files
        self._clock = clock
        self._new_id = new_id
        self._bounds = bounds
        self._keep = keep
        self._lines = BatchLines(files.folder, most_lines=bounds.lines)

    async def go_on(self, batch: Batch, perform: Perform) -> None:
        """Work on it to its end, from wherever it stands; cancelling leaves it as it is.

        Raises:
            StorageError, OSError, ExceptionGroup: it cannot go on; see `fail`.
        """
        if batch.status == "cancelling":
            await asyncio.to_thread(self._lines.answered, batch)
            await self._publish(batch)
            await self._end(batch, "cancelled")
            return
        if batch.status == "validating":
            batch.errors = await asyncio.to_thread(self._lines.faults, batch)
            if batch.errors:
                await self._end(batch, "failed")
                return
            batch.status, batch.in_progress_at = "in_progress", int(self._clock.now_unix_s())
            await self._keep(batch)
        answered = await asyncio.to_thread(self._lines.answered, batch)
        in_time = await self._answer_all(batch, answered, perform)
        batch.status, batch.finalizing_at = "finalizing", int(self._clock.now_unix_s())
        await self._publish(batch)
        await self._end(batch, "completed" if in_time else "expired")

    async def fail(self, batch: Batch, failure: BaseException) -> None:
        """End it because of what `go_on` raised."""
        cause = _cause(failure)
        log.error("batch_failed", batch=batch.batch_id, exc_info=cause)
        is_storage = isinstance(cause, StorageError | OSError)
        batch.errors = [told("storage", str(cause)[:500]) if is_storage else told("internal", _OUR_FAULT)]
        with contextlib.suppress(StorageError, OSError):  # what was answered is the owner's, if it can be had
            await self._publish(batch)
        try:
            await self._end(batch, "failed")
        except StorageError as unkept:  # it has ended all the same, and is tried again at the next start
            log.error("batch_not_kept", batch=batch.batch_id, reason=unkept.message)  # noqa: TRY400  # all that is known

    async def _answer_all(self, batch: Batch, answered: frozenset[str], perform: Perform) -> bool:
        """Answer what is not answered yet; whether that was done in time."""
        lines_left = self._lines.requests(batch, without=answered)
        in_time = True

        async def work() -> None:
            nonlocal in_time
            while (line := await asyncio.to_thread(next, lines_left, None)) is not None:
                if self._clock.now_unix_s() >= batch.expires_at:
                    in_time = False
                    await self._note_expiry(batch, line)
                else:
                    await self._answer(batch, line, perform)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._bounds.at_once):
                group.create_task(work())
        return in_time

    async def _answer(self, batch: Batch, line: Line, perform: Perform) -> None:
        for attempt in range(_MOST_TRIES):
            done = await perform(batch.endpoint, line.body)
            if not done.again or attempt == _MOST_TRIES - 1:
                break
            await asyncio.sleep(self._bounds.retry_s * 2**attempt)
        request_id = self._new_id()
        response = {"status_code": done.status, "request_id": request_id, "body": done.document}
        entry = {"id": f"batch_req_{request_id}", "custom_id": line.custom_id, "response": response, "error": None}
        is_good = done.status < 400
        await self._files.append(batch.output_file_id if is_good else batch.error_file_id, orjson.dumps(entry) + b"\n")
        if is_good:
            batch.completed += 1
        else:
            batch.failed += 1

    async def _note_expiry(self, batch: Batch, line: Line) -> None:
        error = {"code": "batch_expired", "message": "the batch's time was over before this line was answered"}
        entry = {"id": f"batch_req_{self._new_id()}", "custom_id": line.custom_id, "response": None, "error": error}
        await self._files.append(batch.error_file_id, orjson.dumps(entry) + b"\n")
        batch.failed += 1

    async def _publish(self, batch: Batch) -> None:
        """Make files of what was answered."""
        for file_id, what in ((batch.output_file_id, "output"), (batch.error_file_id, "errors")):
            is_there = await asyncio.to_thread(self._files.folder.size, file_id) > 0
            if is_there:
                await self._files.publish(file_id, name=f"{batch.batch_id}_{what}.jsonl", purpose="batch_output")
            if what == "output":
                batch.has_output = is_there
            else:
                batch.has_errors = is_there

    async def _end(self, batch: Batch, status: str) -> None:
        batch.status = status
        setattr(batch, f"{status}_at", int(self._clock.now_unix_s()))
        await self._keep(batch)
        log.info("batch_ended", batch=batch.batch_id, status=status, completed=batch.completed, failed=batch.failed)


def _cause(failure: BaseException) -> BaseException:
    """The first thing that went wrong, of several side by side."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
