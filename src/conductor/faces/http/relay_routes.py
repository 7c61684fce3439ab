"""The OpenAI routes whose models run elsewhere: bytes in, bytes out, on raw ASGI, for this is the hot path.

Requests for models that no upstream serves, and bodies that name no model, go on to the application's own route, with the
body that was read. A client that leaves, or reads nothing for too long, ends the work upstream, a twenty-fifth of a second
after the request began at the earliest. Errors have the form of OpenAI's.

Not covered: what lies in the buffers of a connection whose client stopped reading stays there until it is closed.
"""

import asyncio
import time
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conductor.app.serving.gateway import Asked, Gateway
from conductor.domain.errors import ConductorError
from conductor.faces.http.around import CALLER, ROUTE, TRACEPARENT
from conductor.faces.http.openai.errors import error_response
from conductor.faces.http.presence import ClientGone

#: Paths here, and below the base of an upstream.
PATHS: Final = {f"/v1{path}": path for path in ("/chat/completions", "/completions", "/embeddings")}
#: A client that takes no byte for this long has stopped reading.
MOST_STALL_S: Final = 60.0
#: How often new requests are looked after: a client that leaves is missed after twice this time at the latest.
_LOOK_EVERY_S: Final = 0.02

#: Codes of what is over when the caller waits, which is 429 here; other overloads are the server's (503).
_TOO_MUCH: Final = frozenset({"access.rate", "model.busy"})

log = structlog.get_logger(__name__)


class Relaying:
    """An ASGI application before another: answers the three routes where the model runs elsewhere.

    Args:
        otherwise: answers everything else.
        most_stall_s: how long a client may read nothing.
    """

    def __init__(self, gateway: Gateway, *, otherwise: ASGIApp, most_stall_s: float = MOST_STALL_S) -> None:
        self._gateway, self._otherwise, self._most_stall_s = gateway, otherwise, most_stall_s
        self._attendance = _Attendance()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, of which only the head was read."""
        path = PATHS.get(scope.get("path", ""))
        if path is None or scope["type"] != "http" or scope["method"] != "POST" or not self._gateway.models:
            await self._otherwise(scope, receive, send)
            return
        body = await _whole(receive)
        if body is None:
            return
        try:
            asked = self._gateway.read(body)
        except ConductorError:  # not for an upstream at any rate; the application says what is wrong
            asked = None
        if asked is None or not self._gateway.offers(asked.model):
            await self._otherwise(scope, _Again(body, receive), send)
            return
        scope[ROUTE] = scope["path"]
        await self._relay(asked, path, body, scope, receive, send)

    async def _relay(self, asked: Asked, path: str, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        sink = _Sink(send)
        try:
            with _UntilGone(receive, sink, self._most_stall_s, self._attendance):
                await self._gateway.pass_on(
                    asked, path, body, sink, caller=scope.get(CALLER, ""), traceparent=scope.get(TRACEPARENT)
                )
        except ClientGone:
            log.debug("client_left", path=path)
        except ConductorError as error:
            if sink.begun:  # all that is left to do is to break the connection, which the server does
                log.warning("relay_broke_off", path=path, error=error.message)
            else:
                await _refusal(error)(scope, receive, send)


class _Attendance:
    """Has those requests watched that take longer than a moment.

    Most of what is not a stream is over by then, and a timer and a task for each would cost a tenth of relaying it.
    """

    def __init__(self) -> None:
        self._new: dict[_UntilGone, None] = {}  # a set that keeps its order
        self._looked_at: dict[_UntilGone, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begins(self, request: "_UntilGone") -> None:
        """It has just begun."""
        self._new[request] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._look)

    def ends(self, request: "_UntilGone") -> None:
        """It is over; what it held is free at once."""
        self._new.pop(request, None)
        self._looked_at.pop(request, None)

    def _look(self) -> None:
        for request in self._looked_at:
            request.watch()
        self._looked_at, self._new = self._new, {}
        going_on = bool(self._looked_at)
        self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._look) if going_on else None


class _UntilGone:
    """Cancels the block when the client leaves or stops reading, and turns that into `ClientGone`.

    A client that takes nothing is given up after between one and two times `most_stall_s`.
    """

    def __init__(self, receive: Receive, sink: "_Sink", most_stall_s: float, attendance: _Attendance) -> None:
        self._receive, self._sink, self._most_stall_s, self._attendance = receive, sink, most_stall_s, attendance
        self._watch: asyncio.Task[None] | None = None
        self._gone = self._is_over = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._attendance.begins(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._attendance.ends(self)
        if self._watch is not None:
            self._watch.cancel()
            self._stall.cancel()
        if self._gone and self._task is not None and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientGone from error

    def watch(self) -> None:
        """Look after the client from now on."""
        loop = asyncio.get_running_loop()
        self._watch = loop.create_task(self._wait())
        self._stall = loop.call_later(self._most_stall_s, self._see_it_read)

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._sink.ended:  # a whole answer reads as a disconnect, too
            self._end()

    def _see_it_read(self) -> None:
        since_s = self._sink.writes_since_s
        if since_s is not None and time.monotonic() - since_s >= self._most_stall_s:
            self._end()
        else:
            self._stall = asyncio.get_running_loop().call_later(self._most_stall_s, self._see_it_read)

    def _end(self) -> None:
        if self._task is not None and not self._is_over and not self._gone:
            self._gone = True
            self._task.cancel()


class _Sink:
    """The client's side of an answer, as `app.serving.gateway.Sink`.

    Attributes:
        writes_since_s: since when it waits for the client to read, monotonic; None while it does not.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = self.ended = False
        self.writes_since_s: float | None = None

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, chunk: bytes, *, more: bool) -> None:
        """Send a part of the body; waits while the client does not read."""
        self.ended, self.writes_since_s = not more, time.monotonic()
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})
        self.writes_since_s = None


class _Again:
    """Gives a body that was read to whoever reads next; afterwards, what else the client says."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._message: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def __call__(self) -> Message:
        message, self._message = self._message, None
        return await self._receive() if message is None else message


async def _whole(receive: Receive) -> bytes | None:
    """The body; its length was announced, and bounded at the gate. None where the client left before its end."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return bytes(message.get("body", b""))
    parts = []
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    return None


def _refusal(error: ConductorError) -> Response:
    """One of our errors in OpenAI's form."""
    response = error_response(error)
    if error.code in _TOO_MUCH:
        response.status_code = HTTPStatus.TOO_MANY_REQUESTS
    return response
