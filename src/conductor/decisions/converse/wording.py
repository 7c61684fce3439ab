"""How figures and names are written in replies, and which words mean yes and no.

One place, so that every reply rounds alike. Replies are in English; yes and no are understood in four languages.
"""

import re
from typing import Final

from conductor.decisions.reasoning import KIND_WORDS
from conductor.domain.device import TaskKind
from conductor.domain.task import Task

_SHOWN_CHARACTERS: Final = 80
_YES: Final = frozenset(
    {
        "y", "yes", "yep", "yeah", "yup", "sure", "ok", "okay", "confirm", "confirmed", "do it", "go", "go ahead",
        "go for it", "please do", "yes please", "yes do it", "sounds good", "make it so", "confirm it", "ja", "jawohl",
        "klar", "na klar", "gerne", "ja bitte", "mach das", "mach es", "bestätigt", "sí", "si", "claro", "vale",
        "confirmo", "de acuerdo", "hazlo", "sí por favor", "si por favor", "oui", "d'accord", "vas-y", "allez-y",
        "bien sûr", "oui s'il te plaît", "oui s'il vous plaît",
    }
)  # fmt: skip
_NO: Final = frozenset(
    {
        "n", "no", "nope", "nah", "don't", "do not", "stop", "abort", "never mind", "nevermind", "forget it", "not now",
        "no thanks", "no thank you", "better not", "nein", "nein danke", "lieber nicht", "lass es", "vergiss es",
        "no gracias", "mejor no", "déjalo", "dejalo", "non", "non merci", "laisse tomber", "surtout pas",
    }
)  # fmt: skip


def says_yes(text: str) -> bool:
    """Whether a text is a plain yes and nothing else."""
    return _plain(text) in _YES


def says_no(text: str) -> bool:
    """Whether a text is a plain no and nothing else."""
    return _plain(text) in _NO


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[.,!;:]+", " ", text[:100].casefold().replace("’", "'")).split())


def plural(count: int, noun: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shown(text: str) -> str:
    """A description on one line, cut to 80 characters; goes between “ ”."""
    printable = "".join(ch if ch.isprintable() else " " for ch in text[: 4 * _SHOWN_CHARACTERS])  # no escape sequences
    line = " ".join(printable.replace("“", '"').replace("”", '"').split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"


def titled(task: Task) -> str:
    """A task by its id and description."""
    return f"{task.task_id} (“{shown(task.submission.description)}”)"


def kind_words(kind: str) -> str:
    """`video_transcode` → `video encoding or decoding`."""
    return KIND_WORDS[TaskKind(kind)]


def listing(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
