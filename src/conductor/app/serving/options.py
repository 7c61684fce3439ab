"""Read a caller's options for an engine out of plain JSON, by the engine's own type.

Only what the type declares is taken; what callers may not say for themselves (`owner`, and `sampling`, which has its own
fields) is refused like any unknown name.
"""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from conductor.app.malformed import field_of, sentence
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Sampling
from conductor.domain.json import JsonObject
from conductor.domain.plain_data import check_plain
from conductor.serving.engine import EngineOptions

_NOT_THE_CALLERS: Final = frozenset({"sampling", "owner"})
#: Arguments in a docstring, and their words on this line and the indented ones behind it.
_ARGUMENT: Final = re.compile(r"^    (\w+(?:, \w+)*): (.*\n(?:      .*\n)*)", re.MULTILINE)


def option_names(kind: type[EngineOptions]) -> tuple[str, ...]:
    """What a caller may say to this engine."""
    return tuple(field.name for field in dataclasses.fields(kind) if field.name not in _NOT_THE_CALLERS)


@cache
def options_form(kind: type[EngineOptions]) -> JsonObject:
    """JSON Schema of what a caller may say to this engine, described by the words of the type's own docstring."""
    whole: dict[str, Any] = _reader(kind).json_schema()  # type: ignore[arg-type]  # a class is hashable
    defined: dict[str, Any] = whole.get("$defs", {})
    properties: dict[str, Any] = {}
    for name in option_names(kind):
        said = _described(kind).get(name)
        properties[name] = _inlined(whole["properties"][name], defined) | ({"description": said} if said else {})
    return {"type": "object", "properties": properties, "additionalProperties": False}


def engine_options(kind: type[EngineOptions], given: JsonObject, *, sampling: Sampling, owner: str) -> EngineOptions:
    """The engine's options.

    Args:
        owner: whose conversations are meant, for engines that remember them.

    Raises:
        InvalidInput: an option is unknown or of the wrong form; named in `field`.
    """
    known = option_names(kind)
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"is {near[0]!r} meant?" if near else f"there are {', '.join(known) or 'none'}"
            raise InvalidInput(
                f"there is no option {name[:100]!r} for this engine; {meant}", field=f"options.{name[:100]}"
            )
    check_plain(given, field="options")
    try:
        options = _reader(kind).validate_python(dict(given))  # type: ignore[arg-type]  # a class is hashable
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise InvalidInput(f"options.{sentence(fault)}", field=f"options.{field_of(fault)}") from None
    changes: dict[str, Any] = {"sampling": sampling}
    if any(field.name == "owner" for field in dataclasses.fields(kind)):
        changes["owner"] = owner
    return dataclasses.replace(options, **changes)


def as_sent(refusal: InvalidInput, kind: type[EngineOptions]) -> InvalidInput:
    """An engine's refusal, by the caller's name of the option at fault: what engines call `target` is `options.target`."""
    path = refusal.field or ""
    name = re.split(r"[.\[/]", path, maxsplit=1)[0]
    if name not in option_names(kind):
        return refusal
    said = re.sub(rf"^{name}\b", f"options.{name}", refusal.message)
    return InvalidInput(said, field=f"options.{path}", details=refusal.details)


def completed(usual: Sampling, said: Mapping[str, Any]) -> Sampling:
    """The usual way of sampling with what the caller said in its place."""
    return dataclasses.replace(usual, **said) if said else usual


def _described(kind: type[EngineOptions]) -> dict[str, str]:
    """What the section about arguments of the type's docstring says of each."""
    section = (inspect.getdoc(kind) or "").partition("\nArgs:\n")[2].split("\n\n")[0] + "\n"
    return {name: " ".join(words.split()) for names, words in _ARGUMENT.findall(section) for name in names.split(", ")}


def _inlined(part: Any, defined: Mapping[str, Any], within: tuple[str, ...] = ()) -> Any:
    """A schema with what it refers to in its place: many who read schemas cannot follow references.

    What contains itself, which only free JSON does, is left open there.
    """
    if isinstance(part, list):
        return [_inlined(each, defined, within) for each in part]
    if not isinstance(part, dict):
        return part
    name = str(part.get("$ref", "")).removeprefix("#/$defs/")
    if name == "JsonValue" or name in within:
        return {}
    referred = _inlined(defined[name], defined, (*within, name)) if name else {}
    rest = {key: _inlined(value, defined, within) for key, value in part.items() if key != "$ref"}
    if isinstance(words := rest.get("description"), str):
        rest["description"] = words.partition("\n")[0]
    return {**referred, **rest}


@cache
def _reader(kind: type[EngineOptions]) -> TypeAdapter[EngineOptions]:
    return TypeAdapter(kind)
