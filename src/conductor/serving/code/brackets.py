"""Find the brackets of a program that are neither in a string nor in a comment, without a parser for its language.

Covered: how the languages of `code_language` write strings and comments, regular expression literals of JavaScript as far
as the character before them tells. Not covered: heredocs, nested comments, code inside template strings.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from conductor.serving.code.languages import language_named

OPENERS: Final = {"(": ")", "[": "]", "{": "}"}
CLOSERS: Final = {closer: opener for opener, closer in OPENERS.items()}

_DOUBLE: Final = r'"(?:\\[\s\S]|[^"\\\n])*(?P<double>"|(?=\n)|\\?\Z)'
_SINGLE: Final = r"'(?:\\[\s\S]|[^'\\\n])*(?P<single>'|(?=\n)|\\?\Z)"
_CHARACTER: Final = r"(?<!\w)'(?:\\u\{\w{1,6}\}|\\.|[^'\\\n])'"
_BACKTICK: Final = r"`(?:\\[\s\S]|[^`\\])*(?P<backtick>`|\\?\Z)"
_TRIPLE: Final = (
    r'"""(?:\\[\s\S]|[^\\])*?(?P<triple>"""|\\?\Z)|' + r"\'\'\'(?:\\[\s\S]|[^\\])*?(?P<triple_single>\'\'\'|\\?\Z)"
)
_REGEX: Final = (
    r"(?:(?<=[(,=:\[!&|?;])|(?<=[(,=:\[!&|?;] )|(?<=return ))/(?![/*])"
    r"(?:\\.|\[(?:\\.|[^\]\\\n])*(?:\]|\\?\Z|(?=\n))|[^/\\\[\n])+(?:/|(?=\n)|\\?\Z)"
)
_SLASHES: Final = r"//[^\n]*|/\*(?s:.*?)(?P<comment>\*/|\Z)"
_HASH: Final = r"#[^\n]*"
_BRACKET: Final = r"(?P<bracket>[()\[\]{}])"

_SKIPPED: Final = {
    "python": (_HASH, _TRIPLE, _DOUBLE, _SINGLE),
    "ruby": (_HASH, _DOUBLE, _SINGLE),
    "r": (_HASH, _DOUBLE, _SINGLE),
    "julia": (_HASH, _TRIPLE, _DOUBLE, _CHARACTER),
    "php": (_SLASHES, _HASH, _DOUBLE, _SINGLE),
    "javascript": (_SLASHES, _BACKTICK, _REGEX, _DOUBLE, _SINGLE),
    "typescript": (_SLASHES, _BACKTICK, _REGEX, _DOUBLE, _SINGLE),
    "rust": (_SLASHES, r'r(#*)"(?s:.*?)"\1', _DOUBLE, _CHARACTER),
    "go": (_SLASHES, r"`[^`]*(?P<backtick>`|\Z)", _DOUBLE, _SINGLE),
    "cpp": (_SLASHES, r'R"(\w*)\((?s:.*?)\)\1"', _DOUBLE, _CHARACTER),
    "haskell": (r"--[^\n]*", r"\{-(?s:.*?)(?P<comment>-\}|\Z)", _DOUBLE, _CHARACTER),
    "lua": (r"--\[\[(?s:.*?)(?P<comment>\]\]|\Z)", r"--[^\n]*", _DOUBLE, _SINGLE),
    "sql": (
        r"--[^\n]*",
        r"/\*(?s:.*?)(?P<comment>\*/|\Z)",
        r"'(?:''|[^'])*(?P<single>'|\Z)",
        r'"[^"]*(?P<double>"|\Z)',
    ),
    "swift": (_SLASHES, _TRIPLE, _DOUBLE),
    "kotlin": (_SLASHES, _TRIPLE, _DOUBLE, _CHARACTER),
    "java": (_SLASHES, _TRIPLE, _DOUBLE, _SINGLE),
    "csharp": (_SLASHES, r'@"(?:""|[^"])*(?P<verbatim>"|\Z)', _DOUBLE, _SINGLE),
    "css": (r"/\*(?s:.*?)(?P<comment>\*/|\Z)", _DOUBLE, _SINGLE),
    "c": (_SLASHES, _DOUBLE, _SINGLE),
}


@dataclass(frozen=True, slots=True)
class Bracket:
    """One bracket and where it is."""

    position: int
    character: str


@dataclass(frozen=True, slots=True)
class Unclosed:
    """A string or comment that never ends, and where it begins."""

    position: int
    what: str


def brackets_in(code: str, language: str) -> tuple[list[Bracket], Unclosed | None]:
    """All brackets in order, and the first string or comment that is not closed. Unknown languages are read like C."""
    found: list[Bracket] = []
    unclosed: Unclosed | None = None
    for match in _pattern(_key(language)).finditer(code):
        groups = match.groupdict()
        if groups["bracket"] is not None:
            found.append(Bracket(match.start(), groups["bracket"]))
        elif unclosed is None and (open_one := next((name for name, end in groups.items() if end in ("", "\\")), None)):
            unclosed = Unclosed(match.start(), "comment" if open_one == "comment" else "string")
    return found, unclosed


def _key(language: str) -> str:
    if language in _SKIPPED:
        return language
    known = language_named(language)
    if known is None:
        return "c"
    return known.name if known.name in _SKIPPED else ("python" if known.family in ("indent", "words") else "c")


@cache
def _pattern(key: str) -> re.Pattern[str]:
    return re.compile("|".join((*_SKIPPED[key], _BRACKET)))
