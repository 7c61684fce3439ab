"""Batches: a file of requests is answered line by line, in the background, and the answers become a file.

A batch outlives restarts: what was answered stands in its output file, a line each, and is not asked again. Lines that
fail go to an error file, each with its own error; no line ends a batch. One batch is worked on at a time, a few of its lines
side by side, so that interactive calls find room.
How a request is answered is handed in (`answer_with`), because its form belongs to a face.

Not covered: a line that was being answered when the server was killed is answered again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, NamedTuple

import orjson
import structlog

from conductor.adapters.document_folder import DocumentFolder
from conductor.app.serving.batch import Batch, BatchBounds
from conductor.app.serving.batch_lines import BatchLines, Line, told
from conductor.app.serving.files import ServingFiles
from conductor.app.tracing import traced
from conductor.domain.clock import Clock
from conductor.domain.errors import Conflict, InvalidInput, NotFound, Overloaded, StorageError

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
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


class Batches:
    """The batches of this installation. Await `recover` once, then keep `run` running as a task of the owner."""

    def __init__(
        self,
        folder: DocumentFolder,
        files: ServingFiles,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        bounds: BatchBounds | None = None,
    ) -> None:
        self._folder = folder
        self._files = files
        self._clock = clock
        self._new_id = new_id
        self._bounds = bounds or BatchBounds()
        self._lines = BatchLines(files.folder, most_lines=self._bounds.lines)
        self._batches: dict[str, Batch] = {}
        self._perform: Perform | None = None
        self._wake = asyncio.Event()
        self._working: tuple[str, asyncio.Task[None]] | None = None
        self._keeping = asyncio.Lock()

    async def recover(self) -> None:
        """Find the batches of earlier runs; those that were not finished go on."""
        found = await asyncio.to_thread(self._folder.all_as, Batch)
        self._batches = {batch.batch_id: batch for batch in sorted(found, key=lambda batch: batch.created_at)}
        self._wake.set()

    async def writes_to(self) -> frozenset[str]:
        """Ids of the files that belong to batches, to those too that another version wrote and this one cannot read."""
        documents = await asyncio.to_thread(self._folder.documents)
        names = ("output_file_id", "error_file_id")
        return frozenset(str(each.get(name)) for each in documents.values() if isinstance(each, dict) for name in names)

    def answer_with(self, perform: Perform) -> None:
        """Say how a request is answered; until then batches wait."""
        self._perform = perform
        self._wake.set()

    async def create(self, *, input_file_id: str, endpoint: str, metadata: dict[str, str]) -> Batch:
        """Take a batch in; its lines are checked and answered later.

        Raises:
            NotFound: there is no such file.
            InvalidInput: the file is for something else, or the endpoint takes no batches.
            Overloaded, Conflict: too many wait, or are kept.
        """
        if endpoint not in ENDPOINTS:
            raise InvalidInput(
                f"endpoint is {endpoint[:100]!r}; it must be one of {', '.join(ENDPOINTS)}", field="endpoint"
            )
        file = self._files.get(input_file_id)
        if file.purpose != "batch":
            raise InvalidInput(
                f"{input_file_id} was sent for {file.purpose}; send it for `batch`", field="input_file_id"
            )
        await self._make_room()
        now_unix_s = int(self._clock.now_unix_s())
        batch = Batch(
            batch_id=f"batch_{self._new_id()}",
            endpoint=endpoint,
            input_file_id=input_file_id,
            output_file_id=self._files.reserve(),
            error_file_id=self._files.reserve(),
            metadata=metadata,
            created_at=now_unix_s,
            expires_at=now_unix_s + self._bounds.expires_after_s,
        )
        await self._keep(batch)
        self._batches[batch.batch_id] = batch
        self._wake.set()
        return batch

    def get(self, batch_id: str) -> Batch:
        """One batch.

        Raises:
            NotFound: there is none.
        """
        batch = self._batches.get(batch_id)
        if batch is None:
            raise NotFound(f"there is no batch {batch_id[:100]!r}", field="batch_id")
        return batch

    def newest(self) -> Sequence[Batch]:
        """Batches, newest first."""
        return list(reversed(self._batches.values()))

    async def cancel(self, batch_id: str) -> Batch:
        """Answer no more lines; what was answered becomes its output.

        Raises:
            NotFound: there is none.
            Conflict: it has ended already.
        """
        batch = self.get(batch_id)
        if batch.is_ended:
            raise Conflict(f"{batch_id} is {batch.status} already", field="batch_id")
        if batch.status != "cancelling":
            batch.status, batch.cancelling_at = "cancelling", int(self._clock.now_unix_s())
            told_now = replace(batch)  # it may be over by the time this is written
            if self._working is not None and self._working[0] == batch_id:
                # Before anything is awaited: its work must not give it another status meanwhile.
                self._working[1].cancel()
            self._wake.set()
            await self._keep(batch)
            return told_now
        return batch

    async def run(self) -> None:
        """Work on batches, oldest first, until cancelled; what is unfinished then goes on at the next start."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._perform is not None and (batch := self._next()) is not None:
                await self._attend(batch, self._perform)

    def _next(self) -> Batch | None:
        return next((batch for batch in self._batches.values() if not batch.is_ended), None)

    async def _attend(self, batch: Batch, perform: Perform) -> None:
        """Work on one batch until it has ended or is cancelled. What fails here is the batch's, not the server's."""
        with traced(None), structlog.contextvars.bound_contextvars(batch=batch.batch_id):
            working = asyncio.create_task(self._work(batch, perform), name=batch.batch_id)
        self._working = batch.batch_id, working
        try:
            await asyncio.wait([working])
        finally:
            self._working = None
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        if not working.cancelled() and (failure := working.exception()) is not None:
            await self._fail(batch, _cause(failure))

    async def _fail(self, batch: Batch, cause: BaseException) -> None:
        log.error("batch_failed", batch=batch.batch_id, exc_info=cause)
        is_storage = isinstance(cause, StorageError | OSError)
        batch.errors = [told("storage", str(cause)[:500]) if is_storage else told("internal", _OUR_FAULT)]
        with contextlib.suppress(StorageError, OSError):  # what was answered is the owner's, if it can be had
            await self._publish(batch)
        try:
            await self._end(batch, "failed")
        except StorageError as failure:  # it has ended all the same, and is tried again at the next start
            log.error("batch_not_kept", batch=batch.batch_id, reason=failure.message)  # noqa: TRY400  # all that is known

    async def _work(self, batch: Batch, perform: Perform) -> None:
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

    async def _keep(self, batch: Batch) -> None:
        async with self._keeping:  # the later state must not be overtaken by the earlier one
            await asyncio.to_thread(self._folder.write, batch.batch_id, asdict(batch))

    async def _make_room(self) -> None:
        unfinished = sum(not batch.is_ended for batch in self._batches.values())
        if unfinished >= self._bounds.unfinished:
            raise Overloaded(f"{unfinished} batches wait; try again later", retry_after_s=60.0)
        while len(self._batches) >= self._bounds.batches:
            oldest = next((batch for batch in self._batches.values() if batch.is_ended), None)
            if oldest is None:
                raise Conflict(f"{len(self._batches)} batches are kept already")
            del self._batches[oldest.batch_id]
            await asyncio.to_thread(self._folder.remove, oldest.batch_id)


def _cause(failure: BaseException) -> BaseException:
    """The first thing that went wrong, of several side by side."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
