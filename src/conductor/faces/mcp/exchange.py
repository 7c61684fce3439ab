"""One POST to a Conductor server, and what comes back: a document, or an event stream that is told as it comes.

Only what a server of ours sends is understood (`replies`): HTTP/1.1 with a length or in chunks, one event a message.
"""

import asyncio
import http.client
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Final
from urllib.parse import urlsplit

from conductor.faces.mcp.headers import SESSION
from conductor.faces.mcp.rpc import RpcError, read

#: An answer has at most half of it.
_MOST_EVENT_BYTES: Final = 16 * 1024 * 1024

#: Takes a notification, as it came.
Hear = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back; `session` is empty where the server named none, `body` where no answer came."""

    status: int
    session: str
    body: bytes


async def post(url: str, headers: Mapping[str, str], body: bytes, hear: Hear) -> Answered:
    """Send a message, on a connection of its own; cancelling closes it, which cancels the work there.

    Args:
        hear: is given each notification that comes before the answer.

    Raises:
        OSError, EOFError: the connection ended.
        http.client.HTTPException: what comes back is no answer of such a server.
    """
    address = urlsplit(url)
    fields = {
        "Host": address.netloc,
        "Connection": "close",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(f"POST {address.path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        await writer.drain()
        status_line, _, rest = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        answered = http.client.parse_headers(io.BytesIO(rest))
        return Answered(int(status_line.split()[1]), answered.get(SESSION, ""), await _message(reader, answered, hear))
    except (asyncio.LimitOverrunError, ValueError, IndexError) as garbage:
        raise http.client.HTTPException(str(garbage)) from garbage
    finally:
        writer.close()


async def _message(reader: asyncio.StreamReader, headers: Message, hear: Hear) -> bytes:
    """The answer; what comes before it is heard."""
    if not headers.get("Content-Type", "").startswith("text/event-stream"):
        return await reader.readexactly(int(headers.get("Content-Length", "0")))
    async for event in _events(reader):
        if _is_answer(event):
            return event
        await hear(event)
    return b""


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The data of each event; comments are left out."""
    begun = b""
    async for chunk in _chunks(reader):
        *whole, begun = (begun + chunk).split(b"\n\n")
        if len(begun) > _MOST_EVENT_BYTES:
            raise ValueError("an event without end")
        for event in whole:
            data = [line.removeprefix(b"data:").strip() for line in event.split(b"\n") if line.startswith(b"data:")]
            if data:
                yield b"\n".join(data)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        if size > _MOST_EVENT_BYTES:
            raise ValueError("a chunk without end")
        yield (await reader.readexactly(size + 2))[:-2]


def _is_answer(event: bytes) -> bool:
    try:
        message = read(event)
    except RpcError:
        return True  # garbage, which whoever reads the answer tells
    return not (isinstance(message, dict) and "method" in message)
