"""JSON in the one byte form that everybody can make again: JCS, RFC 8785.

Hashes and signatures need bytes, people and programs need JSON; the canonical form gives both. The general case is the
library `rfc8785`; entries are mostly plain values for which `orjson` with sorted keys writes the same bytes about thirty
times faster, and `_is_plain` decides, by type and range, where that is certain. The two are compared by a property test.

Not covered: integers beyond 2^53 − 1 and numbers that are not finite have no canonical form and are refused; so are
half surrogate pairs, keys that are no strings, and anything that is not JSON.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson
import rfc8785

from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonValue

_FAST: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_SUBCLASS
#: Between these, both writers lay a number out as plain digits; ECMAScript and orjson part ways outside.
_SMALLEST_PLAIN: Final = 1e-5
_LARGEST_PLAIN: Final = 2**53


class Prepared:
    """A value whose canonical bytes are made once, to stand in many values given to `canonical`.

    Raises:
        InvalidInput: as `canonical`.
    """

    __slots__ = ("_bytes", "_fragment")

    def __init__(self, value: JsonValue) -> None:
        self._bytes = canonical(value)
        self._fragment = orjson.Fragment(self._bytes)

    def value(self) -> Any:
        """The value itself, read back."""
        return _with_doubles(orjson.loads(self._bytes))

    @staticmethod
    def fragment(value: object) -> orjson.Fragment:
        """For orjson: the bytes in place of the value."""
        if isinstance(value, Prepared):
            return value._fragment
        raise TypeError(f"{type(value).__name__} is not JSON")


#: A prepared part is canonical already.
_SCALARS: Final = frozenset({str, int, bool, type(None), Prepared})
_CONTAINERS: Final = frozenset({dict, list, tuple})


def canonical(value: object) -> bytes:
    """The canonical bytes of a JSON value, parts of which may be `Prepared`.

    Raises:
        InvalidInput: the value has no canonical form; the message says why.

    Source: RFC 8785.
    """
    try:
        if _is_plain(value):
            written = orjson.dumps(value, default=Prepared.fragment, option=_FAST)
            if written.isascii() or _has_ascii_keys(value):
                return written
    except (orjson.JSONEncodeError, RecursionError):
        pass  # the general way either succeeds or says what is wrong
    try:
        return rfc8785.dumps(_as_builtin(value))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as refusal:
        raise InvalidInput(f"not representable as canonical JSON (RFC 8785): {refusal}") from refusal


def canonical_again(parsed: JsonValue) -> bytes:
    """The canonical bytes of a value that was read from JSON text, where every number stands for a double.

    A double like 2^60 is written as an integer, which Python reads as one; here it counts as the double it was.

    Raises:
        InvalidInput: as `canonical`.
    """
    return canonical(_with_doubles(parsed))


def _is_plain(value: Any) -> bool:
    """Whether orjson is certain to write the canonical form, keys apart, provided it accepts the value at all.

    Exact types only. Floats must have a fraction, because JCS writes 1.0 as 1. Every entry passes through here on the
    event loop, so scalars are judged in the loop instead of by a call each.
    """
    kind = type(value)
    items = value.values() if kind is dict else value if kind in _CONTAINERS else (value,)
    for item in items:
        kind = type(item)
        if kind in _SCALARS:
            continue
        if kind is float:
            if not _SMALLEST_PLAIN <= abs(item) < _LARGEST_PLAIN or item.is_integer():
                return False
        elif kind not in _CONTAINERS or not _is_plain(item):
            return False
    return True


def _has_ascii_keys(value: Any) -> bool:
    """Whether sorting keys by UTF-8 bytes, as orjson does, is certain to sort them by UTF-16 units, as JCS asks."""
    if isinstance(value, dict):
        return all(key.isascii() and _has_ascii_keys(item) for key, item in value.items())
    return not isinstance(value, list | tuple) or all(map(_has_ascii_keys, value))


def _as_builtin(value: Any) -> Any:
    """The same value with every mapping as a dict, which is what `rfc8785` asks for, and prepared parts as they were."""
    if isinstance(value, Prepared):
        return value.value()
    if isinstance(value, Mapping):
        return {key: _as_builtin(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_builtin(item) for item in value]
    return value


def _with_doubles(parsed: Any) -> Any:
    if isinstance(parsed, dict):
        return {key: _with_doubles(item) for key, item in parsed.items()}
    if isinstance(parsed, list):
        return [_with_doubles(item) for item in parsed]
    return float(parsed) if type(parsed) is int and abs(parsed) >= _LARGEST_PLAIN else parsed
