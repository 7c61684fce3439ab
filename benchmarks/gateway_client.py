"""The client of every gateway that is measured: connections that stay open, one request after the other on each.

`python -m benchmarks.gateway_client PORT KEY CONNECTIONS REQUESTS [stream]` prints one line of JSON: requests a second, and
latencies in seconds; for streams, the time until the first event is there. Every answer is checked. Bare sockets, so that
the client takes as little of the machine as can be.
"""

import asyncio
import json
import sys
import time
from typing import Final

import uvloop

from benchmarks.upstream import MODEL

WARM_UP: Final = 30
PATH: Final = "/v1/chat/completions"


def warm_ups(connections: int) -> int:
    """Requests on all connections together that come before those that are measured."""
    return max(1, WARM_UP // connections) * connections


def request(key: str, *, stream: bool) -> bytes:
    """The bytes of one request."""
    message = {"role": "user", "content": "Say something that does not matter, in about fifteen words, please. " * 3}
    document = {"model": MODEL, "messages": [message], "max_tokens": 64}
    body = json.dumps(
        document | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})
    ).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes, *, stream: bool) -> float:
    """Seconds of one request: to the end of its answer, or of a stream to its first event."""
    begun_s = time.perf_counter()
    writer.write(sent)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise SystemExit(f"not answered: {head!r} {await reader.read(500)!r}")
    if b"chunked" not in head:
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if b"finish_reason" not in await reader.readexactly(length):
            raise SystemExit("an answer is none")
        return time.perf_counter() - begun_s
    first_s, body = 0.0, b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
        if not first_s and b"data:" in body:
            first_s = time.perf_counter() - begun_s
    await reader.readexactly(2)
    if b"finish_reason" not in body or (stream and b"[DONE]" not in body):
        raise SystemExit("an answer is none")
    return first_s if stream else time.perf_counter() - begun_s


async def main(port: int, key: str, connections: int, requests: int, *, stream: bool) -> None:
    """Ask, and print what was measured."""
    sent = request(key, stream=stream)
    left = iter(range(requests))
    taken_s: list[float] = []
    warm = asyncio.Barrier(connections + 1)

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        for _ in range(warm_ups(connections) // connections):
            await exchange(reader, writer, sent, stream=stream)
        await warm.wait()
        for _ in left:
            taken_s.append(await exchange(reader, writer, sent, stream=stream))
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one())
        await warm.wait()
        begun_s = time.perf_counter()
    print(json.dumps({"requests_per_s": requests / (time.perf_counter() - begun_s), "taken_s": taken_s}))


if __name__ == "__main__":
    port, key, connections, requests, *more = sys.argv[1:]
    uvloop.run(main(int(port), key, int(connections), int(requests), stream="stream" in more))
