"""How the answer to a POST goes out: as one JSON document, or as an event stream once there is something to tell before it.

Which of the two is decided by what happens: a call that ends quickly is answered in one piece, even where the client would
hear of its progress. A stream begins with the first notice, or when nothing was heard for long, and then breaks every
silence, so that neither proxies nor clients give up. A client that does not read is given up itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from conductor.faces.mcp.rpc import write

#: A silence is broken after so long.
QUIET_S: Final = 15.0
#: A client may take so long for one piece.
STALLED_S: Final = 60.0
_COMMENT: Final = b": still at it\n\n"
_STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientStalled(Exception):
    """The client is connected and does not read."""


class Reply:
    """The answer to one POST.

    Args:
        streams: whether the client takes an event stream.
        stalled_s: a client that does not read one piece of it for so long is given up.
    """

    def __init__(self, send: Send, *, streams: bool, stalled_s: float = STALLED_S) -> None:
        self._send, self.streams, self._stalled_s = send, streams, stalled_s
        self._begun = False

    async def notice(self, document: Any) -> None:
        """Tell something before the answer.

        Raises:
            ClientStalled: it does not read.
        """
        await self._event(write(document))

    async def keep_alive(self) -> None:
        """Break a silence, where the client takes a stream; errors as `notice`."""
        if self.streams:
            await self._begin()
            await self._body(_COMMENT)

    async def finish(self, answer: Any, *, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Answer; None ends it without. A stream that has begun has its status already. Errors as `notice`."""
        if not self._begun:
            await send_whole(self._send, status, b"" if answer is None else write(answer), headers)
            return
        if answer is not None:
            await self._event(write(answer))
        await self._body(b"", more=False)

    async def _event(self, text: bytes) -> None:
        await self._begin()
        await self._body(b"event: message\ndata: " + text + b"\n\n")

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": list(_STREAM_HEADERS)})

    async def _body(self, piece: bytes, *, more: bool = True) -> None:
        try:
            async with asyncio.timeout(self._stalled_s):
                await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        except TimeoutError:
            raise ClientStalled from None


async def send_whole(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """An answer in one piece; JSON where there is any."""
    found = [*headers, (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    if body:
        found.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": status, "headers": found})
    await send({"type": "http.response.body", "body": body})
