"""Find the final answer in what a model wrote, and read it: values, solutions, or that there are none.

The answer is the last `\\boxed{…}`, or what stands behind the last "Final answer:". What cannot be read is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from conductor.serving.mathematics.expression import Expression, Symbol, Unreadable
from conductor.serving.mathematics.read import read_chain
from conductor.serving.mathematics.tokens import MOST_CHARACTERS

_FINAL: Final = re.compile(
    r"^[ \t*_#>]*(?:the\s+)?(?:final\s+answer|answer)(?:\s+is)?[\s*_]*[:=]?[\s*_]*(?P<rest>.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_NOTHING: Final = re.compile(
    r"\b(?:no|without)\s+(?:real\s+)?(?:solutions?|roots?)\b|\bnot? (?:exist|solvable)|\\emptyset|∅"
)
_EVERYTHING: Final = re.compile(
    r"\ball\s+(?:real\s+)?(?:numbers|values|x)\b|\bevery\s+(?:real\s+)?number\b|\\mathbb\{?R"
)
_SET: Final = re.compile(
    r"^\s*(?:(?P<name>[a-z](?:_\{?\w\}?)?)\s*(?:\\in|∈|=)\s*)?\\?\{(?P<members>[^{}]*|.*)\\?\}\s*$", re.DOTALL
)
_TUPLE: Final = re.compile(r"^\s*\(\s*([a-z](?:\s*,\s*[a-z])+)\s*\)\s*=\s*\((.*)\)\s*$", re.DOTALL)
_SPACING: Final = re.compile(r"\\(?:left|right)(?![A-Za-z])|\\[,;:! ]")
_THOUSAND: Final = re.compile(r"\d,\d{3}(?!\d)")
_CONDITION: Final = re.compile(r"\\neq?(?![A-Za-z])|≠|!=")
_TEXT: Final = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class NoSolutions:
    """It was answered that there is none."""


@dataclass(frozen=True, slots=True)
class EverySolution:
    """It was answered that everything is one."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One value; `name` is empty where none was given."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Assignments:
    """Values in the order of the answer."""

    found: tuple[Assignment, ...]


Given: TypeAlias = NoSolutions | EverySolution | Assignments


def final_answer(written: str) -> str | None:
    """The text of the final answer without its frame, or None where there is none."""
    start = max(written.rfind("\\boxed{"), written.rfind("\\fbox{"))
    labelled = list(_FINAL.finditer(written))
    if start >= 0 and not (labelled and labelled[-1].start() > start and "boxed" not in labelled[-1]["rest"]):
        boxed = _braced(written, written.index("{", start))
        if boxed is not None:
            return boxed.strip()
    if not labelled:
        return None
    answer = labelled[-1]["rest"].strip()
    if not answer:  # a displayed formula on the lines below
        below = written[labelled[-1].end() :].strip()
        answer = below.split("\n\n")[0].replace("\n", " ").strip()
    return _unframed(answer) or None


def _braced(text: str, opening: int) -> str | None:
    depth = 0
    for at in range(opening, min(len(text), opening + 4000)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[opening + 1 : at]
    return None


def _unframed(text: str) -> str:
    text = text.strip().strip("*_").strip()
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\[", r"\]"), (r"\(", r"\)")):
        bare = text.rstrip(".").rstrip()
        if bare.startswith(opening) and bare.endswith(closing) and len(bare) > len(opening) + len(closing):
            inside = bare[len(opening) : -len(closing)]
            if opening not in inside:
                return inside.strip()
    return text.rstrip(".").strip() if not text.endswith("...") else text


def given_in(answer: str, *, log_base: int | None = None) -> Given:
    """What an answer says.

    Raises:
        Unreadable: it is not mathematics that is covered.
    """
    if len(answer) > MOST_CHARACTERS:
        raise Unreadable(f"it is longer than {MOST_CHARACTERS} characters")
    plain = _TEXT.sub(lambda found: f" {found[1]} ", answer.strip().strip("$").strip())
    if _NOTHING.search(plain.lower()):
        return NoSolutions()
    if _EVERYTHING.search(plain) or _EVERYTHING.search(plain.lower()):
        return EverySolution()
    plain = _SPACING.sub(" ", plain)
    plain = re.sub(r"\\boxed\s*\{([^{}]*)\}", r" \1 ", plain).strip().removesuffix(".")
    plain = plain.replace("$", " ").replace(r"\(", " ").replace(r"\)", " ").replace("≈", r"\approx")
    tuples = _TUPLE.match(plain)
    if tuples:
        names = [name.strip() for name in tuples[1].split(",")]
        values = _split(tuples[2])
        if len(names) != len(values):
            raise Unreadable("names and values are not equally many")
        return Assignments(tuple(_assignment(value, name, log_base) for name, value in zip(names, values, strict=True)))
    name = ""
    in_braces = _SET.match(plain)
    if in_braces and not re.match(r"^\s*\{?[^\\{]*\}?\s*\^", plain):
        name, plain = in_braces["name"] or "", in_braces["members"].rstrip("\\")
    found: list[Assignment] = []
    parts = _split(plain)
    said = [part for part in parts if not _CONDITION.search(part)]
    for part in said or parts:
        for text in _both_signs(part):
            found.append(_assignment(text, found[-1].name if found else name, log_base))
    if not found:
        raise Unreadable("the answer is empty")
    return Assignments(tuple(found))


def _both_signs(part: str) -> Sequence[str]:
    if r"\pm" not in part and "±" not in part and "+-" not in part and "+/-" not in part:
        return [part]
    return [re.sub(r"\\pm|±|\+/-|\+-", sign, part) for sign in ("+", "-")]


def _split(text: str) -> list[str]:
    """At commas, semicolons, `or` and `and` outside of brackets; a thousand's comma has no space behind it."""
    separated = re.sub(r"\b(?:or|and)\b|\\(?:quad|lor|vee|land)\b|;", ", ", text)
    parts, depth, start = [], 0, 0
    for at, character in enumerate(separated):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        if character == "," and depth == 0 and not _THOUSAND.match(separated, at - 1):
            parts.append(separated[start:at])
            start = at + 1
    parts.append(separated[start:])
    return [part.strip() for part in parts if part.strip(" .")]


def _assignment(text: str, name: str, log_base: int | None) -> Assignment:
    """`x = 3`, `x = 6/2 = 3`, `3`, `x = \\sqrt{2} ≈ 1.41` (the exact value counts)."""
    text = re.sub(r"^\s*\\approx", "", text)
    exact = text.split(r"\approx")[0]
    if re.fullmatch(r"\s*[a-z]\s*", exact) and exact != text:  # x ≈ 1.41
        exact = text.replace(r"\approx", "=")
    exact = re.sub(r"^\s*(?:[fFghy]'*\s*\([a-z]\)|[fFy]'+|\\frac\{dy\}\{dx\}|dy/dx)\s*=", "", exact)
    sides, kinds = read_chain(exact, log_base=log_base)
    if any(kind != "=" for kind in kinds):
        raise Unreadable("inequalities are not checked")
    if len(sides) > 1 and isinstance(sides[0], Symbol):
        return Assignment(sides[0].name, sides[-1])
    return Assignment(name if len(sides) == 1 else "", sides[-1])
