"""The OpenAI routes whose models run elsewhere: bytes in, bytes out, on raw ASGI, for this is the hot path.

Requests for models that no upstream serves, and bodies that name no model, go on to the application's own route, with the
body that was read. A client that leaves, or reads nothing for too long, ends the work upstream at once. Errors have the form
of OpenAI's.

Not covered: what lies in the buffers of a connection whose client stopped reading stays there until it is closed.
"""

import asyncio
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
_WATCH_AFTER_S: Final = 0.005

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
        sink = _Sink(send, self._most_stall_s)
        try:
            async with UntilGone(receive, sink):
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


class UntilGone:
    """Cancels the block when the client leaves, and turns that into `ClientGone`.

    It begins to watch after a few milliseconds: most of what is not a stream is over by then, and a task for each request
    costs as much as a third of relaying it.
    """

    def __init__(self, receive: Receive, sink: "_Sink") -> None:
        self._receive, self._sink = receive, sink
        self._watch: asyncio.Task[None] | None = None
        self._gone = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self._begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if self._gone and self._task is not None and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientGone from error

    def _begin(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None and not self._sink.ended:  # a whole answer reads as a disconnect, too
            self._gone = True
            self._task.cancel()


class _Sink:
    """The client's side of an answer, as `app.gateway.Sink`."""

    def __init__(self, send: Send, most_stall_s: float) -> None:
        self._send, self._most_stall_s = send, most_stall_s
        self.begun = self.ended = False

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, chunk: bytes, *, more: bool) -> None:
        """Send a part of the body."""
        self.ended = not more
        try:
            async with asyncio.timeout(self._most_stall_s):
                await self._send({"type": "http.response.body", "body": chunk, "more_body": more})
        except TimeoutError:
            raise ClientGone from None


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
