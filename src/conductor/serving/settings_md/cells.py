"""Read and write the values of single cells: sizes, precisions, truths.

Each reader takes the plain text of a cell and raises `Unreadable` with the nearest valid text and what to do.
"""

import re
from typing import Final

from conductor.domain.errors import InvalidInput
from conductor.domain.model import Precision
from conductor.domain.units import parse_bytes
from conductor.serving.settings_md.problems import nearest, shown

#: What people write where they say nothing.
NOTHING: Final = frozenset({"", "-", "–", "—", "n/a", "none", "unknown", "?"})

_LARGEST_BYTES: Final = 1024**5
_LONGEST: Final = 200
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)"
_UNIT: Final = r"\s*((?:[KMGT]i?)?B|[KMGT])?"
_SIZE: Final = re.compile(
    rf"(?:~|≈|≤|<=?|about|approx\.?|ca\.?|up to)?\s*{_NUMBER}{_UNIT}(?:\s*(?:-|–|—|to)\s*{_NUMBER}{_UNIT})?"
    r"\s*\+?\s*(?:of\s+)?(?:v?ram|memory)?\s*(?:\(([^()]*)\))?",
    re.IGNORECASE,
)
_UNITS: Final = tuple(
    (f"{letter}{kind}", factor**power)
    for power, letter in ((4, "T"), (3, "G"), (2, "M"), (1, "K"))
    for kind, factor in (("iB", 1024), ("B", 1000))
)
_PRECISIONS: Final = {
    **dict.fromkeys(("fp32", "float32", "f32", "32-bit"), Precision.FP32),
    **dict.fromkeys(("fp16", "float16", "f16", "half", "16-bit"), Precision.FP16),
    **dict.fromkeys(("bf16", "bfloat16"), Precision.BF16),
    **dict.fromkeys(("8-bit", "8bit", "int8", "q8", "w8"), Precision.INT8),
    **dict.fromkeys(("4-bit", "4bit", "int4", "q4", "iq4", "w4", "nf4", "fp4"), Precision.INT4),
}
_GGUF_VARIANT: Final = re.compile(r"(i?q[48])_\w{1,8}")
_TRUTHS: Final = {
    **dict.fromkeys(("true", "yes", "y", "on", "1", "✓", "✔", "✅"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0", "✗", "✘", "❌"), False),
}


class Unreadable(Exception):
    """A cell that says nothing we understand; half sentences, put together by `problems.Problem`."""

    def __init__(self, message: str, *, meant: str = "", remedy: str = "") -> None:
        self.message, self.meant, self.remedy = message, meant, remedy
        super().__init__(message)


def read_size(text: str) -> int | None:
    """`~8GB (FP16)`, `512 MB`, `6–8 GiB` (the larger counts) as bytes; None where the cell says nothing.

    Raises:
        Unreadable: it is no size, has no unit, or is larger than any machine.
    """
    if text.casefold() in NOTHING:
        return None
    found = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        remedy = "write a number with a unit such as 8 GB or 512 MiB, or – where it is not known"
        raise Unreadable(f"{shown(text)} is no size", meant=_with_point(text), remedy=remedy)
    number, unit, most, most_unit, _ = found.groups()
    unit = most_unit or unit
    if unit is None:
        raise Unreadable(f"the size {shown(text)} has no unit", meant=f"{most or number} GB")
    count = parse_bytes(f"{most or number} {unit}")
    if count > _LARGEST_BYTES:
        raise Unreadable(f"the size {shown(text)} is larger than any machine", remedy="check number and unit")
    return count


def precision_in_size(text: str) -> Precision | None:
    """What `~4GB (4-bit)` says besides the size, if that is a precision."""
    found = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    return _precision(found[5]) if found is not None and found[5] else None


def write_size(count: int | None) -> str:
    """A size that `read_size` gives back exactly: `8 GB`, `1.5 GiB`, `123457 B`; `–` for None."""
    if count is None:
        return "–"
    for unit, factor in _UNITS:
        thousandths, rest = divmod(count * 1000, factor)
        if count >= factor and not rest:
            number = f"{thousandths // 1000}.{thousandths % 1000:03}"
            return f"{number.rstrip('0').rstrip('.')} {unit}"
    return f"{count} B"


def read_precision(text: str) -> Precision:
    """`FP16`, `int8`, `Q4_K_M`.

    Raises:
        Unreadable: it names none.
    """
    found = _precision(text)
    if found is None:
        meant = nearest(text, _PRECISIONS)
        what = "there is no precision" if text.casefold() in NOTHING else f"there is no precision {shown(text)}"
        raise Unreadable(
            what, meant=_PRECISIONS[meant].value if meant else "", remedy=f"valid are {', '.join(Precision)}"
        )
    return found


def read_truth(text: str) -> bool:
    """`true`, `No`, `✓`.

    Raises:
        Unreadable: it is neither.
    """
    found = _TRUTHS.get(text.casefold())
    if found is None:
        meant = nearest(text, ("true", "false", "yes", "no"))
        raise Unreadable(f"{shown(text)} is neither true nor false", meant=meant, remedy="write true or false")
    return found


def _precision(text: str) -> Precision | None:
    folded = text.strip().casefold().replace(" ", "-")
    variant = _GGUF_VARIANT.fullmatch(folded)
    return _PRECISIONS.get(variant[1] if variant else folded)


def _with_point(text: str) -> str:
    """What a decimal comma probably meant."""
    try:
        pointed = re.sub(r"(?<=\d),(?=\d)", ".", text.lstrip("~ "))
        parse_bytes(pointed)
    except InvalidInput:
        return ""
    return pointed if pointed[-1:].isalpha() else ""
