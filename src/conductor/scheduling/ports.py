"""What scheduling needs from the outside: something that runs work, and somewhere transitions become durable."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from conductor.domain.event import TaskEvent, TaskOutput
from conductor.domain.json import JsonObject
from conductor.domain.outcome import Outcome
from conductor.domain.task import Task
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
