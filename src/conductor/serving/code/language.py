"""Say which programming language a text is written in: by its file name, its first line, then by what it contains.

Each rule of the content is a pattern with a weight; a language's score is its share of what all languages collected, damped
where little was found. Below `SURE` the answer is "unknown", because a wrong language does more harm than none.

Covered: the languages of `code.languages`. Not covered: several languages in one file (the
one with the most evidence wins).
"""

import re
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Final

from conductor.serving.code.languages import BY_ENDING, LANGUAGES, CodeLanguage

UNKNOWN: Final = "unknown"
#: Least score of a detection that is believed.
SURE: Final = 0.4
_READ_CHARACTERS: Final = 8000
_LONGEST_LINE: Final = 400
#: Evidence that counts as plenty: a text with this much weight for one language alone scores 1.
_PLENTY: Final = 6.0


_INTERPRETERS: Final = {
    "python": "python",
    "node": "javascript",
    "deno": "typescript",
    "sh": "bash",
    "bash": "bash",
    "zsh": "bash",
    "dash": "bash",
    "ruby": "ruby",
    "php": "php",
    "lua": "lua",
    "rscript": "r",
    "julia": "julia",
    "pwsh": "powershell",
    "make": "makefile",
}
_SHEBANG: Final = re.compile(r"\A#!\s*\S*?/?(?:env\s+(?:-S\s+)?)?([A-Za-z]+)[\d.]*(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Detected:
    """A language's name or `unknown`, how sure (0 to 1), and what it was seen by: `file name`, `first line`, `content`."""

    name: str
    score: float
    by: str


def detect(code: str, file_name: str = "") -> Detected:
    """The language of a text; time is linear in what is read of it, its first 8,000 characters."""
    base = re.split(r"[/\\]", file_name)[-1]
    by_file = BY_ENDING.get(base) or BY_ENDING.get(base.rsplit(".", 1)[-1] if "." in base else "")
    by_file = by_file or BY_ENDING.get(base.rsplit(".", 1)[-1].lower() if "." in base else "")
    if by_file is not None:
        if base.endswith(".h") and (by_content := _by_content(code)).name == "cpp":
            return by_content
        return Detected(by_file.name, 1.0, "file name")
    shebang = _SHEBANG.match(code[:200])
    if shebang and shebang[1].lower() in _INTERPRETERS:
        return Detected(_INTERPRETERS[shebang[1].lower()], 1.0, "first line")
    return _by_content(code)


def _by_content(code: str) -> Detected:
    text = "\n".join(line[:_LONGEST_LINE] for line in code[:_READ_CHARACTERS].splitlines() if line.strip())
    scores = {language.name: _evidence(language, text) for language in LANGUAGES}
    best = max(scores, key=lambda name: scores[name])
    total = sum(scores.values())
    if total == 0:
        return Detected(UNKNOWN, 0.0, "content")
    score = scores[best] / total * min(scores[best] / _PLENTY, 1.0)
    return Detected(best if score >= SURE else UNKNOWN, round(score, 3), "content")


def _evidence(language: CodeLanguage, text: str) -> float:
    """Each rule counts at most three lines, so that one repeated line does not decide."""
    total = 0.0
    for pattern, weight in language.evidence:
        lines = {text.count("\n", 0, match.end()) for match in islice(_compiled(pattern).finditer(text), 3)}
        total += len(lines) * weight
    return total


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """White space in a pattern stays within its line."""
    return re.compile(
        pattern.replace(r"\s", r"[ \t]").replace("(?i)", ""), re.MULTILINE | (re.I if "(?i)" in pattern else 0)
    )
