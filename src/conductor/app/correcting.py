"""The use cases about corrections: a person says what would have been right for a task, or takes it back.

A correction changes nothing by itself; `app.tuning` learns from all of them. Each word is stored and goes on the ledger.
"""

from conductor.adapters.sql.committer import GroupCommitter
from conductor.adapters.sql.corrections import SqlCorrections
from conductor.app.ledgering import LedgerKeeper
from conductor.app.tasks import Tasks
from conductor.domain.clock import Clock
from conductor.domain.correction import Correction
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import NotFound
from conductor.domain.json import JsonObject
from conductor.domain.task import LOCAL_USER, Level, TaskId


class Correcting:
    """Takes corrections; they are durable when a method returns."""

    def __init__(
        self, *, tasks: Tasks, store: SqlCorrections, keeper: LedgerKeeper, committer: GroupCommitter, clock: Clock
    ) -> None:
        self._tasks = tasks
        self._store = store
        self._keeper = keeper
        self._committer = committer
        self._clock = clock

    async def correct(
        self,
        task_id: TaskId,
        *,
        device: DeviceType,
        task_kind: TaskKind | None = None,
        priority: int | None = None,
        by: str = LOCAL_USER,
    ) -> Correction:
        """Take down what would have been right for a task; it replaces what was said before.

        Raises:
            NotFound: there is no such task.
            InvalidInput: the priority is not 1–5.
        """
        task = await self._tasks.get(task_id)
        if priority is not None:
            Level.of_priority(priority)
        correction = Correction(
            task_id=task.task_id,
            description=task.submission.description,
            device=device,
            task_kind=task_kind,
            priority=priority,
            by=by,
            at_unix_s=self._clock.now_unix_s(),
        )
        self._store.put(correction)
        kind = None if task_kind is None else task_kind.value
        await self._record(task.task_id, {"device": device.value, "task_kind": kind, "priority": priority, "by": by})
        return correction

    async def withdraw(self, task_id: TaskId, *, by: str = LOCAL_USER) -> Correction:
        """Take back what was said about a task; returns what that was.

        Raises:
            NotFound: there is no such task, or nothing was said about it.
        """
        correction = await self.of_task(task_id)
        self._store.withdraw(correction.task_id, by=by, at_unix_s=self._clock.now_unix_s())
        await self._record(correction.task_id, {"withdrawn": True, "by": by})
        return correction

    async def of_task(self, task_id: TaskId) -> Correction:
        """What counts about a task.

        Raises:
            NotFound: there is no such task, or nothing was said about it.
        """
        task = await self._tasks.get(task_id)
        correction = await self._store.of_task(task.task_id)
        if correction is None:
            raise NotFound(f"nobody corrected task {task.task_id}", field="task_id")
        return correction

    async def _record(self, task_id: str, said: JsonObject) -> None:
        self._keeper.record("correction", task_id, said)
        await self._committer.wait_durable("the correction")
