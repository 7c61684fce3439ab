"""Events: each transition of a task, and each piece of its output, as something that listeners hear."""

from dataclasses import dataclass, field

from conductor.domain.json import JsonObject
from conductor.domain.task import TaskId, TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """A task entered a state. `detail` holds what that step added: node, attempt, reason, retry delay."""

    task_id: TaskId
    state: TaskState
    at_unix_s: float
    detail: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutput:
    """A piece of what a running task printed; `stream` is `stdout` or `stderr`."""

    task_id: TaskId
    stream: str
    text: str
