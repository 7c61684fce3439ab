"""The client of the MCP servers that are measured: calls of the tool `status` in revision 2026-07-28, as JSON-RPC over HTTP.

`python -m benchmarks.mcp_client PORT KEY CONNECTIONS CALLS [PID EVERY]` prints one line of JSON: calls a second, the median
and the 95th percentile of their seconds and, every so many calls, the resident memory of the server's process. Connections
stay open, each has one call under way. Every answer is checked. Bare sockets, so that the client takes as little of the
machine as can be.
"""

import asyncio
import json
import sys
import time
from typing import Final

import psutil
import uvloop

from benchmarks.harness import percentile

WARM_UP: Final = 30
VERSION: Final = "2026-07-28"
META: Final = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def request(port: int, key: str, number: int) -> bytes:
    """The bytes of one call."""
    params = {"name": "status", "arguments": {}, "_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()
    fields = {
        "Host": f"127.0.0.1:{port}",
        "Authorization": f"Bearer {key}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "status",
        "Content-Length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes, number: int) -> float:
    """Seconds of one call, to the end of its answer."""
    begun_s = time.perf_counter()
    writer.write(sent)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
    answer = await reader.readexactly(length)
    taken_s = time.perf_counter() - begun_s
    document = json.loads(answer) if head.startswith(b"http/1.1 200") else {}
    if document.get("id") != number or document.get("result", {}).get("structuredContent", {}).get("status") != "ok":
        raise SystemExit(f"not answered: {head!r} {answer[:500]!r}")
    return taken_s


async def main(port: int, key: str, connections: int, calls: int, watched: int | None, every: int) -> None:
    """Call, and print what was measured."""
    server = None if watched is None else psutil.Process(watched)
    left = iter(range(calls))
    taken_s: list[float] = []
    memory: list[tuple[int, int]] = []
    warm = asyncio.Barrier(connections + 1)

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(max(1, WARM_UP // connections)):
            await call(reader, writer, request(port, key, number), number)
        await warm.wait()
        for number in left:
            taken_s.append(await call(reader, writer, request(port, key, number), number))
            if server is not None and len(taken_s) % every == 0:
                memory.append((len(taken_s), server.memory_info().rss))
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one())
        await warm.wait()
        begun_s = time.perf_counter()
    document = {
        "calls_per_s": calls / (time.perf_counter() - begun_s),
        "p50_s": percentile(taken_s, 0.5),
        "p95_s": percentile(taken_s, 0.95),
        "memory": memory,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    port, key, connections, calls, *more = sys.argv[1:]
    watched, every = (int(more[0]), int(more[1])) if more else (None, 1)
    uvloop.run(main(int(port), key, int(connections), int(calls), watched, every))
