"""What chat completions and completions share: who answered, in headers; the beginning of a stream; its end by an error."""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import Request, Response

from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.calls import CallDecision
from conductor.app.serving.decisions import AUTO
from conductor.app.serving.open_call import Call
from conductor.app.serving.serve import Serving
from conductor.domain.errors import ConductorError
from conductor.domain.generation import Piece
from conductor.faces.http.openai.chunks import error_event
from conductor.faces.http.openai.errors import error_document, internal_error
from conductor.faces.http.presence import Begun, Stream, while_connected

#: What a header may hold as it is; the percent sign marks the rest.
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

Conversation = Call[tuple[int, Piece]]
log = structlog.get_logger(__name__)


def headers_of(decision: CallDecision) -> dict[str, str]:
    """Who answers; and why, where Conductor chose."""
    chosen = {"X-Conductor-Model": decision.model, "X-Conductor-Category": decision.category}
    if decision.asked_for in AUTO:
        chosen["X-Conductor-Why"] = decision.why
    written = {name: quote(re.sub(r"\s+", " ", value), safe=_PLAIN) for name, value in chosen.items()}
    return {"x-request-id": decision.call_id, **written}


def cache_use(request: Request) -> CacheUse:
    """What the caller wants of kept answers."""
    return CacheUse.of(request.headers.get("cache-control", ""))


def fingerprint(serving: Serving) -> str:
    """The model table in force, in the form of the protocol."""
    return f"fp_{serving.digest[:12]}"


async def streamed(
    request: Request,
    call: Conversation,
    write: Callable[[AsyncGenerator[tuple[int, Piece], None]], AsyncGenerator[bytes, None]],
    cache: CacheUse,
) -> Response:
    """A stream that begins with the first piece, so that what fails before it is answered with a status.

    Raises:
        ClientGone, ConductorError: the client left, or the call failed, before the first piece.
    """
    parts = Begun(call.parts)
    await while_connected(request.receive, parts.begin())
    return Stream(_ended_by_errors(write(parts)), headers_of(call.decision) | cache.headers(), parts=parts)


async def _ended_by_errors(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except ConductorError as error:
        yield error_event(error_document(error)[1])
    except Exception:  # the answer has begun: the stream is the only place to say it
        log.exception("stream_failed")
        yield error_event(internal_error()[1])


class Heard:
    """What was written of one answer."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.pieces: list[Piece] = []
        self.last = Piece()

    def hear(self, piece: Piece) -> None:
        """One more piece."""
        self.texts.append(piece.text)
        self.thoughts.append(piece.reasoning)
        if piece.tool_calls or piece.scores:
            self.pieces.append(piece)
        if piece.finish is not None or piece.usage is not None:
            self.last = Piece(finish=piece.finish or self.last.finish, usage=piece.usage or self.last.usage)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.texts)

    @property
    def reasoning(self) -> str:
        """What the model thought before; empty where its backend tells none apart."""
        return "".join(self.thoughts)

    @property
    def tool_calls(self) -> list[Any]:
        """What it wants called."""
        return [call for piece in self.pieces for call in piece.tool_calls]

    @property
    def scores(self) -> list[Any]:
        """Of its tokens, where they were asked for."""
        return [score for piece in self.pieces for score in piece.scores]


async def heard(call: Conversation, answers: int) -> list[Heard]:
    """Listen to the end."""
    all_heard = [Heard() for _ in range(answers)]
    async with aclosing(call.parts) as parts:
        async for number, piece in parts:
            all_heard[number].hear(piece)
    return all_heard
