"""Batches: files of requests that are answered in the background: taken in, looked at, cancelled, one worked on at a time.

They outlive restarts. How a request is answered is handed in (`answer_with`), because its form belongs to a face; what is
done with one batch is `batch_work`'s.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Final

import structlog

from conductor.adapters.document_folder import DocumentFolder
from conductor.app.serving.batch import Batch, BatchBounds
from conductor.app.serving.batch_work import BatchWork, Perform
from conductor.app.serving.files import ServingFiles
from conductor.app.tracing import traced
from conductor.domain.clock import Clock
from conductor.domain.errors import Conflict, InvalidInput, NotFound, Overloaded

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")


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
        self._work = BatchWork(files, clock=clock, new_id=new_id, bounds=self._bounds, keep=self._keep)
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
            working = asyncio.create_task(self._work.go_on(batch, perform), name=batch.batch_id)
        self._working = batch.batch_id, working
        try:
            await asyncio.wait([working])
        finally:
            self._working = None
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        if not working.cancelled() and (failure := working.exception()) is not None:
            await self._work.fail(batch, failure)

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
