"""Texts of general work, written for this purpose, that a tuned version must still get right.

A quarter of them takes part in the fit, with what the models say untuned as their target, so that learning about one
installation's words does not pull the rest along; the others judge.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conductor.domain.device import DeviceType

_FILE: Final = Path(__file__).parent / "guard.json"
_REHEARSED: Final = 4


@dataclass(frozen=True, slots=True)
class GuardText:
    """A description and the device types that are right for it."""

    text: str
    accept: frozenset[DeviceType]


@dataclass(frozen=True, slots=True)
class Guard:
    """Texts that are rehearsed, and texts that judge."""

    rehearsed: tuple[GuardText, ...]
    judging: tuple[GuardText, ...]


def read_guard(path: Path = _FILE) -> Guard:
    """The shipped texts."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    texts = [GuardText(row["text"], frozenset(map(DeviceType, row["accept"]))) for row in rows]
    judging = tuple(text for place, text in enumerate(texts) if place % _REHEARSED)
    return Guard(tuple(texts[::_REHEARSED]), judging)
