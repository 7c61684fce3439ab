"""Say what is wrong with a page: every problem at once, each with its place, what was probably meant, and what to do.

What is shown of the page is short and without secrets, also in the facts for programs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from conductor.domain.errors import SettingsError
from conductor.domain.json import JsonObject
from conductor.domain.redaction import without_secrets
from conductor.serving.settings_md.markdown import Line

#: What a person reads, and what a program gets; a page of nonsense has a problem in every line.
_TOLD: Final = 20
_LISTED: Final = 500
_LONGEST_SHOWN: Final = 80
_LONGEST_MASKED: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One thing that is wrong, or remarkable.

    Args:
        line: from 1; 0 where it is about the whole page.
        column: from 1, in characters.
        message: what is wrong, half a sentence.
        nearest: the valid text that was probably meant; empty where none is near.
        remedy: what to do, half a sentence; may be empty where `nearest` says it.
    """

    line: int
    column: int
    message: str
    nearest: str = ""
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """All of it for people."""
        meant = f"did you mean {self.nearest}?" if self.nearest else ""
        where = f"line {self.line}, column {self.column}: " if self.line else ""
        return where + "; ".join(part for part in (self.message, meant, self.remedy) if part)

    def as_json(self) -> JsonObject:
        """All of it for programs."""
        return {
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "nearest": self.nearest,
            "remedy": self.remedy,
        }


@dataclass(slots=True)
class Findings:
    """What is collected while a page is read; `problems` keep it from being used, `warnings` do not."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def on_page(message: str, *, remedy: str = "") -> Problem:
    """A problem of the whole page."""
    return Problem(line=0, column=0, message=message, remedy=remedy)


def at_line(line: Line, message: str, *, column: int = 1, nearest: str = "", remedy: str = "") -> Problem:
    """A problem of one line."""
    return Problem(line=line.number, column=column, message=message, nearest=nearest, remedy=remedy)


def refusal(problems: Sequence[Problem], *, page: str = "SETTINGS.md") -> SettingsError:
    """One error that carries all problems; `details["problems"]` has them with their places."""
    ordered = sorted(problems)
    if len(ordered) == 1:
        message = f"{page}: {ordered[0].sentence}"
    else:
        more = [f"and {len(ordered) - _TOLD} more"] if len(ordered) > _TOLD else []
        sentences = [problem.sentence for problem in ordered[:_TOLD]]
        message = "\n  ".join([f"{page} has {len(ordered)} problems", *sentences, *more])
    return SettingsError(
        message,
        field="settings_md",
        details={"count": len(ordered), "problems": [problem.as_json() for problem in ordered[:_LISTED]]},
    )


def nearest(text: str, known: Iterable[str]) -> str:
    """The known text that was probably meant, whatever the case of its letters; empty where none is near."""
    if len(text) > _LONGEST_SHOWN:
        return ""
    folded = {each.casefold(): each for each in known}
    close = get_close_matches(text.casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def shown(text: str) -> str:
    """A piece of the page in quotation marks, short, printable and without secrets."""
    if len(text) > _LONGEST_MASKED:  # half an address could keep a password from being recognised
        return f"a text of {len(text)} characters"
    masked = without_secrets(text)
    return repr(masked if len(masked) <= _LONGEST_SHOWN else f"{masked[: _LONGEST_SHOWN - 1]}…")
