"""What can be said at one instant of the language model that was chosen, and of the one that takes part in decisions."""

from dataclasses import dataclass
from enum import StrEnum


class MindState(StrEnum):
    """How the language model that the settings name fares."""

    OFF = "off"
    LOADING = "loading"
    READY = "ready"
    FAILS = "fails"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class MindNow:
    """The language model that was chosen, and the one that takes part.

    Args:
        configured: `mind.model` as set now; `in_effect`: as it was when the server started.
        running: name of the model that takes part in decisions; empty if none does.
        sha256: of its weights in lowercase hex; empty where nobody can check them (behind an endpoint), or none runs.
        why: what keeps the configured model away; empty if nothing does.
        remedy: what to do about it.
    """

    configured: str
    in_effect: str
    state: str
    running: str = ""
    sha256: str = ""
    why: str = ""
    remedy: str = ""
