"""MCP over HTTP: one address that takes POST, as an ASGI application without any state of its own.

It stands behind whatever checks key, Host and Origin. Each request is answered with one JSON document; nothing is streamed,
no session is begun, `Mcp-Session-Id` is ignored. When the client goes away, what it asked for is cancelled: nobody could
fetch the answer any more.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from conductor.app.conductor import Conductor
from conductor.app.tool_list import ServingDesk
from conductor.faces.mcp.catalogue import catalogue_of
from conductor.faces.mcp.headers import era_of_headers
from conductor.faces.mcp.protocol import Catalogue, Dispatcher
from conductor.faces.mcp.revision import Era
from conductor.faces.mcp.rpc import INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, RpcError, id_of, read, write

#: As much as the server takes elsewhere; a gate before this one may take less.
_MOST_BODY_BYTES: Final = 8 * 1024 * 1024
#: What proxies write into their logs for it.
_CLIENT_LEFT: Final = 499

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class McpEndpoint:
    """The application for the path `/mcp`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._dispatcher = Dispatcher(catalogue)

    @classmethod
    def of(cls, conductor: Conductor, serving: ServingDesk | None = None) -> "McpEndpoint":
        """The application over an opened installation; `serving` generates text, if anything does."""
        return cls(catalogue_of(conductor, serving))

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        assert scope["type"] == "http"
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        if scope["method"] != "POST":
            await _send(send, 405, b"", [(b"allow", b"POST")])
        elif not _accepts_json(headers):
            await _refuse(send, 406, "Not acceptable: the answer is application/json; name it in Accept")
        elif not _is_json(headers):
            await _refuse(send, 415, "Unsupported media type: send application/json")
        else:
            await self._answer(headers, receive, send)

    async def _answer(self, headers: list[tuple[str, str]], receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            await _refuse(send, 413, f"Too large: a message may have {_MOST_BODY_BYTES:,} bytes")
            return
        message: Any = None
        try:
            message = read(body)
            era = era_of_headers(headers, message)
        except RpcError as error:
            await _send(send, 400, write(error.answer(id_of(message))))
            return
        asking = asyncio.ensure_future(self._dispatcher.answer(message, era))
        leaving = asyncio.ensure_future(_disconnect(receive))
        try:
            await asyncio.wait([asking, leaving], return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                answer = asking.result()
                status = 202 if answer is None else _status(answer, era)
                await _send(send, status, b"" if answer is None else write(answer))
            else:  # read by nobody but the log around us
                await _send(send, _CLIENT_LEFT, b"")
        finally:
            for each in (asking, leaving):
                each.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([asking, leaving])


def _status(answer: dict[str, Any], era: Era) -> int:
    """HTTP status of an answer: errors of the stateless era have one of their own."""
    if "error" not in answer:
        return 200
    code = answer["error"]["code"]
    if era is Era.HANDSHAKE:
        return 400 if code in (PARSE_ERROR, INVALID_REQUEST) else 200
    if code == METHOD_NOT_FOUND:
        return 404
    return 400 if code <= -32000 and code != -32603 else 200


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if it is too large, or the client is gone before its end."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > _MOST_BODY_BYTES:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _accepts_json(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether the client takes JSON. A client should name event streams too; we never send one, and do not insist."""
    accepted = [value for name, value in headers if name == "accept"]
    types = [part.split(";")[0].strip().lower() for value in accepted for part in value.split(",")]
    return not accepted or any(kind in ("application/json", "application/*", "*/*") for kind in types)


def _is_json(headers: Iterable[tuple[str, str]]) -> bool:
    found = [value for name, value in headers if name == "content-type"]
    return len(found) == 1 and found[0].split(";")[0].strip().lower() == "application/json"


async def _refuse(send: Send, status: int, message: str) -> None:
    await _send(send, status, write(RpcError(INVALID_REQUEST, message).answer(None)))


async def _send(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    found = [*headers, (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    if body:
        found.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": status, "headers": found})
    await send({"type": "http.response.body", "body": body})
