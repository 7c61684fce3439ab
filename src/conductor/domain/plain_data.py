"""What we take as plain data from strangers: JSON that every reader of our records can hold.

Refused, with the path of the part at fault: what is no JSON, numbers that JSON cannot write, broken characters, and
nesting that would exhaust a parser. Not covered: size, which the edge bounds, and integers, which may be of any length.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final

from conductor.domain.errors import InvalidInput

#: Parsers give up between 128 and 255 levels; ours is asked to read documents that hold this data a few levels down.
DEEPEST: Final = 100


def check_plain(value: object, *, field: str, depth: int = DEEPEST) -> None:
    """See that a value is JSON data, at most `depth` levels deep.

    Raises:
        InvalidInput: it is not; names the path of the part at fault, for example `metadata.sizes[2]`.
    """
    if isinstance(value, str):
        check_text(value, field=field)
    elif isinstance(value, float):
        if not isfinite(value):
            raise InvalidInput(f"{field} is {value}, which JSON cannot hold; send a finite number", field=field)
    elif isinstance(value, Mapping | Sequence) and not isinstance(value, bytes | bytearray):
        if depth == 0:
            raise InvalidInput(f"{field[:80]}… is nested too deeply; {DEEPEST} levels are taken", field=field[:80])
        if isinstance(value, Mapping):
            _check_members(value, field, depth)
        else:
            for index, part in enumerate(value):
                check_plain(part, field=f"{field}[{index}]", depth=depth - 1)
    elif value is not None and not isinstance(value, int):
        raise InvalidInput(f"{field} is a {type(value).__name__}; send plain JSON data", field=field)


def check_text(text: str, *, field: str) -> None:
    """See that a text can be written as UTF-8.

    Raises:
        InvalidInput: it contains half a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            f"{field} contains half a surrogate pair and is not valid Unicode; send UTF-8 text", field=field
        ) from None


def check_name(name: str, *, field: str, longest: int) -> None:
    """See that a short name is text without control characters.

    Raises:
        InvalidInput: it is empty, longer than `longest` characters, or holds something else.
    """
    if not 1 <= len(name) <= longest or not name.isprintable():
        raise InvalidInput(
            f"{field} has {len(name)} characters; it must be 1 to {longest} printable characters", field=field
        )


def _check_members(value: Mapping[object, object], field: str, depth: int) -> None:
    for name, part in value.items():
        if not isinstance(name, str):
            raise InvalidInput(f"{field} has the key {name!r}; keys are text", field=field)
        check_text(name, field=field)
        check_plain(part, field=f"{field}.{name}", depth=depth - 1)
