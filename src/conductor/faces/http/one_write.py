"""Let head and body of an answer leave together: uvicorn writes one after the other, and each write is a system call.

A head is held until the next write, or until the event loop goes round; then both go on as one. Parsing, answering and flow
control are uvicorn's.
"""

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from conductor.domain.units import KIB

_STATUS_LINE: Final = b"HTTP/1.1 "
#: Joining what is large costs more than it saves.
_MOST_JOINED_BYTES: Final = 64 * KIB


class OneWrite(HttpToolsProtocol):
    """uvicorn's protocol, on a transport that joins writes; to be named as `http` of its configuration."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        joining = _Joining(cast(asyncio.Transport, transport), self.loop)  # uvloop's are none by inheritance
        super().connection_made(cast(asyncio.Transport, joining))


class _Joining:
    """A transport before another."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Send, but hold a head until more comes."""
        if self._held and len(data) <= _MOST_JOINED_BYTES:
            data, self._held = self._held + data, b""
            self._transport.write(data)
        elif data.startswith(_STATUS_LINE):
            self._held = data
            self._loop.call_soon(self._release)
        else:
            self._release()
            self._transport.write(data)

    def close(self) -> None:
        """Send what is held, and close."""
        self._release()
        self._transport.close()

    def _release(self) -> None:
        held, self._held = self._held, b""
        if held and not self.is_closing():  # the client may have left meanwhile
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's."""
        return getattr(self._transport, name)
