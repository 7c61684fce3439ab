"""Split texts that are longer than a model reads, at the places where they come apart least.

Paragraphs come apart before sentences, sentences before words, words before characters. Nothing is lost: the parts
put together are the text. How long a part may be is the model's own count of tokens, asked through `fits`.

Covered: sentence ends of Latin, Greek and Cyrillic scripts, of Chinese and Japanese, Devanagari, Arabic, Armenian and
Ethiopic; common abbreviations, initials and numbers are no ends.
Not covered: Thai and Lao, which mark no sentence ends (they are split at spaces).
"""

import re
from collections.abc import Awaitable, Callable
from itertools import pairwise
from math import ceil
from typing import Final

from conductor.domain.errors import InvalidInput

_PARAGRAPH: Final = re.compile(r"(?<=\n)(?:[ \t]*\n)+")
_SENTENCE: Final = re.compile(r"(?:(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s)|[。！？।॥؟۔։።]+[」』”]*)\s*|\n+")
_SPACE: Final = re.compile(r"\s+")
_WORDS_WITH_DOTS: Final = (
    "mr mrs ms dr prof st vs etc e.g i.e cf al fig eq no vol pp ed eds inc ltd co corp art sec para z.b d.h u.a bzw nr abs "
    "ca vgl usw ggf hr fr m mme p ex sr sra dña núm pág av ing dott sig dhr mevr tel approx dept jan feb mar apr jun jul "
    "aug sep sept oct nov dec"
)
_ABBREVIATIONS: Final = frozenset(_WORDS_WITH_DOTS.split())
_LAST_WORD: Final = re.compile(r"([^\W_][\w.]*)\.$")

Fits = Callable[[str], Awaitable[int]]


def sentences(text: str) -> list[str]:
    """Sentences with the white space that follows them; put together they are the text."""
    found, start = [], 0
    for end in _SENTENCE.finditer(text):
        if _is_abbreviation(text[start : end.start() + 1]) and "\n" not in end[0]:
            continue
        found.append(text[start : end.end()])
        start = end.end()
    return [*found, text[start:]] if start < len(text) else found


def _is_abbreviation(upto: str) -> bool:
    last = _LAST_WORD.search(upto[-24:])
    if last is None:
        return False
    word = last[1]
    return word.casefold() in _ABBREVIATIONS or (len(word) == 1 and word.isupper())


def split_evenly(text: str, parts: int) -> list[str]:
    """At most `parts` parts of about the same length, none empty; put together they are the text."""
    if parts < 2 or len(text) < 2:
        return [text]
    target = len(text) / parts
    for units in (_cut(text, _PARAGRAPH), sentences(text), _cut(text, _SPACE), list(text)):
        if max(map(len, units)) <= 1.5 * target or len(units) == len(text):
            return _packed(units, target)
    return _packed(list(text), target)


def _cut(text: str, at: re.Pattern[str]) -> list[str]:
    cuts = [0, *(found.end() for found in at.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(cuts) if start < end]


def _packed(units: list[str], target: float) -> list[str]:
    parts, length, ended = [""], 0, 0.0
    for unit in units:
        # A unit belongs to the part in which its middle lies; so rounding does not add up.
        if parts[-1] and length + len(unit) / 2 > ended + target:
            parts.append("")
            ended += target
        parts[-1] += unit
        length += len(unit)
    return parts


async def parts_that_fit(text: str, *, tokens: Fits, limit_tokens: int) -> list[str]:
    """Parts that each take at most `limit_tokens`, prompt around them included; put together they are the text.

    Raises:
        InvalidInput: not even one character fits.
    """
    taken = await tokens(text)
    if taken <= limit_tokens:
        return [text]
    if len(text) < 2:
        raise InvalidInput(
            f"the model reads {limit_tokens} tokens at once, which does not hold the question alone ({taken}); "
            "choose a model with a longer context",
            field="prompt",
        )
    parts: list[str] = []
    for part in split_evenly(text, max(2, ceil(taken * 1.1 / max(limit_tokens, 1)))):
        parts += await parts_that_fit(part, tokens=tokens, limit_tokens=limit_tokens)
    return parts
