"""What the doctor says of one thing: what is needed, what was found, whether that will do, and what to do."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """`MISSING` and `WRONG` keep something from working; a `NOTE` is worth knowing and keeps nothing from working."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the doctor's report.

    Args:
        about: what needs it: `installation`, or a model's technical name.
        need: what was looked at.
        found: what is there, for people; empty where nothing is.
        wanted: what would do.
        verdict: whether it does.
        remedy: what to do, or what it means, in words.
        command: what to type for it; empty where nothing can be typed.
        extra: of the package, where it is one that is missing.
    """

    about: str
    need: str
    found: str
    wanted: str
    verdict: Verdict
    remedy: str = ""
    command: str = ""
    extra: str = ""

    @property
    def fails(self) -> bool:
        """Whether something does not work because of it."""
        return self.verdict in (Verdict.WRONG, Verdict.MISSING)

    def as_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self) | {"verdict": self.verdict.value}
