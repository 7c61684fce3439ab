"""The use cases about corrections: a person says what would have been right for a task, or takes it back.

A corrected priority counts at once for the same and very similar work. Device and kind change nothing by themselves;
`app.tuning` learns from all of them. Each word is stored and goes on the ledger.
"""

import asyncio
from dataclasses import replace

from conductor.adapters.sql.committer import GroupCommitter
from conductor.adapters.sql.corrections import SqlCorrections
from conductor.app.ledgering import LedgerKeeper
from conductor.app.tasks import Tasks
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.clock import Clock
from conductor.domain.correction import Correction
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.json import JsonObject
from conductor.domain.task import LOCAL_USER, Level, TaskId


class Correcting:
    """Takes corrections; they are durable when a method returns."""

    def __init__(
        self,
        *,
        tasks: Tasks,
        maker: DecisionMaker,
        store: SqlCorrections,
        keeper: LedgerKeeper,
        committer: GroupCommitter,
        clock: Clock,
    ) -> None:
        self._tasks = tasks
        self._maker = maker
        self._store = store
        self._keeper = keeper
        self._committer = committer
        self._clock = clock
        #: What is said now completes what was said before, so nobody may speak in between.
        self._one_at_a_time = asyncio.Lock()

    async def correct(
        self,
        task_id: TaskId,
        *,
        device: DeviceType | None = None,
        task_kind: TaskKind | None = None,
        priority: int | None = None,
        by: str = LOCAL_USER,
    ) -> Correction:
        """Take down what would have been right for a task; of what was said before, the parts not named now stay.

        Returns:
            All that counts about the task from now on.

        Raises:
            NotFound: there is no such task.
            InvalidInput: nothing is said, or the priority is not 1–5.
        """
        if device is None and task_kind is None and priority is None:
            raise InvalidInput(
                "nothing is corrected; say what would have been right: device, task_kind or priority, at least one",
                field="device",
            )
        if priority is not None:
            Level.of_priority(priority)
        task = await self._tasks.get(task_id)
        said = Correction(
            task_id=task.task_id,
            description=task.submission.description,
            device=device,
            task_kind=task_kind,
            priority=priority,
            by=by,
            at_unix_s=self._clock.now_unix_s(),
        )
        async with self._one_at_a_time:
            correction = _completed(said, await self._store.of_task(task.task_id))
            self._store.put(correction)
            await self._record(task.task_id, _as_entry(correction))
            self._maker.prioritise(task.task_id, correction.description, correction.priority)
        return correction

    async def withdraw(self, task_id: TaskId, *, by: str = LOCAL_USER) -> Correction:
        """Take back what was said about a task; returns what that was.

        Raises:
            NotFound: there is no such task, or nothing was said about it.
        """
        async with self._one_at_a_time:
            correction = await self.of_task(task_id)
            self._store.withdraw(correction.task_id, by=by, at_unix_s=self._clock.now_unix_s())
            await self._record(correction.task_id, {"withdrawn": True, "by": by})
            self._maker.prioritise(correction.task_id, correction.description, None)
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


def _completed(said: Correction, before: Correction | None) -> Correction:
    if before is None:
        return said
    return replace(
        said,
        device=said.device or before.device,
        task_kind=said.task_kind or before.task_kind,
        priority=said.priority or before.priority,
    )


def _as_entry(correction: Correction) -> JsonObject:
    return {
        "device": None if correction.device is None else correction.device.value,
        "task_kind": None if correction.task_kind is None else correction.task_kind.value,
        "priority": correction.priority,
        "by": correction.by,
    }
