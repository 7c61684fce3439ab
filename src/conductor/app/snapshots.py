"""Take a snapshot of the running installation for a reply: bounded queries, the roster, the queue, the ledger's head.

What is done with it is `decisions.converse`; who asks is `app.talk`.
"""

from collections.abc import Callable, Sequence
from typing import Final

from conductor.app.ledger_desk import LedgerDesk
from conductor.app.tasks import Tasks
from conductor.decisions.converse.snapshot import UNDER_WAY, WAITING, ModelNow, NodeNow, Snapshot
from conductor.domain.clock import Clock
from conductor.domain.errors import NotFound
from conductor.domain.task import Task
from conductor.fleet.performance import PerformanceBook
from conductor.fleet.roster import Roster
from conductor.scheduling.dispatch import Dispatcher

#: A reply rests on so many of the latest tasks at most, and on all that is unsettled up to as many again.
_LATEST: Final = 300


class Snapshots:
    """Where snapshots come from.

    Args:
        models: the models that take part now.
        problems: what does not work now, in sentences.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        tasks: Tasks,
        roster: Roster,
        performance: PerformanceBook,
        dispatcher: Dispatcher,
        ledger: LedgerDesk,
        models: Callable[[], Sequence[ModelNow]],
        problems: Callable[[], Sequence[str]],
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._roster = roster
        self._performance = performance
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._models = models
        self._problems = problems

    async def take(self, also: Sequence[str] = ()) -> Snapshot:
        """What is known now; `also` names tasks that are wanted however old they are."""
        latest = list(await self._tasks.list(limit=_LATEST))
        reaches_back = latest[-1].submitted_at_unix_s if len(latest) == _LATEST else 0.0
        found = {task.task_id: task for task in latest}
        if reaches_back:
            found |= {task.task_id: task for task in await self._tasks.list(states=WAITING | UNDER_WAY, limit=_LATEST)}
        for task_id in also:
            if task_id not in found and (named := await self._named(task_id)) is not None:
                found[named.task_id] = named
        tasks = sorted(found.values(), key=lambda task: task.task_id, reverse=True)
        reasons = ((task.task_id, self._tasks.pending_because(task)) for task in tasks if not task.is_settled)
        head = self._ledger.head()
        return Snapshot(
            taken_at_unix_s=self._clock.now_unix_s(),
            nodes=tuple(self._nodes()),
            waiting=self._dispatcher.waiting,
            running=self._dispatcher.running,
            tasks=tuple(tasks),
            reaches_back_to_unix_s=reaches_back,
            pending={task_id: reason.sentence for task_id, reason in reasons if reason is not None},
            problems=tuple(self._problems()),
            ledger_entries=head["size"],
            ledger_pending=head["pending"],
            models=tuple(self._models()),
        )

    async def _named(self, task_id: str) -> Task | None:
        try:
            return await self._tasks.get_exact(task_id)
        except NotFound:
            return None

    def _nodes(self) -> list[NodeNow]:
        present = {member.node_id for member in self._roster.present()}
        return [
            NodeNow(
                node=member.node,
                reading=member.reading,
                is_silent=member.node_id not in present,
                performance=self._performance.score(member.node_id),
                attempts=self._performance.parts(member.node_id).attempts,
            )
            for member in self._roster.members()
        ]
