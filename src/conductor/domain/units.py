"""Sizes and durations as people write and read them."""

import re
from decimal import Decimal
from math import inf
from typing import Final

from conductor.domain.errors import InvalidInput

KIB: Final = 1024
MIB: Final = 1024**2
GIB: Final = 1024**3

_SIZE = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(b|kb|kib|k|mb|mib|m|gb|gib|g|tb|tib|t)?\s*$", re.IGNORECASE)
_DURATION = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|sec|m|min|h|d)?\s*$", re.IGNORECASE)
_SIZE_FACTOR = {
    "": 1, "b": 1, "k": KIB, "kib": KIB, "kb": 1000, "m": MIB, "mib": MIB, "mb": 1000**2,
    "g": GIB, "gib": GIB, "gb": 1000**3, "t": 1024 * GIB, "tib": 1024 * GIB, "tb": 1000**4,
}  # fmt: skip
_DURATION_FACTOR = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


def parse_bytes(text: str, *, field: str = "size") -> int:
    """Read `512M`, `2 GiB` or `1000000` as bytes.

    Raises:
        InvalidInput: the text is no size; the message names `field`.
    """
    match = _SIZE.match(text)
    if match is None:
        raise InvalidInput(f"{field} is {text!r}; write a number with a unit such as 512M or 2GiB", field=field)
    return int(Decimal(match[1]) * _SIZE_FACTOR[(match[2] or "").lower()])


def parse_duration_s(text: str, *, field: str = "duration") -> float:
    """Read `90`, `90s`, `5min` or `1.5h` as seconds.

    Raises:
        InvalidInput: the text is no duration; the message names `field`.
    """
    match = _DURATION.match(text)
    if match is None or float(match[1]) == inf:
        raise InvalidInput(f"{field} is {text!r}; write a number with a unit such as 90s, 5min or 1.5h", field=field)
    return float(match[1]) * _DURATION_FACTOR[(match[2] or "").lower()]


def format_bytes(count: float) -> str:
    """`1536` → `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < KIB:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= KIB
    return f"{count:.1f} TiB"


def format_duration(seconds: float) -> str:
    """`0.0042` → `4.2 ms`, `75` → `1 min 15 s`, `3725` → `1 h 2 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
