"""Count what was made ready before it was asked for, and what came of it."""

from dataclasses import dataclass
from enum import StrEnum

from conductor.domain.json import JsonObject


class Kind(StrEnum):
    """What is made ready."""

    FILES = "files"
    BEGINNINGS = "beginnings"
    MODELS = "models"


@dataclass(slots=True)
class Tally:
    """What came of one kind.

    Args:
        fetched: how often something was made ready.
        used: of these, asked for afterwards.
        wasted: given up without having been asked for; the rest may still be.
        bytes: that were read; of files only.
    """

    fetched: int = 0
    used: int = 0
    wasted: int = 0
    bytes: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Used, of those whose time is over; None where there are none."""
        over = self.used + self.wasted
        return self.used / over if over else None

    def over(self, *, used: bool) -> None:
        """The time of one of them is over."""
        if used:
            self.used += 1
        else:
            self.wasted += 1

    def as_json(self) -> JsonObject:
        """Plain data."""
        rate = self.hit_rate
        return {
            "fetched": self.fetched,
            "used": self.used,
            "wasted": self.wasted,
            "hit_rate": None if rate is None else round(rate, 4),
            "bytes": self.bytes,
        }
