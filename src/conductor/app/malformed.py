"""Say in our own words what is wrong with a request or a command line, where its reading stopped with pydantic's.

Each sentence names the field, what it is, and what it must be; of a fixed set of values the nearest. What is not worded here
is told without the library's words too, since those speak of its types and not of what a person should send.
"""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final

_LONGEST: Final = 60
_OURS: Final = "Value error, "
#: How typer words a value that is none of a parameter's choices.
_CHOICES: Final = re.compile(r"(?s)Value error, .* is not one of ('.*')\.")
#: What a value must be, by the beginning of the error's type.
_KINDS: Final = MappingProxyType(
    {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "string_unicode": "valid unicode text",
        "string_type": "text",
        "list": "a list",
        "tuple": "a list",
        "dict": "an object",
        "mapping": "an object",
        "model": "an object",
        "finite_number": "a finite number",
    }
)
_BOUNDS: Final = MappingProxyType(
    {
        "greater_than_equal": "{ge} or greater",
        "greater_than": "greater than {gt}",
        "less_than_equal": "{le} or less",
        "less_than": "less than {lt}",
        "string_too_short": "at least {min_length} characters long",
        "string_too_long": "at most {max_length} characters long",
        "too_short": "at least {min_length} items long",
        "too_long": "at most {max_length} items long",
        "string_pattern_mismatch": "of the form {pattern}",
    }
)


def field_of(error: Mapping[str, Any]) -> str:
    """The dotted path of the input at fault; empty where it is the whole request."""
    if error["type"] == "json_invalid":
        return ""
    return ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path", "header"))


def sentence(error: Mapping[str, Any], *, name: str = "", others: Sequence[Mapping[str, Any]] = ()) -> str:
    """One of pydantic's errors, for people; about `name` where the error does not know what was read.

    Args:
        others: why the value is none of the other kinds either that it may be of.
    """
    kind, context = str(error["type"]), error.get("ctx") or {}
    name = name or field_of(error) or "the request"
    if kind == "missing":
        return f"{name} is required, and missing"
    if kind == "json_invalid":
        return f"the request is no JSON: {context.get('error', 'it cannot be read')}"
    if kind == "extra_forbidden":
        return f"{name} is no field that is known here; leave it out, or correct its name"
    if kind == "value_error":
        choices = _CHOICES.fullmatch(str(error["msg"]))
        if choices is None:
            return f"{name}: {str(error['msg']).removeprefix(_OURS)}"
        kind, context = "enum", {"expected": choices[1]}
    said = f"{name} is {_shown(error.get('input'))}; {_wanted(kind, context, error.get('input'))}"
    forms = (_form(str(other["type"])) for other in others)
    return " or ".join(dict.fromkeys((said, *(form for form in forms if form is not None))))


def _wanted(kind: str, context: Mapping[str, Any], given: object) -> str:
    if kind in ("enum", "literal_error"):
        named = (value.strip("' ") for value in str(context["expected"]).replace(" or ", ", ").split(","))
        values = [value for value in named if value]  # an empty one, where it may be left out, says nothing to people
        if len(values) == 1:
            return f"it must be {values[0]}"
        return f"it must be one of {', '.join(values)}{_nearest(given, values)}"
    if kind in _BOUNDS:
        return f"it must be {_BOUNDS[kind].format(**context)}"
    form = _form(kind)
    return "that cannot be used here" if form is None else f"it must be {form}"


def _form(kind: str) -> str | None:
    return next((form for beginning, form in _KINDS.items() if kind.startswith(beginning)), None)


def _nearest(given: object, values: list[str]) -> str:
    by_letters = {value.lower(): value for value in values}
    close = get_close_matches(str(given).lower(), by_letters, n=1, cutoff=0.6)
    return f"; did you mean {by_letters[close[0]]}?" if close else ""


def _shown(value: object) -> str:
    """A value as its sender wrote it, not too much of it."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or no end of nesting
        return "something that cannot be shown"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
