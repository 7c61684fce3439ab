"""Tasks and their parts as the JSON documents that are stored, and back.

Encoding never fails, because one refused document would stop the whole store: what JSON cannot hold (a broken
character in a program's output, a number of a thousand digits, data nested without end) is written in the nearest form.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import orjson
from pydantic import TypeAdapter

from conductor.domain.decision import Decision
from conductor.domain.outcome import Outcome
from conductor.domain.plain_data import DEEPEST
from conductor.domain.task import Submission, Task, TaskId, TaskState

_submission: Final = TypeAdapter(Submission)
_decision: Final = TypeAdapter(Decision)
_outcome: Final = TypeAdapter(Outcome)


def encode(value: Submission | Decision | Outcome | object) -> str:
    """A domain value, or plain JSON data, as JSON text."""
    if isinstance(value, Outcome) and not _is_within(DEEPEST, value.result):
        return orjson.dumps(_nearest(value, DEEPEST)).decode()  # could be written, but not read again
    try:
        return orjson.dumps(value, default=_unordered).decode()
    except TypeError:
        return orjson.dumps(_nearest(value, DEEPEST)).decode()


def _is_within(depth: int, value: object) -> bool:
    if isinstance(value, Mapping):
        return depth > 0 and all(_is_within(depth - 1, part) for part in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return depth > 0 and all(_is_within(depth - 1, part) for part in value)
    return True


def _unordered(value: object) -> object:
    if isinstance(value, AbstractSet):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _nearest(value: Any, depth: int) -> object:
    """What JSON can hold of a value, for an encoder that itself takes integers of 64 bits only."""
    if depth == 0:
        return "…"
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else _long_integer(value)
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(_nearest(str(name), depth)): _nearest(part, depth - 1) for name, part in value.items()}
    if isinstance(value, AbstractSet):
        value = sorted(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_nearest(part, depth - 1) for part in value]
    return str(_nearest(repr(value), depth))


def _long_integer(value: int) -> object:
    try:
        return orjson.Fragment(str(value))
    except ValueError:
        return hex(value)  # Python refuses to write, and every parser to read, thousands of decimal digits


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
