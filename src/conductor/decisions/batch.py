"""Decide many descriptions from rows of a file, and read the labelled rows of an evaluation.

Lines in, rows out; opening files is the face's business. A row that cannot be used stops the whole run with its line
number and field, because a silently shorter output is worse than none.

Covered: JSON lines of any length, blank lines (skipped), ids that are numbers, ids used twice (refused).
Not covered: other formats.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from conductor.decisions.analyse import Analysis
from conductor.decisions.evaluate import Judged
from conductor.decisions.form import DEVICES
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.decision import Decision
from conductor.domain.device import DeviceType
from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject
from conductor.domain.task import Submission

#: Rows encoded at once; bounds memory, and lets output begin before all input is read.
_CHUNK: Final = 64
_EXAMPLE: Final = '{"id": "1", "text": "Resize these photos", "accept": ["ISP", "GPU"], "best": "ISP"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One description to decide; `extra` holds the other fields of its line."""

    row_id: str
    text: str
    line: int
    extra: JsonObject


def read_rows(lines: Iterable[str]) -> list[Row]:
    """Parse lines of `{"id", "text", …}`.

    Raises:
        InvalidInput: a line is no JSON object, or its `id` or `text` is missing, empty, too long or used twice; the
            message names line and field.
    """
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(number, line)
        if row.row_id in seen:
            raise _bad(number, "id", f"is {row.row_id!r}, which line {seen[row.row_id]} has already")
        seen[row.row_id] = number
        rows.append(row)
    return rows


def decide_rows(maker: DecisionMaker, rows: Sequence[Row]) -> Iterator[tuple[Row, Analysis, Decision]]:
    """Decide rows in order, with what was read in each; blocking, one batch per 64 rows."""
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        for row, analysis in zip(chunk, maker.prepare([row.text for row in chunk]), strict=True):
            yield row, analysis, maker.conclude(row.row_id, Submission(description=row.text), analysis)


def output_row(row: Row, decision: Decision) -> JsonObject:
    """A decision as one row of `conductor decide --output`."""
    parts = decision.parts
    return {
        "id": row.row_id,
        "device": decision.device,
        "runner_up": decision.runner_up,
        "available_device": decision.available_device,
        "task_kind": decision.task_kind,
        "priority": decision.priority,
        "compute_units": decision.compute_units.value,
        "duration_s": decision.duration_s.value,
        "duration_low_s": decision.duration_s.low,
        "duration_high_s": decision.duration_s.high,
        "confidence": decision.confidence,
        "parts": {
            "similarity": parts.similarity,
            "device_success": parts.device_success,
            "node_availability": parts.node_availability,
            "resource_availability": parts.resource_availability,
        },
        "reasoning": decision.reasoning,
    }


def check_labels(rows: Sequence[Row]) -> None:
    """See that every row has labels to judge by, before any is decided.

    Raises:
        InvalidInput: there are no rows, or `accept` or `best` of one is missing or names no device type; the message
            names line and field.
    """
    if not rows:
        raise InvalidInput(f"there are no rows to judge by; each line is one, for example {_EXAMPLE}", field="rows")
    for row in rows:
        _labels(row)


def judged(row: Row, analysis: Analysis, decision: Decision) -> Judged:
    """A decision, and what its parts would have chosen alone, beside the labels of its row.

    Raises:
        InvalidInput: `accept` or `best` is missing or names no device type; the message names line and field.
    """
    accepted, best = _labels(row)
    return Judged(
        row_id=row.row_id,
        accept=accepted,
        best=best,
        chosen=decision.device,
        probability=dict(decision.device_probabilities)[decision.device],
        confidence=decision.confidence,
        hard=row.extra.get("hard") is True,
        language=str(row.extra.get("lang") or "und"),
        alone=_alone(analysis),
    )


def _labels(row: Row) -> tuple[frozenset[DeviceType], DeviceType]:
    """The `accept` set and `best` of a row."""
    accept = row.extra.get("accept")
    if not isinstance(accept, Sequence) or isinstance(accept, str) or not accept:
        raise _bad(row.line, "accept", f"must be a list of device types, at least one, as in {_EXAMPLE}")
    if "best" not in row.extra:
        raise _bad(row.line, "best", f"is missing; it is the device type that is best, as in {_EXAMPLE}")
    accepted = frozenset(_device(row.line, "accept", name) for name in accept)
    return accepted, _device(row.line, "best", row.extra["best"])


def _alone(analysis: Analysis) -> tuple[tuple[str, DeviceType, float], ...]:
    parts = {"embedding": dict(zip(DEVICES, analysis.encoder_probabilities.tolist(), strict=True))}
    if analysis.proposal is not None:
        parts["language model"] = dict(analysis.proposal.device_probabilities)
    favourites = {name: max(shares, key=lambda device: shares[device]) for name, shares in parts.items()}
    return tuple((name, device, parts[name][device]) for name, device in favourites.items())


def _row(number: int, line: str) -> Row:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError) as wrong:
        raise InvalidInput(f"line {number} is no JSON: {wrong}", field=f"line {number}") from wrong
    if not isinstance(parsed, Mapping):
        raise InvalidInput(f"line {number} is {type(parsed).__name__}, not a JSON object", field=f"line {number}")
    row_id, text = parsed.get("id"), parsed.get("text")
    if isinstance(row_id, bool) or not isinstance(row_id, str | int) or row_id == "":
        raise _bad(number, "id", "must be a string or a whole number")
    if not isinstance(text, str):
        raise _bad(number, "text", "must be a string")
    try:
        Submission(description=text)
    except InvalidInput as wrong:
        raise _bad(number, "text", f"cannot be used: {wrong.message}") from wrong
    extra = {name: value for name, value in parsed.items() if name not in ("id", "text")}
    return Row(row_id=str(row_id), text=text, line=number, extra=extra)


def _device(number: int, field: str, name: object) -> DeviceType:
    try:
        return DeviceType(str(name))
    except ValueError:
        close = get_close_matches(str(name).upper(), list(DeviceType), n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise _bad(number, field, f"names {name!r}; device types are {', '.join(DeviceType)}{meant}") from None


def _bad(number: int, field: str, what: str) -> InvalidInput:
    return InvalidInput(f"line {number}: {field} {what}", field=f"line {number}.{field}")
