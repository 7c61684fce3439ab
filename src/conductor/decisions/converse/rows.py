"""Read what was said from the lines of a file, `{"id", "text"}` each: what can be used, and what is wrong with the rest.

One bad line does not cost the others: it is named by line and field with what would be right, and the caller decides
what to do about it. Any string is a text, the empty one too: whatever somebody said has an intent.

Covered: blank lines (skipped), ids that are whole numbers, a byte order mark. Not covered: other formats.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from conductor.domain.errors import InvalidInput

_REMEDY = 'write one object a line, such as {"id": "a1", "text": "Which nodes are there?"}'


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something said, under the id of its row."""

    row_id: str
    text: str


def read_utterances(lines: Iterable[str]) -> tuple[list[Utterance], list[InvalidInput]]:
    """Parse lines: the rows that can be used, in order, and the faults of the others, in order.

    A fault's `field` is `line 3`, or `line 3.text` where one field is at fault.
    """
    rows: list[Utterance] = []
    faults: list[InvalidInput] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        line = line.removeprefix("\ufeff").strip()
        if not line:
            continue
        try:
            row = _row(number, line)
            if row.row_id in seen:
                raise _bad(number, "id", f"is {row.row_id!r}, which line {seen[row.row_id]} has already; use each once")
        except InvalidInput as fault:
            faults.append(fault)
            continue
        seen[row.row_id] = number
        rows.append(row)
    return rows, faults


def _row(number: int, line: str) -> Utterance:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError) as wrong:
        raise InvalidInput(f"line {number} is no JSON ({wrong}); {_REMEDY}", field=f"line {number}") from wrong
    if not isinstance(parsed, dict):
        raise InvalidInput(f"line {number} is no JSON object; {_REMEDY}", field=f"line {number}")
    row_id, text = parsed.get("id"), parsed.get("text")
    if isinstance(row_id, bool) or not isinstance(row_id, str | int) or row_id == "":
        raise _bad(number, "id", f"{_found(parsed, 'id')}; it must be a string or a whole number, used once")
    if not str(row_id).isascii() and not _is_text(str(row_id)):
        raise _bad(number, "id", "holds half a character (a lone surrogate); write it whole")
    if not isinstance(text, str):
        raise _bad(number, "text", f"{_found(parsed, 'text')}; it must be a string")
    return Utterance(str(row_id), text)


def _is_text(value: str) -> bool:
    return not any("\ud800" <= ch <= "\udfff" for ch in value)


def _found(row: dict[str, object], field: str) -> str:
    return f"is {json.dumps(row[field])[:40]}" if field in row else "is missing"


def _bad(number: int, field: str, what: str) -> InvalidInput:
    return InvalidInput(f"line {number}: {field} {what}", field=f"line {number}.{field}")
