"""Check the syntax of a program without running or importing any of it.

Python, JSON, TOML and YAML are read by their real parsers; of the other languages only brackets, strings and comments are
checked, which finds what was cut off and little else, and every verdict says how thorough it was.

Not covered: Bash and markup (their brackets need not balance); types, names and whether it does what was asked.
"""

import ast
import json
import re
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from conductor.serving.code.brackets import CLOSERS, OPENERS, brackets_in
from conductor.serving.code.language import UNKNOWN
from conductor.serving.code.languages import language_named

_MOST_CHARACTERS: Final = 200_000
_DEEPEST: Final = 150
_UNBALANCED: Final = frozenset({"bash", "powershell", "makefile", "dockerfile"})


class Thoroughness(StrEnum):
    """How much a verdict is worth."""

    PARSED = "parsed"
    BALANCED = "brackets_and_strings"
    NONE = "not_checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntaxVerdict:
    """What a check found.

    Args:
        error: None where nothing is wrong, or nothing was checked.
        line: of the error, from 1.
        remark: why it was not checked, or what the check cannot see.
    """

    thoroughness: Thoroughness
    error: str | None = None
    line: int | None = None
    remark: str = ""


def checked_syntax(code: str, language: str) -> SyntaxVerdict:
    """Check one program; never raises for anything that a model can write."""
    if len(code) > _MOST_CHARACTERS:
        return _unchecked(f"longer than {_MOST_CHARACTERS} characters")
    if _deepest(code) > _DEEPEST:  # before any parser sees it: some take quadratic time over it
        return _unchecked(f"brackets are nested more than {_DEEPEST} deep")
    parse = _PARSERS.get(language)
    if parse is not None:
        return parse(code)
    known = language_named(language)
    if language == UNKNOWN or known is None:
        return _unchecked(f"there is no check for the language {language!r}")
    if known.family == "markup" or known.name in _UNBALANCED:
        return _unchecked(f"brackets need not balance in {known.title}, and there is no parser for it here")
    return _balanced(code, known.name)


def _deepest(code: str) -> int:
    """How deep brackets are nested, those in strings and comments included."""
    depth = deepest = 0
    for bracket in re.findall(r"[()\[\]{}]", code):
        depth = depth + 1 if bracket in OPENERS else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest


def _unchecked(remark: str) -> SyntaxVerdict:
    return SyntaxVerdict(thoroughness=Thoroughness.NONE, remark=remark)


def _wrong(error: str, line: int | None) -> SyntaxVerdict:
    return SyntaxVerdict(thoroughness=Thoroughness.PARSED, error=error, line=line)


_RIGHT: Final = SyntaxVerdict(thoroughness=Thoroughness.PARSED)


def _python(code: str) -> SyntaxVerdict:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are the program's affair
            ast.parse(code)
    except SyntaxError as wrong:
        return _wrong(wrong.msg, wrong.lineno)
    except ValueError as wrong:  # null bytes, integers of many thousand digits
        return _wrong(str(wrong), None)
    except (RecursionError, MemoryError):
        return _unchecked("too deeply nested for Python's parser")
    return _RIGHT


def _json(code: str) -> SyntaxVerdict:
    try:
        json.loads(code)
    except json.JSONDecodeError as wrong:
        return _wrong(wrong.msg, wrong.lineno)
    except ValueError as wrong:
        return _wrong(str(wrong), None)
    except RecursionError:
        return _unchecked("too deeply nested for the JSON parser")
    return _RIGHT


def _toml(code: str) -> SyntaxVerdict:
    try:
        tomllib.loads(code)
    except ValueError as wrong:
        return _wrong(str(wrong), None)
    except RecursionError:
        return _unchecked("too deeply nested for the TOML parser")
    return _RIGHT


def _yaml(code: str) -> SyntaxVerdict:
    try:
        import yaml
    except ImportError:
        return _unchecked("YAML needs the package pyyaml")
    try:
        # events only, so no object of the text's choice is made; by the parser in C where there is one
        for _ in yaml.parse(code, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            pass
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark
        return _wrong(wrong.problem or "not YAML", mark.line + 1 if mark else None)
    except (yaml.YAMLError, ValueError) as wrong:  # control characters, halves of surrogate pairs
        return _wrong(str(wrong), None)
    except RecursionError:
        return _unchecked("too deeply nested for the YAML parser")
    return _RIGHT


_PARSERS: Final[dict[str, Callable[[str], SyntaxVerdict]]] = {
    "python": _python,
    "json": _json,
    "toml": _toml,
    "yaml": _yaml,
}


def _balanced(code: str, language: str) -> SyntaxVerdict:
    remark = "only brackets, strings and comments were checked"
    brackets, unclosed = brackets_in(code, language)
    waiting: list[tuple[str, int]] = []
    error: tuple[str, int] | None = None
    for bracket in brackets:
        if bracket.character in OPENERS:
            waiting.append((bracket.character, bracket.position))
        elif waiting and waiting[-1][0] == CLOSERS[bracket.character]:
            waiting.pop()
        else:
            found = f"{waiting[-1][0]!r} is open" if waiting else "nothing is open"
            error = (f"{bracket.character!r} closes what was not opened ({found})", bracket.position)
            break
    if unclosed is not None and (error is None or unclosed.position < error[1]):
        error = (f"a {unclosed.what} is not closed", unclosed.position)
    if error is None and waiting:
        error = (f"{waiting[-1][0]!r} is not closed", waiting[-1][1])
    if error is None:
        return SyntaxVerdict(thoroughness=Thoroughness.BALANCED, remark=remark)
    line = code.count("\n", 0, error[1]) + 1
    return SyntaxVerdict(thoroughness=Thoroughness.BALANCED, error=error[0], line=line, remark=remark)
