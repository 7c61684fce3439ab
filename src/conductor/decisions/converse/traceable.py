"""Let no number out of the house that is not among the facts: the check on every reply, composed or generated.

A number is whatever a reader would take for one: digits of any script, with sign, decimals and separators for
thousands, with or without a unit, fractions such as ½, and English number words. It is traceable when some fact of the
same dimension, rounded as the text rounds it, gives exactly that number: `73 %` needs a share between 0.725 and 0.735,
`1 min 15 s` a duration that rounds to 75 s. A sentence with one number that is not traceable is dropped as a whole.

Names (ids, nodes, devices, models) may contain digits wherever they stand; texts that people wrote (descriptions,
commands) only between the quotation marks “ ”, so that nobody can smuggle a figure in by describing a task with it.

Not covered: whether a true number is used for the right thing; number words of other languages; Roman numerals.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import isfinite
from typing import Final

from conductor.decisions.reasoning import share_words
from conductor.domain.units import GIB, KIB, MIB

_BELOW_21: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
#: Without `one`, which is a pronoun more often than a number.
_WORDS: Final[dict[str, float]] = {word: n for n, word in enumerate(_BELOW_21.split()) if word != "one"} | {
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "dozen": 12,
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "twice": 2, "double": 2, "doubled": 2,
    "thrice": 3, "triple": 3, "tripled": 3, "half": 0.5, "quarter": 0.25, "hundreds": 100, "dozens": 12, "thousands": 1000,
}  # fmt: skip
_DIGITS: Final = r"\d+(?:[,\u202f']\d{3})*(?:\.\d+)?(?:[eE][+-]?\d+)?"
_UNIT: Final = (
    r"%|percent|per cent|°\s?[CF]|degrees|celsius|ms|milliseconds?|seconds?|secs?|s|minutes?|mins?|hours?|hrs?|h|days?|d|"
    r"[KMGT]i?B|bytes?|B"
)
_NUMBER: Final = re.compile(
    rf"(?P<sign>(?<![\w.])[-−])?(?P<digits>{_DIGITS})(?:[ \u00a0\u202f]?(?P<unit>{_UNIT})(?![^\W\d_]))?"
    rf"|\b(?P<word>{'|'.join(sorted(_WORDS, key=len, reverse=True))})\b",
    re.IGNORECASE,
)
#: How shares next to none and all are written (`share_words`).
_EXTREME: Final = re.compile(r"> 99\.9 %|< 0\.1 %")
_COMPOUND: Final = re.compile(r"(?<![\w.])(\d+) (min|h) (\d+) (s|min)(?![^\W\d_])")
_SECONDS: Final = {"ms": 0.001, "mi": 60.0, "s": 1.0, "h": 3600.0, "d": 86_400.0}
_BYTES: Final = {
    "b": 1, "kb": 1000, "kib": KIB, "mb": 10**6, "mib": MIB, "gb": 10**9, "gib": GIB, "tb": 10**12, "tib": 1024 * GIB,
}  # fmt: skip
#: Sentences end here: a stop and the next beginning, or a line break.
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])[ \t]+(?=[^\s])|\n+")
_MASK: Final = "\ue000"


@dataclass(frozen=True, slots=True)
class Facts:
    """What may be said, by dimension.

    Args:
        counts: numbers without a unit: how many, scores, priorities.
        shares: parts of a whole in 0–1, said in per cent (or bare, as a score).
        celsius, seconds, byte_counts: measured or predicted quantities in these units.
        names: said wherever; each must hold a letter, or it is not taken.
        quotes: said between “ ” only, whole.
        passages: sentences on record, said whole and without quotation marks, such as a decision's reasoning.
    """

    counts: frozenset[float] = frozenset()
    shares: frozenset[float] = frozenset()
    celsius: frozenset[float] = frozenset()
    seconds: frozenset[float] = frozenset()
    byte_counts: frozenset[float] = frozenset()
    names: frozenset[str] = frozenset()
    quotes: frozenset[str] = frozenset()
    passages: frozenset[str] = frozenset()

    def __or__(self, other: "Facts") -> "Facts":
        return Facts(**{name: getattr(self, name) | getattr(other, name) for name in self.__dataclass_fields__})


class Gathering:
    """Facts while they are being gathered; what is None or infinite is left out."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, set[float]] = defaultdict(set)
        self._texts: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, dimension: str, *values: float | None) -> None:
        """Numbers of one dimension: a field of `Facts`."""
        self._numbers[dimension].update(float(value) for value in values if value is not None and isfinite(value))

    def say(self, kind: str, *texts: str) -> None:
        """Texts that may be repeated: `names`, `quotes` or `passages`."""
        self._texts[kind].update(text for text in texts if text)

    def done(self) -> Facts:
        """The facts."""
        numbers, texts = self._numbers, self._texts
        return Facts(
            counts=frozenset(numbers["counts"]),
            shares=frozenset(numbers["shares"]),
            celsius=frozenset(numbers["celsius"]),
            seconds=frozenset(numbers["seconds"]),
            byte_counts=frozenset(numbers["byte_counts"]),
            names=frozenset(texts["names"]),
            quotes=frozenset(texts["quotes"]),
            passages=frozenset(texts["passages"]),
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """A text with only traceable sentences, and the sentences that were dropped."""

    text: str
    dropped: tuple[str, ...]


def keep_traceable(text: str, facts: Facts) -> Checked:
    """Drop every sentence that holds an untraceable number; lines stay lines."""
    masked = _masked(text, facts)
    kept: list[str] = []
    dropped: list[str] = []
    for start, end in _sentences(masked):
        if any(True for _ in _foreign(masked[start:end], facts)):
            dropped.append(text[start:end].strip())
            if "\n" in masked[start:end] and kept and not kept[-1].endswith("\n"):
                kept.append("\n")
        else:
            kept.append(text[start:end])
    return Checked("".join(kept).strip(), tuple(dropped))


def untraceable(text: str, facts: Facts) -> tuple[str, ...]:
    """The numbers of a text that no fact bears out, as they stand there."""
    return tuple(_foreign(_masked(text, facts), facts))


def _sentences(masked: str) -> Iterator[tuple[int, int]]:
    start = 0
    for end in _SENTENCE_END.finditer(masked):
        yield start, end.end()
        start = end.end()
    if start < len(masked):
        yield start, len(masked)


def _masked(text: str, facts: Facts) -> str:
    """The text with names, quotations and passages made unreadable, every character at its place."""
    for passage in sorted(facts.passages, key=len, reverse=True):
        text = text.replace(passage, _MASK * len(passage))
    for quote in sorted(facts.quotes, key=len, reverse=True):
        text = text.replace(f"“{quote}”", _MASK * (len(quote) + 2))
    names = [name for name in facts.names if any(ch.isalpha() for ch in name) and name.casefold() not in _WORDS]
    if names:
        any_name = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        text = re.sub(rf"(?<!\w)(?:{any_name})(?!\w)", lambda found: _MASK * len(found[0]), text)
    return text


def _foreign(masked: str, facts: Facts) -> Iterator[str]:
    rest = masked
    for match in _COMPOUND.finditer(masked):
        coarse, fine = (60, 1) if match[2] == "min" else (3600, 60)
        said = int(match[1]) * coarse + int(match[3]) * fine
        if (match[2], match[4]) not in (("min", "s"), ("h", "min")) or not _near(said, fine, facts.seconds):
            yield match[0]
        rest = rest[: match.start()] + _MASK * len(match[0]) + rest[match.end() :]
    for match in _EXTREME.finditer(rest):
        if not any(share_words(share) == match[0] for share in facts.shares):
            yield match[0]
        rest = rest[: match.start()] + _MASK * len(match[0]) + rest[match.end() :]
    for match in _NUMBER.finditer(rest):
        if not _is_traceable(match, facts):
            yield match[0]
    yield from (
        ch for ch in rest if not ch.isdecimal() and unicodedata.numeric(ch, None) is not None and ch.isnumeric()
    )


def _near(said: float, step: float, known: Iterable[float]) -> bool:
    """Whether a known duration, cut or rounded to whole steps, is what was said."""
    return any(said <= round(value) < said + step for value in known)


def _is_traceable(match: re.Match[str], facts: Facts) -> bool:
    if match["word"]:
        number = _WORDS[match["word"].lower()]
        return number in facts.counts or (number < 1 and number in facts.shares)
    digits = re.sub(r"[,\u202f']", "", match["digits"])
    said = Decimal(f"{'-' if match['sign'] else ''}{digits}")
    places = len(digits.partition(".")[2]) if "e" not in digits.lower() else 0
    known = _known(match["unit"], facts)
    return any(_rounds_to(value, said, places) for value in known)


def _known(unit: str | None, facts: Facts) -> Iterator[float]:
    """Facts in the unit that the text uses."""
    name = re.sub(r"\s", "", (unit or "").lower())
    if not name:
        yield from facts.counts
        yield from facts.shares
    elif name in ("%", "percent", "percent"):
        yield from (share * 100 for share in facts.shares)
    elif name in ("°c", "degrees", "celsius"):
        yield from facts.celsius
    elif name in _BYTES or name.startswith("byte"):
        yield from (count / _BYTES.get(name, 1) for count in facts.byte_counts)
    elif name != "°f":
        factor = 0.001 if name.startswith(("ms", "milli")) else _SECONDS.get(name[:2], _SECONDS.get(name[:1], 60.0))
        yield from (seconds / factor for seconds in facts.seconds)


def _rounds_to(value: float, said: Decimal, places: int) -> bool:
    """Whether the value is written so at this precision; ties may go either way, as formatting does."""
    step = Decimal(1).scaleb(-places)
    if abs(value - float(said)) > 0.51 * float(step) + 1e-9 * abs(value):  # most facts, at the price of one subtraction
        return False
    exact = Decimal(repr(value))
    if abs(exact - said) * 2 == step:
        return True
    return exact.quantize(step, rounding=ROUND_HALF_UP) == said if abs(exact) < Decimal(10) ** 20 else exact == said
