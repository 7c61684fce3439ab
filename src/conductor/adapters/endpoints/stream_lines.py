"""Cut a stream of bytes into lines, and lines into server-sent events; bounded, and indifferent to how it was chopped.

Server-sent events as WHATWG's HTML standard has them (9.2.6): `data:` lines up to an empty line are one event; comments and
other fields are left out. An event that the end of the stream cuts off is dropped, as the standard says.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from conductor.adapters.endpoints.failures import EndpointError
from conductor.domain.units import MIB

MOST_LINE_BYTES: Final = 8 * MIB
_DONE: Final = b"[DONE]"


async def lines(
    chunks: AsyncIterator[bytes], source: str, *, most_bytes: int = MOST_LINE_BYTES
) -> AsyncGenerator[bytes, None]:
    """Lines without their ends (`\\n` or `\\r\\n`); what follows the last end is the last line.

    Raises:
        EndpointError: a line is longer than `most_bytes`.
    """
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        *whole, rest = held.split(b"\n")
        for line in whole:
            yield bytes(line.removesuffix(b"\r"))
        held = rest
        if len(held) > most_bytes:
            raise EndpointError(
                f"{source} sent a line of more than {most_bytes:,} bytes; check what it is", again=False
            )
    if held:
        yield bytes(held.removesuffix(b"\r"))


async def events(
    chunks: AsyncIterator[bytes], source: str, *, most_bytes: int = MOST_LINE_BYTES
) -> AsyncGenerator[bytes, None]:
    """The data of each server-sent event. Lines of one event are joined by a line feed.

    Raises:
        EndpointError: an event, or a line, is longer than `most_bytes`.
    """
    data: list[bytes] = []
    held_bytes = 0
    async with aclosing(lines(chunks, source, most_bytes=most_bytes)) as whole:
        async for line in whole:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
                held_bytes += len(line)
                if held_bytes > most_bytes:
                    raise EndpointError(
                        f"{source} sent an event of more than {most_bytes:,} bytes; check what it is", again=False
                    )
            elif not line and data:
                yield b"\n".join(data)
                data, held_bytes = [], 0
    if data == [_DONE]:  # many servers end without the empty line
        yield _DONE
