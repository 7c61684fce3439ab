"""The use cases about the record: head, entries, receipts, proofs, verification. Work on the file runs in threads."""

import asyncio
from typing import Any

from conductor.adapters.sql.records import SqlOutbox
from conductor.app.ledgering import LedgerKeeper
from conductor.domain.errors import NotFound
from conductor.domain.json import JsonObject
from conductor.domain.task import Task


class LedgerDesk:
    """Answers questions about the ledger of this installation."""

    def __init__(self, keeper: LedgerKeeper, outbox: SqlOutbox) -> None:
        self._keeper = keeper
        self._ledger = keeper.ledger
        self._outbox = outbox

    @property
    def trouble(self) -> str | None:
        """Why entries cannot be sealed at present; None if all is well. They are safe in the database meanwhile."""
        return self._keeper.trouble

    def head(self) -> dict[str, Any]:
        """The signed head; `size` 0 before the first block."""
        head = self._ledger.head
        return {
            "public_key": self._ledger.public_key,
            "pending": self._ledger.pending,
            "size": 0 if head is None else head.header.size,
            "root": None if head is None else head.header.root,
            "head": None if head is None else head.as_json(),
        }

    async def entries(self, start: int | None, limit: int) -> list[JsonObject]:
        """Sealed entries from `start` on, the latest ones by default.

        Raises:
            NotFound: the ledger is not that long.
        """
        size = self._ledger.size
        first = max(0, size - limit) if start is None else start
        if start is not None and start >= size:
            raise NotFound(f"there is no sealed entry {start}; the ledger has {size} of them", field="start")
        found = await asyncio.to_thread(self._ledger.entries, first, first + limit)
        return [entry.as_json() for entry in found]

    async def receipt(self, index: int) -> JsonObject:
        """A receipt for one entry; waits for the block that seals it.

        Raises:
            NotFound: there is no such entry.
        """
        if index >= self._ledger.next_index:
            raise NotFound(f"there is no entry {index}; the ledger has {self._ledger.next_index}", field="index")
        await self._keeper.sealed(index)
        return await asyncio.to_thread(self._ledger.receipt, index)

    async def receipt_of_task(self, task: Task, kind: str) -> JsonObject:
        """A receipt for the decision or the outcome of a task.

        Raises:
            NotFound: the task has no such entry yet.
        """
        await self._keeper.recorded()
        found = await self._outbox.entries_about(task.task_id)
        if kind not in found:
            raise NotFound(f"the ledger has no {kind} of task {task.task_id}: it is {task.state}", field="kind")
        return await self.receipt(found[kind])

    async def consistency(self, old_size: int, new_size: int | None) -> JsonObject:
        """A proof that the ledger of `new_size` entries (by default all sealed ones) continues that of `old_size`."""
        return await asyncio.to_thread(self._ledger.consistency, old_size, new_size)

    async def verify(self) -> JsonObject:
        """Check every byte of the ledger file."""
        return (await asyncio.to_thread(self._ledger.verify)).as_json()
