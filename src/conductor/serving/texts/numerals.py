"""Read the numbers of a text by value, whatever separators they are written with.

`1,234` is 1234 in English and 1.234 in German, so a number has several readings; two numbers may be the same if they
share one. Digits of any script are read. What has three parts or more with one separator may be a date, a version or an
address as well; its parts are readings then too.

Not covered: numbers in words, Roman numerals, exponents; signs are left out.
"""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from conductor.serving.texts.quotations import Span

_NUMBER: Final = re.compile(r"\d+(?:[.,٬٫'’\u00a0\u202f]\d+)*")


def numbers(text: str) -> Iterator[tuple[Span, frozenset[str]]]:
    """Places of the numbers and their readings, in order."""
    for found in _NUMBER.finditer(text):
        yield Span(*found.span()), readings(found[0])


def readings(number: str) -> frozenset[str]:
    """The values that a number may have, as decimals without needless zeros."""
    plain = "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in number)
    parts, separators = re.split(r"\D", plain), set(re.findall(r"\D", plain))
    whole = _without_zeros("".join(parts))
    if len(parts) == 1:
        return frozenset((whole,))
    decimal = _without_zeros("".join(parts[:-1]), parts[-1])
    if all(len(part) == 3 for part in parts[1:]):
        return frozenset((decimal, whole))
    if len(parts) > 2 and len(separators) == 1:
        return frozenset((plain, *map(_without_zeros, parts)))
    return frozenset((decimal,))


def reading(value: float) -> str:
    """The one reading of a value that is a number already; its sign is left out."""
    front, _, behind = f"{abs(Decimal(str(value))):f}".partition(".")
    return _without_zeros(front, behind)


def _without_zeros(front: str, behind: str = "") -> str:
    behind = behind.rstrip("0")
    return (front.lstrip("0") or "0") + (f".{behind}" if behind else "")
