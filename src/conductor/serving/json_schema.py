"""Judge JSON against a schema, find JSON in what a model wrote, and tell where its values stand in a text.

Checking is the `jsonschema` package's, Draft 2020-12 unless the schema names another. References lead into the schema
itself and nowhere else: nothing is ever fetched. A schema comes from outside, so its depth, size and patterns are bounded:
a pattern that repeats repetitions can take for ever on a short text.

Not covered: `format` is not asserted, as the specification leaves it.

Source: JSON Schema Draft 2020-12, Core and Validation.
"""

import importlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject, JsonValue
from conductor.serving.texts.numerals import numbers, reading
from conductor.serving.texts.quotations import Span, find_quotation
from conductor.serving.texts.thoughts import thoughts_apart

_LONGEST_SCHEMA: Final = 200_000
_DEEPEST: Final = 60
_LONGEST_PATTERN: Final = 300
_MOST_PROBLEMS: Final = 20
_FENCE: Final = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_REPEATED_REPETITION: Final = re.compile(r"[+*}]\??[^()\\]*\)\s*(?:[+*]|\{\d*,)|\|[^()]*\)\s*(?:[+*]|\{\d*,)")
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


class Problem(NamedTuple):
    """Where a value is wrong, as JSON Pointer from the root, and how."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or '/'}: {self.message}"


class Schema:
    """A schema that may be used.

    Raises:
        InvalidInput: it is no valid schema, refers to something outside of itself, or is beyond the bounds; the place in
            it is named. Also where the extra is missing.
    """

    def __init__(self, schema: JsonObject) -> None:
        if importlib.util.find_spec("jsonschema") is None:
            raise InvalidInput("checking JSON against a schema needs an extra: pip install 'conductor[schema]'")
        self.schema = _bounded(schema)
        validators: Any = importlib.import_module("jsonschema.validators")
        exceptions: Any = importlib.import_module("jsonschema.exceptions")
        registry: Any = importlib.import_module("referencing").Registry()
        kind = validators.validator_for(self.schema, default=validators.Draft202012Validator)
        try:
            kind.check_schema(self.schema)
        except exceptions.SchemaError as wrong:
            place = _pointer(wrong.absolute_path)
            raise InvalidInput(f"schema{place}: {wrong.message[:300]}", field=f"schema{place}") from None
        # An empty registry knows the schema and the published drafts; it has no way to fetch.
        self._validator: Any = kind(self.schema, registry=registry)
        self._unresolvable: Any = importlib.import_module("referencing.exceptions").Unresolvable

    def problems(self, value: JsonValue) -> list[Problem]:
        """What is wrong with the value, at most twenty, in order of their places; empty when it satisfies the schema.

        Raises:
            InvalidInput: a reference of the schema leads nowhere, or it refers to itself without end.
        """
        try:
            found = list(islice(self._validator.iter_errors(value), _MOST_PROBLEMS))
        except self._unresolvable as lost:
            raise InvalidInput(f"schema: a reference leads nowhere: {lost}"[:300], field="schema") from None
        except RecursionError:
            raise InvalidInput(
                "schema: it refers to itself without end, or the value is nested too deeply", field="schema"
            ) from None
        return sorted(Problem(_pointer(one.absolute_path), one.message[:300]) for one in found)


def json_in(written: str) -> JsonValue:
    """The JSON that a model wrote: all of it, or behind its thoughts: in a code block, or the first object that closes.

    Raises:
        InvalidInput: there is none; the message is the parser's.
    """
    first = ""
    said = thoughts_apart(written)[1]
    for candidate in (written, said, *(block[1] for block in _FENCE.finditer(said))):
        try:
            return parsed(candidate)
        except InvalidInput as broken:
            first = first or broken.message
    for opened in islice(re.finditer(r"[{\[]", said), 20):
        try:
            value, _ = json.JSONDecoder(parse_constant=_no_constant).raw_decode(said, opened.start())
            if isinstance(value, dict | list) and value:
                return _sayable(value)
        except (ValueError, RecursionError):
            continue
    raise InvalidInput(first)


def parsed(text: str) -> JsonValue:
    """Strict JSON: no NaN, no infinity (nor a number too large to be anything else), no halves of characters.

    Raises:
        InvalidInput: it is none; the message says where.
    """
    try:
        return _sayable(json.loads(text, parse_constant=_no_constant))
    except json.JSONDecodeError as broken:
        raise InvalidInput(f"no JSON: {broken.msg} in line {broken.lineno}, column {broken.colno}") from None
    except (ValueError, RecursionError) as broken:
        raise InvalidInput(f"no JSON: {broken}"[:200]) from None


def evidence(value: JsonValue, source: str) -> dict[str, Span | None]:
    """Where each string and number of the value stands in the text, by JSON Pointer; None where it does not.

    Empty strings, booleans and null need no evidence and are left out.
    """
    return {path: _place(leaf, source) for path, leaf in _leaves(value, ())}


def _place(leaf: str | float, source: str) -> Span | None:
    if isinstance(leaf, str):
        return find_quotation(leaf, source) or find_quotation(_small(leaf), _small(source))
    value = reading(leaf)
    return next((at for at, values in numbers(source) if value in values), None)


def _small(text: str) -> str:
    """In small letters, place by place: where one letter would become two, it stays, so that places stay too."""
    return "".join(small if len(small := sign.lower()) == 1 else sign for sign in text)


def _leaves(value: JsonValue, path: tuple[str | int, ...]) -> Iterator[tuple[str, str | float]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        if value != "":
            yield _pointer(path), value
    elif isinstance(value, Sequence):
        for place, inner in enumerate(value):
            yield from _leaves(inner, (*path, place))


def _bounded(schema: JsonObject) -> dict[str, Any]:
    try:
        text = json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as wrong:
        raise InvalidInput(f"schema: it is no JSON: {wrong}"[:200], field="schema") from None
    if len(text) > _LONGEST_SCHEMA:
        raise InvalidInput(f"schema: at most {_LONGEST_SCHEMA:,} characters are taken", field="schema")
    plain = json.loads(text)
    if not isinstance(plain, dict):
        raise InvalidInput("schema: it must be an object", field="schema")
    own = {named for path, named in _named(plain, ()) if path[-1] == "$id"}
    for path, said in _named(plain, ()):
        _check(path, said, own)
        if path[-1] == "$ref" and said.startswith("#/") and not own and not _leads_somewhere(plain, said):
            place = _pointer(path)
            raise InvalidInput(
                f"schema{place}: {said[:100]!r} leads nowhere; put what it means under $defs", field=f"schema{place}"
            )
    return plain


def _leads_somewhere(schema: Any, reference: str) -> bool:
    """Whether a JSON Pointer (RFC 6901, 6) of a schema that has no parts with addresses of their own finds a schema."""
    found = schema
    for name in unquote(reference).split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return False
    return isinstance(found, dict | bool)


def _check(path: tuple[str | int, ...], said: str, own: set[str]) -> None:
    place = _pointer(path)
    if path[-1] in _REFERENCES and not said.startswith("#") and said.partition("#")[0] not in own:
        raise InvalidInput(
            f"schema{place}: {said[:100]!r} leads out of the schema, and nothing is fetched; put it under $defs",
            field=f"schema{place}",
        )
    # A property may be named `pattern`; then its value is a schema and no text, and does not come here.
    is_pattern = path[-1] == "pattern" or (path[-1] == "" and len(path) > 1)
    if is_pattern and (len(said) > _LONGEST_PATTERN or _REPEATED_REPETITION.search(said)):
        raise InvalidInput(
            f"schema{place}: the pattern is longer than {_LONGEST_PATTERN} characters or repeats a repetition, which "
            "can take for ever; write it simpler",
            field=f"schema{place}",
        )


def _named(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text of a schema with its path; the names under `patternProperties` as texts of the path's end."""
    if len(path) > _DEEPEST:
        raise InvalidInput(f"schema: it is nested more than {_DEEPEST} levels deep", field="schema")
    if isinstance(value, str):
        if path:
            yield path, value
    elif isinstance(value, dict):
        if path and path[-1] == "patternProperties":
            yield from (((*path, ""), name) for name in value)
        for name, inner in value.items():
            if name not in {"const", "default", "examples", "enum"}:
                yield from _named(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _named(inner, (*path, place))


def _sayable(value: Any) -> JsonValue:
    """The value, if it can be written as JSON again: `1e999` is read as infinity, `\\ud800` as half a character."""
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    said: JsonValue = value
    return said


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _pointer(path: Any) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
