"""MCP over standard input and output: one message a line, nothing else on the output, the end of input ends it.

Requests are answered side by side, a bounded number of them; `notifications/cancelled` ends one. Reading and writing
happen in threads that do not keep the process alive, because neither end of a pipe can be waited for safely otherwise.
Who answers is handed in.
"""

import asyncio
import concurrent.futures
import os
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from conductor.faces.mcp.lines import MOST_LINE_BYTES, Lines
from conductor.faces.mcp.rpc import INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, Id, RpcError, id_of, read, write

_PIECE_BYTES: Final = 64 * 1024
_MOST_AT_ONCE: Final = 64
#: What was asked before the input ended is still answered, for so long.
_DRAIN_S: Final = 30.0

log = structlog.get_logger(__name__)

#: Answers a message, which is handed in as data and as it came; None where it is owed no answer. What is to be told before
#: the answer goes through the function.
Answerer = Callable[[Any, bytes, Callable[[bytes], Awaitable[None]]], Awaitable[bytes | None]]


class StdioServer:
    """Serves one client on two file descriptors."""

    def __init__(self, answerer: Answerer, *, read_from: int, write_to: int) -> None:
        self._answerer = answerer
        self._source = read_from
        self._out = _Writer(write_to)
        self._under_way: dict[Id, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Answer until the input ends; cancelling it cancels what is under way."""
        self._out.start()
        pieces: asyncio.Queue[bytes] = asyncio.Queue(maxsize=16)
        _Reader(self._source, pieces, asyncio.get_running_loop()).start()
        lines = Lines()
        try:
            while piece := await pieces.get():
                for line in lines.feed(piece):
                    await self._take(line)
            for line in lines.end():
                await self._take(line)
            if self._under_way:
                await asyncio.wait(self._under_way.values(), timeout=_DRAIN_S)
        finally:
            for task in list(self._under_way.values()):
                task.cancel()

    async def _take(self, line: bytes | None) -> None:
        """Begin to answer one line."""
        if line is None:
            await self._refuse(None, PARSE_ERROR, f"Parse error: a message may have {MOST_LINE_BYTES:,} bytes")
            return
        try:
            message = read(line)
        except RpcError as error:
            await self._out.write(write(error.answer(None)))
            return
        request_id = id_of(message)
        if request_id is None:
            if isinstance(message, dict) and message.get("method") == "notifications/cancelled":
                self._cancel(message.get("params"))
            await self._answer(None, message, line)
        elif request_id in self._under_way:
            await self._refuse(request_id, INVALID_REQUEST, "Invalid request: this id is under way already")
        elif len(self._under_way) >= _MOST_AT_ONCE:
            await self._refuse(request_id, INTERNAL_ERROR, f"{_MOST_AT_ONCE} requests are under way; ask again later")
        else:
            task = asyncio.create_task(self._answer(request_id, message, line))
            self._under_way[request_id] = task
            task.add_done_callback(lambda _task: self._under_way.pop(request_id, None))

    async def _answer(self, request_id: Id | None, message: Any, line: bytes) -> None:
        try:
            answer = await self._answerer(message, line, self._out.write)
        except RpcError as error:
            answer = write(error.answer(request_id))
        except Exception:  # whatever happened, the client waits for an answer, and others want theirs
            log.exception("mcp_request_failed")
            answer = write(RpcError.unforeseen().answer(request_id))
        if answer is not None and not _is_notification(message):  # which is owed none, not even an error
            await self._out.write(answer)

    def _cancel(self, params: Any) -> None:
        wanted = id_of({"id": params.get("requestId")}) if isinstance(params, dict) else None
        if wanted is not None and wanted in self._under_way:
            self._under_way[wanted].cancel()

    async def _refuse(self, request_id: Id | None, code: int, message: str) -> None:
        await self._out.write(write(RpcError(code, message).answer(request_id)))


def _is_notification(message: Any) -> bool:
    return isinstance(message, dict) and "method" in message and "id" not in message


class _Reader(threading.Thread):
    """Hands pieces of the input to the loop, as fast as they are taken; an empty one at its end."""

    def __init__(self, source: int, pieces: "asyncio.Queue[bytes]", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="mcp-input", daemon=True)
        self._source, self._pieces, self._loop = source, pieces, loop

    def run(self) -> None:
        piece = b"."
        while piece:
            try:
                piece = os.read(self._source, _PIECE_BYTES)
            except OSError:
                piece = b""
            handing = self._pieces.put(piece)
            try:
                asyncio.run_coroutine_threadsafe(handing, self._loop).result()
            except (RuntimeError, concurrent.futures.CancelledError):  # the loop has ended
                handing.close()
                return


class _Writer(threading.Thread):
    """Writes lines in order; `write` returns when the line is out, or nobody reads any more."""

    def __init__(self, target: int) -> None:
        super().__init__(name="mcp-output", daemon=True)
        self._target = target
        self._waiting: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()

    async def write(self, line: bytes) -> None:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put((line + b"\n", written))
        await written

    def run(self) -> None:
        while True:
            line, written = self._waiting.get()
            try:
                while line:
                    line = line[os.write(self._target, line) :]
            except OSError:  # nobody reads; the end of the input will follow
                pass
            try:
                written.get_loop().call_soon_threadsafe(_done, written)
            except RuntimeError:  # the loop has ended
                return


def _done(written: "asyncio.Future[None]") -> None:
    if not written.done():
        written.set_result(None)
