"""Batches: a file of requests is answered line by line, in the background, and the answers become a file.

A batch outlives restarts: what was answered stands in its output file, a line each, and is not asked again. Lines that
fail go to an error file, each with its own error; no line ends a batch. One batch is worked on at a time, a few of its lines
side by side, so that interactive calls find room.
How a request is answered is handed in (`answer_with`), because its form belongs to a face.

Not covered: a line that was being answered when the server was killed is answered again.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson
import structlog

from conductor.adapters.document_folder import DocumentFolder
from conductor.app.serving.files import ServingFiles
from conductor.domain.clock import Clock
from conductor.domain.errors import Conflict, InvalidInput, NotFound, Overloaded, StorageError

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
_MOST_ERRORS_TOLD: Final = 50
_MOST_TRIES: Final = 5
_AGAIN: Final = frozenset({429, 503})
_ENDED: Final = frozenset({"failed", "completed", "expired", "cancelled"})

#: Answers one request: the path and the body in, the status and the answer out.
Perform = Callable[[str, dict[str, Any]], Awaitable[tuple[int, dict[str, Any]]]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBounds:
    """How much is taken.

    Args:
        at_once: lines that are answered side by side.
        retry_s: before the second try of a line that was refused for want of room; doubles.
    """

    batches: int = 1_000
    unfinished: int = 100
    lines: int = 50_000
    at_once: int = 4
    expires_after_s: int = 86_400
    retry_s: float = 1.0


@dataclass(slots=True, kw_only=True)
class Batch:
    """A batch; times are Unix seconds, None until they come."""

    batch_id: str
    endpoint: str
    input_file_id: str
    output_file_id: str
    error_file_id: str
    metadata: dict[str, str]
    created_at: int
    expires_at: int
    completion_window: str = "24h"
    status: str = "validating"
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    #: Which of the two files hold anything; known at the end.
    has_output: bool = False
    has_errors: bool = False

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in _ENDED


@dataclass(frozen=True, slots=True)
class _Line:
    custom_id: str
    body: dict[str, Any]


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
        self._batches: dict[str, Batch] = {}
        self._perform: Perform | None = None
        self._wake = asyncio.Event()
        self._working: tuple[str, asyncio.Task[None]] | None = None

    async def recover(self) -> None:
        """Find the batches of earlier runs; those that were not finished go on."""
        documents = await asyncio.to_thread(self._folder.documents)
        found = [Batch(**document) for document in documents.values()]
        self._batches = {batch.batch_id: batch for batch in sorted(found, key=lambda batch: batch.created_at)}
        self._wake.set()

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
            await self._keep(batch)
            if self._working is not None and self._working[0] == batch_id:
                self._working[1].cancel()
            self._wake.set()
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
        """One batch to its end. What fails here is the batch's, not the server's."""
        working = asyncio.create_task(self._work(batch, perform), name=batch.batch_id)
        self._working = batch.batch_id, working
        try:
            await asyncio.wait([working])
        finally:
            self._working = None
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        failure = None if working.cancelled() else working.exception()
        if isinstance(failure, StorageError | OSError | ExceptionGroup):
            log.error("batch_failed", batch=batch.batch_id, reason=str(failure))
            batch.errors = [_told("storage", str(failure)[:500])]
            await self._end(batch, "failed")
        elif failure is not None:
            raise failure
        elif batch.status == "cancelling":
            await asyncio.to_thread(self._answered, batch)
            await self._publish(batch)
            await self._end(batch, "cancelled")

    async def _work(self, batch: Batch, perform: Perform) -> None:
        if batch.status == "cancelling":
            return
        if batch.status == "validating":
            batch.errors = await asyncio.to_thread(self._faults, batch)
            if batch.errors:
                await self._end(batch, "failed")
                return
            batch.status, batch.in_progress_at = "in_progress", int(self._clock.now_unix_s())
            await self._keep(batch)
        answered = await asyncio.to_thread(self._answered, batch)
        in_time = await self._answer_all(batch, answered, perform)
        batch.status, batch.finalizing_at = "finalizing", int(self._clock.now_unix_s())
        await self._publish(batch)
        await self._end(batch, "completed" if in_time else "expired")

    async def _answer_all(self, batch: Batch, answered: frozenset[str], perform: Perform) -> bool:
        """Answer what is not answered yet; whether that was done in time."""
        lines = self._requests(batch)
        in_time = True

        async def work() -> None:
            nonlocal in_time
            while (line := await asyncio.to_thread(next, lines_left, None)) is not None:
                if self._clock.now_unix_s() >= batch.expires_at:
                    in_time = False
                    await self._note_expiry(batch, line)
                else:
                    await self._answer(batch, line, perform)

        lines_left = _Locked(line for line in lines if line.custom_id not in answered)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._bounds.at_once):
                group.create_task(work())
        return in_time

    async def _answer(self, batch: Batch, line: _Line, perform: Perform) -> None:
        for attempt in range(_MOST_TRIES):
            status, document = await perform(batch.endpoint, line.body)
            if status not in _AGAIN or attempt == _MOST_TRIES - 1:
                break
            await asyncio.sleep(self._bounds.retry_s * 2**attempt)
        request_id = self._new_id()
        response = {"status_code": status, "request_id": request_id, "body": document}
        entry = {"id": f"batch_req_{request_id}", "custom_id": line.custom_id, "response": response, "error": None}
        is_good = status < 400
        await self._files.append(batch.output_file_id if is_good else batch.error_file_id, orjson.dumps(entry) + b"\n")
        if is_good:
            batch.completed += 1
        else:
            batch.failed += 1

    async def _note_expiry(self, batch: Batch, line: _Line) -> None:
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

    # Reading the files; blocking.

    def _faults(self, batch: Batch) -> list[dict[str, Any]]:
        """What is wrong with the lines; counts them."""
        faults: list[dict[str, Any]] = []
        seen: set[str] = set()
        batch.total = 0
        for number, raw in enumerate(self._files.folder.lines(batch.input_file_id), start=1):
            if not raw.strip():
                continue
            batch.total += 1
            if batch.total > self._bounds.lines:
                return [_told("too_many_lines", f"a batch may have {self._bounds.lines:,} lines here; split it")]
            try:
                _note_id(_read(raw, batch.endpoint).custom_id, seen)
            except InvalidInput as fault:
                faults.append(_told("invalid_line", fault.message, line=number, param=fault.field))
                if len(faults) >= _MOST_ERRORS_TOLD:
                    break
        return faults or ([] if batch.total else [_told("empty_file", "the file has no line")])

    def _requests(self, batch: Batch) -> Iterator[_Line]:
        for raw in self._files.folder.lines(batch.input_file_id):
            if raw.strip():
                yield _read(raw, batch.endpoint)

    def _answered(self, batch: Batch) -> frozenset[str]:
        """Lines that an earlier run answered; counts them."""
        folder, found = self._files.folder, []
        for file_id in (batch.output_file_id, batch.error_file_id):
            folder.drop_torn_line(file_id)
            found.append([str(orjson.loads(raw)["custom_id"]) for raw in folder.lines(file_id)])
        batch.completed, batch.failed = len(found[0]), len(found[1])
        return frozenset(found[0] + found[1])


class _Locked:
    """One iterator for several threads."""

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._lines = lines
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[_Line]:
        return self

    def __next__(self) -> _Line:
        with self._lock:
            return next(self._lines)


def _read(raw: bytes, endpoint: str) -> _Line:
    """One line of an input file.

    Raises:
        InvalidInput: it is no request for the endpoint.
    """
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError as broken:
        raise InvalidInput(f"the line is no JSON: {broken}"[:300]) from None
    if not isinstance(line, dict):
        raise InvalidInput("the line is no JSON object")
    custom_id, body = line.get("custom_id"), line.get("body")
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= 512:
        raise InvalidInput("custom_id must be text of 1 to 512 characters", field="custom_id")
    if line.get("method") != "POST":
        raise InvalidInput("method must be POST", field="method")
    if line.get("url") != endpoint:
        raise InvalidInput(f"url must be {endpoint}, as the batch's endpoint", field="url")
    if not isinstance(body, dict):
        raise InvalidInput("body must be an object", field="body")
    if body.get("stream"):
        raise InvalidInput("a batch cannot stream; leave stream out", field="body.stream")
    return _Line(custom_id, body)


def _note_id(custom_id: str, seen: set[str]) -> None:
    if custom_id in seen:
        raise InvalidInput(f"the custom_id {custom_id[:100]!r} was used before", field="custom_id")
    seen.add(custom_id)


def _told(code: str, message: str, *, line: int | None = None, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": param}
