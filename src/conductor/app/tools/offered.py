"""A tool as it is offered: name, words, the forms of its arguments and of its answer, hints, and the call itself.

Arguments are checked here, before anything is done, and every refusal names the argument and the remedy. Which tools
there are is `app.tool_list`; how a protocol writes them down is the face's.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from conductor.app.malformed import field_of, sentence
from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject, JsonValue


class Arguments(BaseModel):
    """What a tool is called with. Only what is described is taken, and JSON has types: `"5"` is no number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NoArguments(Arguments):
    """For tools that need none."""


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


class Report(Protocol):
    """Where a call that takes long says how far it has come. Returns at once and never fails; often nobody listens."""

    def __call__(self, progress: float, message: str, *, total: float | None = None, detail: bool = False) -> None:
        """Say it.

        Args:
            progress: grows from one report to the next, in a unit of the tool's own.
            message: for people, a few words.
            total: what `progress` will be at the end, where that is known.
            detail: more of the same, not a new step.
        """
        ...


def unheard(progress: float, message: str, *, total: float | None = None, detail: bool = False) -> None:
    """The report that nobody listens to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTool(Generic[ArgumentsT]):
    """One tool.

    Args:
        name: `[a-z_]+`, stable.
        title, description: for people, and for the model that chooses among tools.
        arguments: their form.
        answer: a `TypedDict`, the form of what `act` returns.
        act: does it; raises `ConductorError`. Takes the arguments, and a `Report` where `reports` is set.
        reads_only: changes nothing.
        destroys: may undo or end what somebody else wanted.
        repeatable: calling it twice with the same arguments is the same as once.
        reaches_out: what it does may touch the world outside of this installation.
        spoken: the member of the answer that is text for people; empty where the whole answer is.
        remarks: the member of the answer that is a list of sentences about it, told beside what is spoken.
        forms: gives JSON Schemas of arguments whose form only the installation knows, by name; `act` checks them.
    """

    name: str
    title: str
    description: str
    arguments: type[ArgumentsT]
    answer: type[Any]
    act: Callable[..., Awaitable[Mapping[str, Any]]]
    reports: bool = False
    reads_only: bool = True
    destroys: bool = False
    repeatable: bool = True
    reaches_out: bool = False
    spoken: str = ""
    remarks: str = ""
    forms: Callable[[], Mapping[str, JsonObject]] = dict

    @property
    def input_schema(self) -> JsonObject:
        """JSON Schema 2020-12 of the arguments, an object."""
        schema = _input_schema(self.arguments)
        forms = self.forms()
        if not forms:
            return schema
        properties: Any = schema["properties"]
        known = {name: {**properties[name], **_plain(dict(form))} for name, form in forms.items()}
        return {**schema, "properties": {**properties, **known}}

    @property
    def output_schema(self) -> JsonObject:
        """JSON Schema 2020-12 of the answer, an object."""
        return _output_schema(self.answer)  # type: ignore[arg-type]  # a class is hashable

    async def call(self, arguments: Mapping[str, Any], report: Report = unheard) -> Mapping[str, Any]:
        """Do it, and say meanwhile how far it has come.

        Raises:
            InvalidInput: an argument is missing, unknown or of the wrong form; named in `field`.
            ConductorError: whatever the use case refuses.
        """
        try:
            given = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise _refusal(error, self) from None
        return await (self.act(given, report) if self.reports else self.act(given))


def _refusal(error: ValidationError, tool: OfferedTool[Any]) -> InvalidInput:
    """The first fault as one of our errors, all of them in its details."""
    faults = error.errors(include_url=False)[:10]
    told: list[JsonValue] = [{"field": field_of(fault), "message": sentence(fault)} for fault in faults]
    return InvalidInput(
        f"{sentence(faults[0])}; {tool.name} takes {_taken(tool)}",
        field=field_of(faults[0]) or None,
        details={"errors": told},
    )


def _taken(tool: OfferedTool[Any]) -> str:
    names = [
        name if field.is_required() else f"{name} (optional)" for name, field in tool.arguments.model_fields.items()
    ]
    return ", ".join(names) or "no arguments"


@cache
def _input_schema(kind: type[Arguments]) -> JsonObject:
    schema: dict[str, Any] = _plain(kind.model_json_schema())
    schema.pop("description", None)  # the class's docstring is for readers of the code
    return schema


@cache
def _output_schema(kind: Any) -> JsonObject:
    schema: dict[str, Any] = _plain(TypeAdapter(kind).json_schema(mode="serialization"))
    schema.pop("description", None)
    return schema


def _plain(schema: Any) -> Any:
    """Shorter: without the titles that pydantic makes of names, and with `null` unsaid where leaving out says the same.

    Models read these schemas, and pay for every word.
    """
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "default" in schema and schema["default"] is None and len(schema.get("anyOf", ())) == 2:
        said = next(part for part in schema["anyOf"] if part != {"type": "null"})
        schema = {name: part for name, part in schema.items() if name not in ("anyOf", "default")} | said
    return {
        name: {key: _plain(part) for key, part in value.items()} if name in ("properties", "$defs") else _plain(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str))
    }
