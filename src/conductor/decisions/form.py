"""The form a language model fills in about a task: its fields, in order, and the answers each field allows.

Every field is a choice among a few answers, so whatever model fills it in under this form gives a valid result, and each
answer has a probability. Quantities are chosen on a logarithmic scale, which is as fine as a guess from words can be.
How a form is filled in token by token is `constrained`; our own model has one token per answer.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.json import JsonObject

DEVICES: Final = tuple(DeviceType)
KINDS: Final = tuple(TaskKind)
PRIORITIES: Final = (1, 2, 3, 4, 5)
#: Compute units, doubling.
UNITS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
#: Durations in seconds with the words for them, about a factor of three apart.
DURATIONS: Final = (
    (1.0, "1 second"),
    (3.0, "3 seconds"),
    (10.0, "10 seconds"),
    (30.0, "30 seconds"),
    (100.0, "2 minutes"),
    (300.0, "5 minutes"),
    (1_000.0, "15 minutes"),
    (3_600.0, "1 hour"),
    (10_000.0, "3 hours"),
    (36_000.0, "10 hours"),
    (86_400.0, "1 day"),
    (604_800.0, "1 week"),
)

#: The fields in the order they are filled in, with their answers; the last field, `reason`, is a sentence.
ANSWERS: Final[Mapping[str, tuple[str | int | float, ...]]] = MappingProxyType(
    {
        "device": tuple(device.value for device in DEVICES),
        "task_kind": tuple(kind.value for kind in KINDS),
        "priority": PRIORITIES,
        "compute_units": UNITS,
        "duration": tuple(words for _, words in DURATIONS),
    }
)
LONGEST_REASON: Final = 300


def schema() -> JsonObject:
    """The form as JSON Schema (draft 2020-12, the part that every endpoint understands)."""
    kinds = {str: "string", int: "integer", float: "number"}
    fields: dict[str, JsonObject] = {
        name: {"type": kinds[type(answers[0])], "enum": answers} for name, answers in ANSWERS.items()
    }
    fields["reason"] = {"type": "string", "maxLength": LONGEST_REASON}
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def nearest_units(value: float) -> int:
    """Index into `UNITS` of the answer nearest to a quantity on the logarithmic scale."""
    return _nearest(value, UNITS)


def nearest_duration(seconds: float) -> int:
    """Index into `DURATIONS` of the answer nearest to a duration on the logarithmic scale."""
    return _nearest(seconds, tuple(answer for answer, _ in DURATIONS))


def _nearest(value: float, answers: tuple[float, ...]) -> int:
    wanted = math.log(max(value, 1e-3))
    return min(range(len(answers)), key=lambda index: abs(math.log(answers[index]) - wanted))
