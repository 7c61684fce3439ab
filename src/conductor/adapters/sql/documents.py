"""Tasks and their parts as the JSON documents that are stored, and back."""

from typing import Any, Final

import orjson
from pydantic import TypeAdapter

from conductor.domain.decision import Decision
from conductor.domain.outcome import Outcome
from conductor.domain.task import Submission, Task, TaskId, TaskState

_submission: Final = TypeAdapter(Submission)
_decision: Final = TypeAdapter(Decision)
_outcome: Final = TypeAdapter(Outcome)


def encode(value: Submission | Decision | Outcome | object) -> str:
    """A domain value, or plain JSON data, as JSON text."""
    return orjson.dumps(value, default=_unordered).decode()


def _unordered(value: object) -> list[Any]:
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def task_of(row: Any) -> Task:
    """Rebuild a task from a row of `schema.tasks`."""
    return Task(
        task_id=TaskId(row.task_id),
        submission=_submission.validate_json(row.submission),
        state=TaskState(row.state),
        submitted_at_unix_s=row.submitted_at_unix_s,
        updated_at_unix_s=row.updated_at_unix_s,
        attempt=row.attempt,
        decision=None if row.decision is None else _decision.validate_json(row.decision),
        outcome=None if row.outcome is None else _outcome.validate_json(row.outcome),
        node_id=row.node_id,
    )
