"""An upstream made of handlers: each path answers as its test says, and everything asked is kept."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Upstream:
    """Listens while its block lasts. `asked` holds (method, path, headers, body) of every request, in order."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.origin = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def base(self) -> str:
        return f"{self.origin}/v1"

    def document(self, number: int = -1) -> Any:
        """What was asked, as JSON."""
        return json.loads(self.asked[number][3])

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, dict(request.headers), await request.read()))
        handler = self.handlers.get(request.path)
        return web.json_response({"error": "not here"}, status=404) if handler is None else await handler(request)


def answers(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.json_response(document, status=status, headers=headers)

    return handle


def says(
    body: bytes, content_type: str = "text/html", status: int = 200, headers: dict[str, str] | None = None
) -> Handler:
    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type, status=status, headers=headers)

    return handle


def in_turn(*handlers: Handler) -> Handler:
    """The first request gets the first answer, and so on; the last one is repeated."""
    left = list(handlers)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return handle


def streams(*chunks: bytes, content_type: str = "text/event-stream", ending: str = "whole") -> Handler:
    """Send chunks, then end: `whole`, `cut` (the connection is torn) or `hang` (nothing more comes)."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if ending == "cut":
            assert request.transport is not None
            request.transport.abort()
        if ending == "hang":
            await asyncio.sleep(30)
        return response

    return handle


def endless(upstream: Upstream, chunk: bytes) -> Handler:
    """Sends the same again and again, until the client has gone; `upstream.gone` is set then."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            while True:
                await response.write(chunk)
                await asyncio.sleep(0.001)
        finally:
            upstream.gone.set()

    return handle


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One event of a chat's stream."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta | more, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
LAST = event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
