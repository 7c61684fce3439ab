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
_SCALARS: Final = frozenset({str, int, bool, type(None)})


def canonical(value: JsonValue) -> bytes:
    """The canonical bytes of a JSON value.

    Raises:
        InvalidInput: the value has no canonical form; the message says why.

    Source: RFC 8785.
    """
    try:
        if _is_plain(value):
            return orjson.dumps(value, option=_FAST)
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
    """Whether orjson is certain to write the canonical form, provided it accepts the value at all.

    Exact types only. Keys are ASCII, because orjson sorts by UTF-8 bytes and JCS by UTF-16 units. Floats have a
    fraction, because JCS writes 1.0 as 1.
    """
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is float:
        return _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN and not value.is_integer()
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                return False
            if type(item) not in _SCALARS and not _is_plain(item):
                return False
        return True
    if kind is list or kind is tuple:
        return all(type(item) in _SCALARS or _is_plain(item) for item in value)
    return False


def _as_builtin(value: Any) -> Any:
    """The same value with every mapping as a dict, which is what `rfc8785` asks for."""
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
