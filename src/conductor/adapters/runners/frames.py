"""What the server and an engine process say to each other: frames of four bytes of length and that much JSON.

Server to engine: `{"do": "generate", "id", "asked", "trace"}`, `{"do": "cancel", "id"}`, `{"do": "count", "id", "asked"}`,
`{"do": "embed", "id", "texts"}`, `{"do": "warm", "id", "messages"}`. Engine to server: first `{"ready": facts, "notes"}` or
`{"error"}`, then for a request `{"id", "piece"}`, `{"id", "count"}`, `{"id", "vectors", "usage"}`, `{"id", "warmed"}` or
`{"id", "error"}`; `{"computed"}` at the end of an answer, for the log; and `{}` as a sign of life. JSON, so that an engine
misled by a model file can lie but not execute.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from conductor.domain.errors import ConductorError, InvalidInput, ModelError, NotFound
from conductor.domain.generation import (
    Finish,
    Generation,
    Message,
    Picture,
    Piece,
    Role,
    Sampling,
    TokenScore,
    Tool,
    ToolCall,
    Usage,
)
from conductor.domain.model import ModelName, Precision
from conductor.domain.units import MIB
from conductor.serving.ports import RunnerFacts

#: The longest frame either side reads: far more than any context holds, as text or as vectors.
LONGEST_FRAME: Final = 64 * MIB
#: Bytes of the length in front of a frame, big-endian.
LENGTH: Final = struct.Struct(">I")
_LONGEST_TRACE: Final = 32
_FIGURES: Final = (
    *("prompt_tokens", "completion_tokens", "cached_tokens"),
    *("first_token_ms", "duration_ms", "finish", "error_code"),
)
_ERRORS: Final[Mapping[str, type[ConductorError]]] = {kind.code: kind for kind in (InvalidInput, NotFound, ModelError)}


def frame(message: Mapping[str, Any]) -> bytes:
    """A message with its length in front.

    Raises:
        InvalidInput: it is longer than the other side reads.
    """
    content = orjson.dumps(message)
    if len(content) > LONGEST_FRAME:
        raise InvalidInput(f"a request of {len(content):,} bytes is longer than the {LONGEST_FRAME:,} that are read")
    return LENGTH.pack(len(content)) + content


def length_of(head: bytes) -> int:
    """How long the frame behind its first four bytes is.

    Raises:
        ValueError: longer than may be read.
    """
    (length,) = LENGTH.unpack(head)
    if length > LONGEST_FRAME:
        raise ValueError(f"a frame of {length:,} bytes")
    return int(length)


def message(content: bytes) -> dict[str, Any]:
    """A frame's content as a message.

    Raises:
        ValueError: it is none.
    """
    found = orjson.loads(content)
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004  # one error for whatever is no message
    return found


def asked_as_data(asked: Generation) -> dict[str, Any]:
    """A request as JSON data."""
    return asdict(asked)


def asked_of(data: Mapping[str, Any]) -> Generation:
    """A request from JSON data that `asked_as_data` made."""
    return Generation(
        messages=messages_of(data["messages"]),
        prompt=data["prompt"],
        suffix=data["suffix"],
        sampling=Sampling(**{**data["sampling"], "stop": tuple(data["sampling"]["stop"])}),
        form=data["form"],
        tools=tuple(Tool(**each) for each in data["tools"]),
        tool_choice=data["tool_choice"],
        languages=None if data["languages"] is None else (data["languages"][0], data["languages"][1]),
    )


def messages_as_data(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns as JSON data."""
    return [asdict(message) for message in messages]


def messages_of(data: Iterable[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Turns from JSON data that `messages_as_data` made."""
    return tuple(_message(each) for each in data)


def _message(data: Mapping[str, Any]) -> Message:
    calls = tuple(ToolCall(**each) for each in data["tool_calls"])
    parts = tuple(each if isinstance(each, str) else Picture(**each) for each in data["parts"])
    return Message(**{**data, "role": Role(data["role"]), "tool_calls": calls, "parts": parts})


def piece_as_data(piece: Piece) -> dict[str, Any]:
    """A piece as JSON data, without what is empty: most are a few letters."""
    data: dict[str, Any] = {"text": piece.text}
    if piece.tool_calls:
        data["tool_calls"] = [asdict(call) for call in piece.tool_calls]
    if piece.scores:
        data["scores"] = [[score.token, score.logprob, score.top] for score in piece.scores]
    if piece.finish is not None:
        data["finish"] = piece.finish.value
    if piece.usage is not None:
        data["usage"] = asdict(piece.usage)
    if piece.reasoning:
        data["reasoning"] = piece.reasoning
    return data


def piece_of(data: Mapping[str, Any]) -> Piece:
    """A piece from JSON data.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    return Piece(
        text=str(data["text"]),
        tool_calls=tuple(ToolCall(**call) for call in data.get("tool_calls", ())),
        scores=tuple(
            TokenScore(str(token), float(logprob), tuple((str(other), float(score)) for other, score in top))
            for token, logprob, top in data.get("scores", ())
        ),
        finish=Finish(data["finish"]) if "finish" in data else None,
        usage=Usage(**data["usage"]) if "usage" in data else None,
        reasoning=str(data.get("reasoning", "")),
    )


def error_as_data(error: ConductorError) -> dict[str, Any]:
    """An error as JSON data."""
    return {"code": error.code, "message": error.message, "field": error.field, "details": error.details}


def error_of(data: Mapping[str, Any]) -> ConductorError:
    """An error from JSON data; a code that engines do not send is the model's failure."""
    kind = _ERRORS.get(str(data.get("code")), ModelError)
    return kind(str(data.get("message")), field=data.get("field"), details=data.get("details"))


def figures_of(computed: Mapping[str, Any]) -> dict[str, Any]:
    """What an engine tells the log of an answer: the trace that it was told, and figures; anything else is left out."""
    figures = {name: computed[name] for name in _FIGURES if isinstance(computed.get(name), str | int)}
    return {"trace_id": str(computed.get("trace", ""))[:_LONGEST_TRACE], **figures}


def facts_as_data(facts: RunnerFacts) -> dict[str, Any]:
    """What a loaded model is, as JSON data."""
    return asdict(facts)


def facts_of(data: Mapping[str, Any]) -> RunnerFacts:
    """What a loaded model is, from JSON data.

    Raises:
        ValueError, KeyError, TypeError: it is not.
    """
    precision = None if data["precision"] is None else Precision(data["precision"])
    notes = tuple(map(str, data.get("notes", ())))
    memory_on = tuple((str(device), int(count)) for device, count in data.get("memory_on", ()))
    return RunnerFacts(
        **{**data, "memory_on": memory_on, "precision": precision, "model": ModelName(data["model"]), "notes": notes}
    )
