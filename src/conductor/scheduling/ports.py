"""What scheduling needs from the outside: something that runs work, and somewhere transitions become durable."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from conductor.domain.event import TaskEvent, TaskOutput
from conductor.domain.json import JsonObject
from conductor.domain.outcome import Outcome
from conductor.domain.task import Task, TaskId, TaskState, UserId
from conductor.domain.workload import WorkProfile

OutputListener = Callable[[TaskOutput], None]


class WorkloadKind(Protocol):
    """One kind of work. New kinds register a class under the entry point group `conductor.workloads`."""

    name: str
    #: Whether it runs code of the submitter's choice; such kinds are refused where calls need no key.
    executes_code: bool

    def check(self, spec: JsonObject) -> JsonObject:
        """Validate and complete a specification.

        Raises:
            InvalidInput: names the field at fault and the remedy (unknown field, missing executable or callable).
        """
        ...

    def profile(self, spec: JsonObject) -> WorkProfile:
        """What the estimator may know beforehand; cheap, and never raises on a checked specification."""
        ...

    def inline(self, task: Task) -> Outcome | None:
        """Run at once in this process when the kind is trivial and trusted; None when it must be run by `run`."""
        ...

    async def run(self, task: Task, emit: OutputListener) -> Outcome:
        """Run one attempt to its end; cancelling the call ends every process of the attempt."""
        ...


class Executor(Protocol):
    """Runs tasks of any workload kind."""

    def check(self, kind: str, spec: JsonObject) -> JsonObject:
        """Validate a workload's specification; see `WorkloadKind.check`."""
        ...

    def profile(self, kind: str, spec: JsonObject) -> WorkProfile:
        """See `WorkloadKind.profile`."""
        ...

    def is_inline(self, task: Task) -> bool:
        """Whether `inline` will return an outcome for this task."""
        ...

    def is_inline_kind(self, kind: str) -> bool:
        """Whether tasks of this kind run inline, and so are checked without looking at files."""
        ...

    def inline(self, task: Task) -> Outcome | None:
        """See `WorkloadKind.inline`."""
        ...

    async def run(self, task: Task, emit: OutputListener) -> Outcome:
        """See `WorkloadKind.run`."""
        ...


class Journal(Protocol):
    """Where every transition is recorded. Records keep their order; a commit covers all records before it."""

    def record(self, task: Task, event: TaskEvent) -> Awaitable[None]:
        """Queue one transition; the awaitable is done when it is durable, and raises `StorageError` if it cannot be."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks to list; None means any. `before` is a task id: only older tasks are listed."""

    states: frozenset[TaskState] | None = None
    user_id: UserId | None = None
    text: str | None = None
    before: TaskId | None = None
    limit: int = 50


class TaskArchive(Protocol):
    """Every task there ever was. Durable records only: what is still being committed is not seen."""

    async def get(self, task_id: TaskId) -> Task:
        """One task.

        Raises:
            NotFound: there is none with this id.
        """
        ...

    async def list(self, wanted: TaskFilter) -> Sequence[Task]:
        """Tasks, newest first."""
        ...

    async def unsettled(self) -> Sequence[Task]:
        """Tasks that have work left to do, oldest first; what a restart takes up again."""
        ...

    async def events(self, task_id: TaskId) -> Sequence[TaskEvent]:
        """All transitions of one task, oldest first."""
        ...

    async def with_key(self, user_id: UserId, idempotency_key: str) -> TaskId | None:
        """The task that a user submitted under an idempotency key."""
        ...

    async def counts(self) -> dict[TaskState, int]:
        """How many tasks stand in each state."""
        ...
