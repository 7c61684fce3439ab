"""MCP over HTTP: one address that takes POST, as an ASGI application.

It stands behind whatever checks key, Host and Origin. A request is answered with one JSON document or, where the client
wants to hear of it meanwhile, with an event stream (`replies`). Nothing has to be begun or ended; what is remembered of
clients of the handshake era is in `sessions`, and `Mcp-Session-Id` of others is ignored.

When the client goes away, what it asked for is cancelled, in both eras: no stream can be taken up again, so nobody could
fetch the answer any more.
"""

import asyncio
import contextlib
from collections.abc import Callable, MutableMapping
from functools import cached_property
from typing import Any, Final

from conductor.app.conductor import Conductor
from conductor.app.tool_list import ServingDesk
from conductor.faces.mcp.catalogue import catalogue_of
from conductor.faces.mcp.headers import SESSION, era_of_headers
from conductor.faces.mcp.notices import Mailbox
from conductor.faces.mcp.protocol import Catalogue, Dispatcher
from conductor.faces.mcp.replies import QUIET_S, STALLED_S, ClientStalled, Receive, Reply, Send, send_whole
from conductor.faces.mcp.revision import Era
from conductor.faces.mcp.rpc import INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, RpcError, id_of, read, write
from conductor.faces.mcp.sessions import Sessions

#: As much as the server takes elsewhere; a gate before this one may take less.
_MOST_BODY_BYTES: Final = 8 * 1024 * 1024
#: What proxies write into their logs for it.
_CLIENT_LEFT: Final = 499
_LONGEST_SESSION: Final = 128

Headers = list[tuple[str, str]]


class McpEndpoint:
    """The application for the path `/mcp`.

    Args:
        catalogue: makes what is offered, with the first request: its tools name the engines, whose code is not needed to
            begin.
        quiet_s: a silence of this length is broken, where the client takes a stream.
        stalled_s: a client that does not read a piece of its stream for so long is given up.
    """

    def __init__(
        self, catalogue: Callable[[], Catalogue], *, quiet_s: float = QUIET_S, stalled_s: float = STALLED_S
    ) -> None:
        self._catalogue = catalogue
        self._quiet_s, self._stalled_s = quiet_s, stalled_s
        self._sessions = Sessions()

    @classmethod
    def of(cls, conductor: Conductor, serving: ServingDesk | None = None) -> "McpEndpoint":
        """The application over an opened installation; `serving` generates text, if anything does."""
        return cls(lambda: catalogue_of(conductor, serving))

    @cached_property
    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(self._catalogue())

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        assert scope["type"] == "http"
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        if scope["method"] != "POST":
            await send_whole(send, 405, b"", [(b"allow", b"POST")])
        elif not _accepts_json(headers):
            await _refuse(send, 406, "Not acceptable: the answer is application/json; name it in Accept")
        elif not _is_json(headers):
            await _refuse(send, 415, "Unsupported media type: send application/json")
        else:
            await self._answer(headers, receive, send)

    async def _answer(self, headers: Headers, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            await _refuse(send, 413, f"Too large: a message may have {_MOST_BODY_BYTES:,} bytes")
            return
        message: Any = None
        try:
            message = read(body)
            era = era_of_headers(headers, message)
        except RpcError as error:
            await send_whole(send, 400, write(error.answer(id_of(message))))
            return
        reply = Reply(send, streams=_accepts(headers, "text/event-stream"), stalled_s=self._stalled_s)
        with contextlib.suppress(ClientStalled):  # nothing more can be said; returning breaks the connection
            await self._reply(message, era, _session(headers) if era is Era.HANDSHAKE else "", receive, reply)

    async def _reply(self, message: Any, era: Era, session: str, receive: Receive, reply: Reply) -> None:
        """Answer a message, with what is told before the answer."""
        mailbox = Mailbox()
        asking = asyncio.ensure_future(
            self._dispatcher.answer(
                message, era, tell=mailbox.put if reply.streams else None, level=self._sessions.level(session)
            )
        )
        request_id = id_of(message)
        if session and request_id is not None:
            self._sessions.follow(session, request_id, asking)
        try:
            await asyncio.sleep(0)  # most are done then, and nobody has to watch over them
            stays = asking.done() or await self._watched(asking, mailbox, receive, reply)
            while notice := mailbox.take():
                await reply.notice(notice)
            if not stays:  # read by nobody but the log around us
                await reply.finish(None, status=_CLIENT_LEFT)
            elif asking.cancelled():  # by the client, which is owed no answer then
                await reply.finish(None, status=202)
            else:
                await self._finish(message, era, session, asking.result(), reply)
        finally:
            await _ended(asking)

    async def _watched(self, asking: "asyncio.Future[Any]", mailbox: Mailbox, receive: Receive, reply: Reply) -> bool:
        """Carry notices until a request is done; False if the client goes away first."""
        leaving = asyncio.ensure_future(_disconnect(receive))
        for each in (asking, leaving):
            each.add_done_callback(mailbox.stir)
        try:
            while not (asking.done() or leaving.done()):
                if not await mailbox.wait(self._quiet_s):
                    await reply.keep_alive()
                while notice := mailbox.take():
                    await reply.notice(notice)
            return asking.done()
        finally:
            await _ended(leaving)

    async def _finish(self, message: Any, era: Era, session: str, answer: dict[str, Any] | None, reply: Reply) -> None:
        """Send the answer, and remember what the message changes for later ones."""
        if answer is None:
            self._heed(message, session)
            await reply.finish(None, status=202)
            return
        named: list[tuple[bytes, bytes]] = []
        if era is Era.HANDSHAKE and "result" in answer:
            if message["method"] == "initialize":
                named = [(SESSION.encode(), Sessions.new_name().encode())]
            elif message["method"] == "logging/setLevel" and session:
                self._sessions.set_level(session, message["params"]["level"])
        await reply.finish(answer, status=_status(answer, era), headers=named)

    def _heed(self, message: Any, session: str) -> None:
        """Do what a notification asks for."""
        if session and isinstance(message, dict) and message.get("method") == "notifications/cancelled":
            params = message.get("params")
            wanted = id_of({"id": params.get("requestId")}) if isinstance(params, dict) else None
            if wanted is not None:
                self._sessions.cancel(session, wanted)


async def _ended(task: "asyncio.Future[Any]") -> None:
    """Have it ended, now."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task])


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
    """The whole body; None if it is too large, and empty, which is no message, if the client is gone before its end."""
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


def _accepts_json(headers: Headers) -> bool:
    """Whether the client takes JSON. It should name event streams too; it is sent none then, and that is not insisted on."""
    return not any(name == "accept" for name, _ in headers) or _accepts(
        headers, "application/json", "application/*", "*/*"
    )


def _accepts(headers: Headers, *kinds: str) -> bool:
    accepted = [value for name, value in headers if name == "accept"]
    return any(part.split(";")[0].strip().lower() in kinds for value in accepted for part in value.split(","))


def _session(headers: Headers) -> str:
    """The name of the client's session; empty without one, or where it can be none of ours."""
    found = [value for name, value in headers if name == SESSION]
    return found[0] if len(found) == 1 and len(found[0]) <= _LONGEST_SESSION else ""


def _is_json(headers: Headers) -> bool:
    found = [value for name, value in headers if name == "content-type"]
    return len(found) == 1 and found[0].split(";")[0].strip().lower() == "application/json"


async def _refuse(send: Send, status: int, message: str) -> None:
    await send_whole(send, status, write(RpcError(INVALID_REQUEST, message).answer(None)))
