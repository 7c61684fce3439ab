"""What clients send, read into types: unknown fields are let pass, known ones must be right.

Fields that would change the answer and cannot be heeded are refused by name rather than passed over; fields that change
nothing here (`user`, `store`, `metadata`, `service_tier` …) are let pass.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from conductor.app.json_forms import check_schema
from conductor.app.whole_numbers import WHOLE
from conductor.domain.generation import Message, Picture, Role, Tool, ToolCall
from conductor.domain.json import JsonObject
from conductor.domain.plain_data import check_plain, check_text
from conductor.faces.http.openai.content import UNSUPPORTED, parts_of, text_of
from conductor.faces.http.openai.errors import Refused

_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_MOST_TEXTS: Final = 2048
#: Of `Sampling`, under the same names.
_SAMPLING: Final = (
    "temperature",
    "top_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "max_tokens",
)
_ROLES: Final[Mapping[str, Role]] = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}

_Model = Annotated[str, Field(min_length=1, max_length=1000)]
_Stop = Annotated[str, Field(min_length=1, max_length=1000)]


class Lenient(BaseModel):
    """Known fields are strict, others are let pass."""

    model_config = ConfigDict(extra="ignore", strict=True)


class StreamOptions(Lenient):
    """How a stream is told."""

    include_usage: bool | None = None


class Sampled(Lenient):
    """What chat completions and completions share."""

    model: _Model
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    repetition_penalty: float | None = Field(None, gt=0, le=10, allow_inf_nan=False)
    frequency_penalty: float | None = Field(None, ge=-2, le=2, allow_inf_nan=False)
    presence_penalty: float | None = Field(None, ge=-2, le=2, allow_inf_nan=False)
    logit_bias: dict[str, float] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31), WHOLE] | None = None
    n: Annotated[int, Field(ge=1, le=128), WHOLE] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    def check_heeded(self) -> None:
        """Refuse what cannot be heeded.

        Raises:
            Refused: a field is set that would change the answer.
        """
        if self.logit_bias:
            raise Refused("logit_bias is not supported here; leave it out", param="logit_bias", code=UNSUPPORTED)
        if self.stream_options is not None and not self.stream:
            raise Refused("stream_options is for streams; set stream, or leave it out", param="stream_options")

    def said(self) -> dict[str, Any]:
        """What the client says about sampling, by the domain's names."""
        said: dict[str, Any] = {name: value for name in _SAMPLING if (value := getattr(self, name)) is not None}
        if self.seed is not None:
            said["seed"] = self.seed % 2**63
        if said.get("top_p") == 0:  # nothing but the likeliest token
            said |= {"top_p": 1.0, "temperature": 0.0}
        return said | ({"stop": stop} if (stop := self._stop()) else {})

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def _stop(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class FunctionCallIn(Lenient):
    """A call that the model asked for earlier."""

    name: str = Field(min_length=1, max_length=200)
    arguments: str = Field(max_length=1_000_000)


class ToolCallIn(Lenient):
    """The same, with its id."""

    id: str = Field(min_length=1, max_length=200)
    type: Literal["function"] = "function"
    function: FunctionCallIn


class MessageIn(Lenient):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    name: str | None = Field(None, max_length=200)
    tool_calls: list[ToolCallIn] | None = Field(None, max_length=128)
    tool_call_id: str | None = Field(None, max_length=200)

    def to_domain(self, place: int) -> Message:
        """The turn as models are told it; `place` is its number, for errors."""
        where = f"messages[{place}]"
        calls = tuple(
            ToolCall(call_id=call.id, name=call.function.name, arguments=call.function.arguments)
            for call in self.tool_calls or ()
        )
        role = _ROLES[self.role]
        parts = parts_of(self.content, f"{where}.content", role)
        text = text_of(parts) or self.refusal or ""
        if self.content is None and not (calls or text):
            raise Refused(f"{where}.content is missing", param=f"{where}.content", code="missing_required_parameter")
        if calls and self.role != "assistant":
            raise Refused(f"{where}.tool_calls is for the assistant's turns", param=f"{where}.tool_calls")
        if self.role == "tool" and not self.tool_call_id:
            raise Refused(
                f"{where}.tool_call_id is missing: name the call that it answers",
                param=f"{where}.tool_call_id",
                code="missing_required_parameter",
            )
        return Message(
            role=role,
            content=text,
            name=self.name or "",
            tool_calls=calls,
            tool_call_id=self.tool_call_id or "",
            parts=parts if any(isinstance(part, Picture) for part in parts) else (),
        )


class FunctionIn(Lenient):
    """A function that the model may ask for; `parameters` is a JSON Schema."""

    name: str
    description: str | None = Field(None, max_length=100_000)
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolIn(Lenient):
    """A tool."""

    type: Literal["function"]
    function: FunctionIn


class JsonSchemaIn(Lenient):
    """A form with a name."""

    name: str = Field(min_length=1, max_length=64)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Lenient):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaIn | None = None


class ChatIn(Sampled):
    """`POST /v1/chat/completions`."""

    messages: list[MessageIn] = Field(min_length=1, max_length=10_000)
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31), WHOLE] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = None
    tools: list[ToolIn] | None = Field(None, max_length=128)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    modalities: list[str] | None = None
    functions: list[Any] | None = None
    function_call: Any = None

    def check_heeded(self) -> None:
        """As `Sampled.check_heeded`."""
        super().check_heeded()
        for name in ("functions", "function_call"):
            if getattr(self, name):
                raise Refused(f"{name} is the old name of tools; send tools instead", param=name, code=UNSUPPORTED)
        if self.modalities not in (None, [], ["text"]):
            raise Refused("modalities: only text is written here", param="modalities", code=UNSUPPORTED)
        if self.top_logprobs is not None and not self.logprobs:
            raise Refused("top_logprobs needs logprobs to be true", param="top_logprobs")

    def said(self) -> dict[str, Any]:
        """As `Sampled.said`."""
        said = super().said()
        if self.max_completion_tokens is not None:
            said["max_tokens"] = self.max_completion_tokens
        return said | ({"top_scores": self.top_logprobs or 0} if self.logprobs else {})

    def conversation(self) -> tuple[Message, ...]:
        """The turns."""
        return tuple(message.to_domain(place) for place, message in enumerate(self.messages))

    def offered_tools(self) -> tuple[tuple[Tool, ...], str]:
        """The tools, and `auto`, `none`, `required` or the name of the one that must be called."""
        tools = tuple(_tool(tool.function, place) for place, tool in enumerate(self.tools or ()))
        names = [tool.name for tool in tools]
        if len(set(names)) < len(names):
            raise Refused("tools: two of them have one name", param="tools")
        choice = self.tool_choice
        if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
            tools, choice = _allowed(tools, choice)
        if isinstance(choice, dict):
            return tools, _chosen(choice, names)
        if choice not in (None, "auto", "none", "required"):
            raise Refused("tool_choice must be auto, none, required or a function", param="tool_choice")
        if choice == "required" and not tools:
            raise Refused("tool_choice is required, but there are no tools", param="tool_choice")
        return tools, choice or "auto"

    def form(self) -> JsonObject | None:
        """The schema that the answer must satisfy; None where it is free."""
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        if wanted.type == "json_object":
            return {"type": "object"}
        if wanted.json_schema is None:
            raise Refused(
                "response_format.json_schema is missing",
                param="response_format.json_schema",
                code="missing_required_parameter",
            )
        where = "response_format.json_schema.schema"
        if wanted.json_schema.schema_ is None:
            raise Refused(
                f'{where} is missing; for JSON of any form ask for {{"type": "json_object"}}',
                param=where,
                code="missing_required_parameter",
            )
        return _checked(wanted.json_schema.schema_, where)


class CompletionIn(Sampled):
    """`POST /v1/completions`."""

    prompt: str | list[Any] | None = "<|endoftext|>"
    suffix: str | None = None
    best_of: Annotated[int, Field(ge=1, le=20), WHOLE] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5), WHOLE] | None = None

    def check_heeded(self) -> None:
        """As `Sampled.check_heeded`."""
        super().check_heeded()
        if self.best_of is not None and self.best_of > (self.n or 1):
            raise Refused("best_of above n is not supported here; leave it out", param="best_of", code=UNSUPPORTED)

    def said(self) -> dict[str, Any]:
        """As `Sampled.said`."""
        return super().said() | ({} if self.logprobs is None else {"top_scores": self.logprobs})

    def prompts(self) -> list[str]:
        """The texts to go on with."""
        return _texts("" if self.prompt is None else self.prompt, "prompt", most=128)


class EmbeddingsIn(Lenient):
    """`POST /v1/embeddings`."""

    model: _Model
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=2**31), WHOLE] | None = None

    def texts(self) -> list[str]:
        """The texts to embed."""
        texts = _texts(self.input, "input", most=_MOST_TEXTS)
        for place, text in enumerate(texts):
            if not text:
                raise Refused(f"input[{place}] is empty", param=f"input[{place}]")
        return texts


def _texts(given: str | list[Any], name: str, *, most: int) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not 1 <= len(texts) <= most:
        raise Refused(f"{name} has {len(texts)} texts; 1 to {most} are taken", param=name)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise Refused(
                f"{name}[{place}] is no text; tokens mean something else to each model, so send text",
                param=f"{name}[{place}]",
                code="invalid_type",
            )
        check_text(text, field=f"{name}[{place}]")
    return texts


def _tool(function: FunctionIn, place: int) -> Tool:
    where = f"tools[{place}].function"
    if not _TOOL_NAME.fullmatch(function.name):
        raise Refused(
            f"{where}.name must be 1 to 64 letters, digits, underscores, hyphens or dots", param=f"{where}.name"
        )
    parameters = function.parameters or {"type": "object", "properties": {}}
    if parameters.get("type", "object") != "object":
        raise Refused(
            f"{where}.parameters must be the JSON Schema of an object: its type must be object",
            param=f"{where}.parameters",
        )
    return Tool(
        name=function.name,
        description=function.description or "",
        parameters=_checked(parameters, f"{where}.parameters"),
    )


def _allowed(tools: tuple[Tool, ...], choice: dict[str, Any]) -> tuple[tuple[Tool, ...], str]:
    """The tools that are allowed this time, and how much they are wanted."""
    allowed = choice.get("allowed_tools")
    listed = allowed.get("tools") if isinstance(allowed, dict) else None
    mode = allowed.get("mode") if isinstance(allowed, dict) else None
    if not isinstance(listed, list) or mode not in ("auto", "required"):
        raise Refused("tool_choice.allowed_tools needs mode (auto or required) and tools", param="tool_choice")
    names = [tool.name for tool in tools]
    allowed = {_chosen(one, names) for one in listed}
    return tuple(tool for tool in tools if tool.name in allowed), mode


def _chosen(choice: object, names: list[str]) -> str:
    """The name of the function that a choice means, which must be among these."""
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(choice, dict) or choice.get("type") != "function" or not isinstance(name, str):
        raise Refused(
            'tool_choice names functions as {"type": "function", "function": {"name": …}}', param="tool_choice"
        )
    if name not in names:
        raise Refused(f"tool_choice names {name[:64]!r}, which is no function among tools", param="tool_choice")
    return name


def _checked(schema: dict[str, Any], where: str) -> JsonObject:
    check_plain(schema, field=where)
    check_schema(schema, field=where)
    return schema
