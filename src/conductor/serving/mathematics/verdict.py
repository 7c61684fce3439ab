"""What a check of an answer comes to."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a check came to."""

    VERIFIED = "verified"
    CONTRADICTED = "contradicted"
    NOT_CHECKABLE = "not_checkable"


@dataclass(frozen=True, slots=True)
class Check:
    """A verdict and why."""

    verdict: Verdict
    reason: str


def verified(reason: str) -> Check:
    """It was shown to be right."""
    return Check(Verdict.VERIFIED, reason)


def contradicted(reason: str) -> Check:
    """It is clearly wrong."""
    return Check(Verdict.CONTRADICTED, reason)


def not_checkable(reason: str) -> Check:
    """Neither could be shown."""
    return Check(Verdict.NOT_CHECKABLE, reason)
