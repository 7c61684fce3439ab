"""End work when nobody is there any more to receive it: whole answers and streams, to the end of the connection.

Closing a connection is how clients cancel. It is noticed while the work goes on, not at the next attempt to write, so that a
model is not kept busy by readers who left; a reader who stays but does not read is given up after a while.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any, Final, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

#: Comments are sent this often while there is nothing to tell, so that proxies keep the connection.
KEEPALIVE_S: Final = 15.0
#: A reader may take this long for one piece.
STALLED_S: Final = 120.0
#: How long the first piece is waited for before the answer begins without it; after that errors come inside the stream.
FIRST_PIECE_S: Final = 10.0
#: What proxies log for requests whose sender went away; nobody receives it.
GONE: Final = 499
_COMMENT: Final = b": still here\n\n"
STREAM_HEADERS: Final[Mapping[str, str]] = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class ClientGone(Exception):
    """The client closed the connection; there is nobody to answer."""


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, or break it off when the client leaves. The request's body must have been read.

    Raises:
        ClientGone: it was broken off.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        await _ended(working, leaving)


class Stream(Response):
    """Server-sent events, as they come.

    Args:
        events: whole events; closed at the end, whatever ends it.
        parts: what the events are made of, closed behind them. Events that were never begun, because the client left while
            the head was sent, have not got as far as closing it themselves.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        headers: Mapping[str, str] | None = None,
        *,
        parts: AsyncGenerator[Any, None] | None = None,
    ) -> None:
        super().__init__(None, media_type="text/event-stream", headers={**STREAM_HEADERS, **(headers or {})})
        del self.headers["content-length"]
        self._events = events
        self._parts = parts
        self._sending_since_s: float | None = None
        self._quiet_since_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until it ends, the client leaves, or it does not read."""
        writing = asyncio.ensure_future(self._write(send))
        others = [asyncio.ensure_future(_left(receive)), asyncio.ensure_future(self._tend(send))]
        try:
            await asyncio.wait({writing, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended(writing, *others)
            await self._events.aclose()
            if self._parts is not None:
                await self._parts.aclose()
        if not writing.cancelled():
            with contextlib.suppress(OSError):  # it left while we wrote
                writing.result()

    async def _write(self, send: Send) -> None:
        await self._send(send, {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with contextlib.aclosing(self._events) as events:
            async for event in events:
                await self._send(send, {"type": "http.response.body", "body": event, "more_body": True})
        await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, message: dict[str, Any]) -> None:
        self._sending_since_s = time.monotonic()
        await send(message)
        self._sending_since_s = None
        self._quiet_since_s = time.monotonic()

    async def _tend(self, send: Send) -> None:
        """Break a silence by a comment; return when the reader has not read for too long."""
        while True:
            await asyncio.sleep(KEEPALIVE_S)
            now_s = time.monotonic()
            if self._sending_since_s is not None:
                if now_s - self._sending_since_s >= STALLED_S:
                    return
            elif now_s - self._quiet_since_s >= KEEPALIVE_S:
                await self._send(send, {"type": "http.response.body", "body": _COMMENT, "more_body": True})


class Begun(AsyncGenerator[T, None]):
    """Parts of which the first was asked for already, so that what fails before it can still become an answer of its own."""

    def __init__(self, parts: AsyncGenerator[T, None]) -> None:
        self._parts = parts
        self._first: asyncio.Future[T] | None = None

    async def begin(self, patience_s: float = FIRST_PIECE_S) -> None:
        """Wait for the first part, or as long as patience lasts; raises what reading it raises."""
        self._first = asyncio.ensure_future(anext(self._parts))
        try:
            done, _ = await asyncio.wait([self._first], timeout=patience_s)
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if done and isinstance(failure := self._first.exception(), Exception):
            self._first = None
            if not isinstance(failure, StopAsyncIteration):
                raise failure

    async def __anext__(self) -> T:
        if self._first is None:
            return await anext(self._parts)
        first, self._first = self._first, None
        try:
            return await first
        except asyncio.CancelledError:
            await _ended(first)
            raise

    async def asend(self, value: None) -> T:
        """As `__anext__`."""
        return await self.__anext__()

    async def athrow(self, *details: Any) -> T:
        """As the parts'."""
        await self._settle()
        return await self._parts.athrow(*details)

    async def aclose(self) -> None:
        """End it."""
        await self._settle()
        await self._parts.aclose()

    async def _settle(self) -> None:
        first, self._first = self._first, None
        if first is not None:
            await _ended(first)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(*tasks: "asyncio.Future[Any]") -> None:
    """Have them ended, now."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
