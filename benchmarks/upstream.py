"""The upstream of every gateway that is measured: answers a chat completion, or a stream of one, and does nothing else.

`python -m benchmarks.upstream PORT`. On a bare protocol, so that it never is what limits a gateway. Streams send their
first event at once and the others a millisecond apart, in one chunk each. GET requests are health checks, and answered so.
"""

import asyncio
import json
import sys
from typing import Final, cast

import uvloop

MODEL: Final = "bench-model"
STREAM_EVENTS: Final = 16
EVENT_EVERY_S: Final = 0.001

_USAGE: Final = {"prompt_tokens": 20, "completion_tokens": 16, "total_tokens": 36}
_TEXT: Final = "The quick brown fox jumps over the lazy dog, and nothing comes of it."


def _document(choice: object, *, kind: str = "chat.completion", **more: object) -> bytes:
    return json.dumps(
        {"id": "chatcmpl-1", "object": kind, "created": 1760000000, "model": MODEL, "choices": choice, **more}
    ).encode()


def _head(kind: str, length: int | None) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n".encode()


def _whole(body: bytes) -> bytes:
    return _head("application/json", len(body)) + body


def _chunk(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return f"{len(event):x}\r\n".encode() + event + b"\r\n"


_MESSAGE: Final = {"role": "assistant", "content": _TEXT}
_ANSWER: Final = _whole(_document([{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}], usage=_USAGE))
_MODELS: Final = _whole(
    json.dumps(
        {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "bench"}]}
    ).encode()
)
_PIECE: Final = "chat.completion.chunk"
_EVENT: Final = _chunk(
    _document([{"index": 0, "delta": {"role": "assistant", "content": "word "}, "finish_reason": None}], kind=_PIECE)
)
_LAST: Final = (
    _chunk(_document([{"index": 0, "delta": {}, "finish_reason": "stop"}], kind=_PIECE))
    + _chunk(_document([], kind=_PIECE, usage=_USAGE))
    + _chunk(b"[DONE]")
    + b"0\r\n\r\n"
)


class _Connection(asyncio.Protocol):
    """One client; requests come one after the other, each with its length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        self._held = b""
        self._streaming: asyncio.Task[None] | None = None

    def connection_lost(self, _error: Exception | None) -> None:
        """End what is still being sent."""
        if self._streaming is not None:
            self._streaming.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            start = head.find(b"content-length:")
            length = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
            if len(self._held) < end + 4 + length:
                return
            body, self._held = self._held[end + 4 : end + 4 + length], self._held[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get"):
            self._transport.write(_MODELS)
        elif b'"stream":true' in body.replace(b" ", b""):
            self._streaming = asyncio.get_running_loop().create_task(self._stream())
        else:
            self._transport.write(_ANSWER)

    async def _stream(self) -> None:
        self._transport.write(_head("text/event-stream", None) + _EVENT)
        for _ in range(STREAM_EVENTS - 1):
            await asyncio.sleep(EVENT_EVERY_S)
            self._transport.write(_EVENT)
        self._transport.write(_LAST)


async def main(port: int) -> None:
    """Listen until ended."""
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port)
    print("upstream listens", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
