"""The one place where a task changes: advance it, record it, tell the listeners.

Every room that must react to a transition (ledger, learning, live views, metrics) is a listener; none is called by name.
Listeners run at once, before the commit that makes the transition durable, so what they record joins the same commit.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from conductor.domain.clock import Clock
from conductor.domain.decision import Decision
from conductor.domain.event import TaskEvent
from conductor.domain.json import JsonObject
from conductor.domain.outcome import Outcome
from conductor.domain.task import Task, TaskId, TaskState
from conductor.scheduling.ports import Journal

#: More than one group commit ever holds, so that no task is forgotten before the archive knows its end.
_RECENTLY_SETTLED: Final = 4096

TransitionListener = Callable[[Task, TaskEvent], None]


class Transitions:
    """Moves tasks along their road and remembers those that are not settled yet."""

    def __init__(self, *, journal: Journal, clock: Clock, listeners: Iterable[TransitionListener] = ()) -> None:
        self._journal = journal
        self._clock = clock
        self._listeners: dict[TaskState, tuple[TransitionListener, ...]] = dict.fromkeys(TaskState, tuple(listeners))
        self._live: dict[TaskId, Task] = {}
        self._settled: OrderedDict[TaskId, Task] = OrderedDict()

    def listen(self, listener: TransitionListener, states: Iterable[TaskState] = TaskState) -> None:
        """Call `listener` at every transition into one of these states. It must be quick and must not raise."""
        for state in states:
            self._listeners[state] += (listener,)

    def begin(self, task: Task) -> Awaitable[None]:
        """Record a new task in state `submitted`; done when durable."""
        self._live[task.task_id] = task
        return self._tell(task, {})

    def resume(self, task: Task) -> None:
        """Take up a task that an earlier run of the server recorded."""
        self._live[task.task_id] = task

    def move(
        self,
        task: Task,
        state: TaskState,
        *,
        detail: JsonObject | None = None,
        decision: Decision | None = None,
        outcome: Outcome | None = None,
        node_id: str | None = None,
    ) -> tuple[Task, Awaitable[None]]:
        """Advance a task; returns it in its new state, and what is done when that is durable.

        It is advanced from where it stands now: a caller that holds an older copy cannot set it back or settle it twice.

        Raises:
            InvalidTransition: the state cannot follow; nothing was recorded.
        """
        moved = (self.known(task.task_id) or task).advance(
            state, at_unix_s=self._clock.now_unix_s(), decision=decision, outcome=outcome, node_id=node_id
        )
        if moved.is_settled:
            self._live.pop(task.task_id, None)
            self._settled[task.task_id] = moved
            if len(self._settled) > _RECENTLY_SETTLED:
                self._settled.popitem(last=False)
        else:
            self._live[task.task_id] = moved
        return moved, self._tell(moved, detail or {})

    def live(self, task_id: TaskId) -> Task | None:
        """A task that is not settled, as it stands now."""
        return self._live.get(task_id)

    def known(self, task_id: TaskId) -> Task | None:
        """A task as it stands now, if it is not settled or was settled recently; the archive has the others."""
        return self._live.get(task_id) or self._settled.get(task_id)

    def unsettled(self) -> list[Task]:
        """Every task that is not settled."""
        return list(self._live.values())

    def _tell(self, task: Task, detail: JsonObject) -> Awaitable[None]:
        event = TaskEvent(task_id=task.task_id, state=task.state, at_unix_s=task.updated_at_unix_s, detail=detail)
        for listener in self._listeners[task.state]:
            listener(task, event)
        return self._journal.record(task, event)
