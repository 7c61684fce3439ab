"""Exchange bytes with upstreams over connections that stay open: HTTP/1.1, one request at a time on each.

Made for the gateway, whose requests are ready as bytes and whose answers go on as bytes. httptools (the parser of Node and
uvicorn) reads the answers. With aiohttp, which serves everyone else here, a relayed request took half as much processor time
again (docs/lab-log.md): left out are header tables, timers of each request, and waking the reader more than once for an
answer that came in one piece.

Bounded are the head of an answer, what waits for a slow reader, the silence of an upstream and the connections to it; what
breaks a bound or the connection is told as `EndpointError`. What a status means is not decided here. Not covered: HTTP/2,
proxies, upgrades, compressed bodies (they pass as they are).
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Final, cast

import httptools

from conductor.adapters.endpoints.failures import EndpointError
from conductor.domain.units import KIB

#: Idle connections are given up before the usual 5 s of the servers (uvicorn, Node): they would close them under a request.
KEEP_ALIVE_S: Final = 4.0
_MOST_WAITING_BYTES: Final = 64 * KIB
_MOST_HEAD_BYTES: Final = 64 * KIB
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Server:
    """Who is at the other end of a connection."""

    host: str
    port: int
    is_encrypted: bool


class Connection(asyncio.Protocol):
    """A connection, and the one exchange that goes on over it.

    Attributes:
        status: of the answer.
        headers: of the answer, as they were sent.
        is_over: the answer was received to its end, though perhaps not read yet.
        is_stale: it was lost when it was used again, and before it said anything: the request was not read.
    """

    def __init__(self, pool: "_Pool", *, silence_s: float) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_over = True
        self.is_stale = False
        self._pool, self._silence_s = pool, silence_s
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._waiting_bytes = self._head_bytes = 0
        self._has_head = self._is_framed = self._keeps_alive = False
        self._is_paused = self._was_used = self._is_given_up = False
        self._failure: EndpointError | None = None
        self._reader: asyncio.Future[None] | None = None
        self._heard_s = 0.0
        self._url = ""

    # For whoever asks.

    async def ask(self, request: bytes, url: str) -> None:
        """Send a request; returns when the head of its answer is there.

        Raises:
            EndpointError: the connection broke, or the upstream fell silent or does not speak HTTP.
        """
        self.is_over = self._has_head = False
        self._url, self._head_bytes, self._heard_s = url, 0, self._loop.time()
        self._transport.write(request)
        while not self._has_head:
            if self._failure is not None:
                raise self._failure
            await self._news()

    async def read(self) -> bytes:
        """What came of the body since the last call; waits for some, and is empty only at the end.

        Raises:
            EndpointError: it broke off or fell silent.
        """
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            if self.is_over:
                return b""
            await self._news()
        parts, self._parts, self._waiting_bytes = self._parts, [], 0
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._heard_s = self._loop.time()
            self._transport.resume_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def may_be_used_again(self) -> bool:
        """Whether the answer was read to its end, and another request may follow."""
        return self.is_over and not self._parts and self._keeps_alive and not self._transport.is_closing()

    def close(self) -> None:
        """Break the connection; what is being answered ends."""
        self._is_given_up = True
        self._transport.abort()

    # For the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        self._pool.open.add(self)
        self._timer = self._loop.call_later(min(self._silence_s, KEEP_ALIVE_S), self._look)

    def data_received(self, data: bytes) -> None:
        """Parse, and wake the reader once."""
        self._heard_s = self._loop.time()
        if self.is_over:  # nobody asked
            self.close()
            return
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as wrong:
            if not self.is_over:
                said = " ".join(str(wrong).split()) or type(wrong).__name__
                self._fail(f"does not speak HTTP as it should ({said}); check the address", again=False)
                return
            self._keeps_alive = False  # what follows a whole answer is nobody's
        if not self._has_head and self._head_bytes > _MOST_HEAD_BYTES:
            self._fail(f"sent a head of more than {_MOST_HEAD_BYTES:,} bytes; check the address", again=False)
        elif self._waiting_bytes > _MOST_WAITING_BYTES and not self.is_over:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """It ends. Where neither a length nor chunks were announced, that ends the answer, too (RFC 9112, 6.3)."""
        self._timer.cancel()
        if not self.is_over and self._failure is None:
            if error is None and self._has_head and not self._is_framed and not self._is_given_up:
                self.is_over, self._keeps_alive = True, False
            else:
                self.is_stale = self._was_used and not self._head_bytes
                self._fail("broke off in the middle of its answer; ask again", again=True)
        self._wake()
        self._pool.lose(self)

    # For the parser.

    def on_message_begin(self) -> None:
        """A head begins, perhaps after an interim one (1xx).

        Raises:
            HttpParserError: it follows a whole answer.
        """
        if self.is_over:
            raise httptools.HttpParserError("an answer that nobody asked for")
        self.headers, self._is_framed = [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those behind the body (trailers) are dropped."""
        if not self._has_head:
            self.headers.append((name, value))
            if not self._is_framed:
                self._is_framed = name.lower() in _FRAMING

    def on_headers_complete(self) -> None:
        """The body follows, or after an interim head the next one."""
        self.status = self._parser.get_status_code()
        self._has_head = self.status >= 200
        self._keeps_alive = self._was_used = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """A part of it."""
        self._parts.append(body)
        self._waiting_bytes += len(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.is_over = self._has_head

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _news(self) -> None:
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _look(self) -> None:
        """Every few seconds: has it been silent for too long? One timer a connection costs nothing, one a request does."""
        now_s = self._loop.time()
        if self._is_paused:  # it is the reader who is slow
            self._heard_s = now_s
        left_s = (KEEP_ALIVE_S if self.is_over else self._silence_s) - (now_s - self._heard_s)
        if left_s > 0:
            self._timer = self._loop.call_later(min(left_s, KEEP_ALIVE_S), self._look)
        elif self.is_over:
            self.close()
        else:
            self._fail("fell silent; check whether it is overloaded", again=True)

    def _fail(self, what: str, *, again: bool) -> None:
        self._failure = EndpointError(f"{self._url} {what}", again=again)
        self._wake()
        self.close()


class _Pool:
    """Connections to one server; `free` are those that nobody uses, the latest used last."""

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        self.opening = 0
        self.free: list[Connection] = []
        self.waiting: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """Connections that there are, or will be in a moment."""
        return len(self.open) + self.opening

    def lose(self, connection: Connection) -> None:
        """It is no more."""
        self.open.discard(connection)
        if connection in self.free:
            self.free.remove(connection)
        self.tell_next()

    def tell_next(self) -> None:
        """A connection is free, or may be opened."""
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


class Wire:
    """Connections to all upstreams; belongs to one event loop.

    Args:
        connect_s: longest wait for a connection.
        silence_s: longest wait for the next bytes of an answer, and for a free connection.
        most_connections: to one server; further requests wait for a free one.
    """

    def __init__(self, *, connect_s: float, silence_s: float, most_connections: int) -> None:
        self._connect_s, self._silence_s, self._most = connect_s, silence_s, most_connections
        self._pools: dict[Server, _Pool] = {}
        self._trust: ssl.SSLContext | None = None

    async def ask(self, server: Server, request: bytes, url: str) -> Connection:
        """Send a request, and wait for the head of its answer; the connection is to be given back.

        It is sent once more where the server closed an idle connection just then: it has not read the request.

        Raises:
            EndpointError: the server cannot be reached, or breaks off before its answer begins.
        """
        pool = self._pools.get(server)
        if pool is None:
            pool = self._pools[server] = _Pool()
        while True:
            connection = pool.free.pop() if pool.free else await self._open(pool, server, url)
            try:
                await connection.ask(request, url)
            except EndpointError:
                connection.close()
                if not connection.is_stale:
                    raise
                while pool.free:  # so will be the others that rested
                    pool.free.pop().close()
            except BaseException:
                connection.close()
                raise
            else:
                return connection

    def give_back(self, server: Server, connection: Connection) -> None:
        """Keep the connection for the next request, or close it where its answer was not read to the end."""
        pool = self._pools[server]
        if connection.may_be_used_again:
            pool.free.append(connection)
            pool.tell_next()
        else:
            connection.close()

    def close(self) -> None:
        """Close every connection; requests under way end with `EndpointError`."""
        for pool in self._pools.values():
            for connection in tuple(pool.open):
                connection.close()

    async def _open(self, pool: _Pool, server: Server, url: str) -> Connection:
        """A new connection; waits for one of the others while there are too many."""
        while len(pool) >= self._most:
            await self._turn(pool, url)
            if pool.free:
                return pool.free.pop()
        trust = self._trusted() if server.is_encrypted else None
        pool.opening += 1
        try:
            async with asyncio.timeout(self._connect_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(pool, silence_s=self._silence_s), server.host, server.port, ssl=trust
                )
        except OSError as failed:  # TimeoutError is one
            why = failed.strerror or str(failed) or f"no connection within {self._connect_s:g} s"
            raise EndpointError(f"{url} cannot be reached ({why}); check that it runs", again=True) from failed
        finally:
            pool.opening -= 1
            if len(pool) < self._most:
                pool.tell_next()
        return connection

    async def _turn(self, pool: _Pool, url: str) -> None:
        waiter = asyncio.get_running_loop().create_future()
        pool.waiting.append(waiter)
        try:
            async with asyncio.timeout(self._silence_s):
                await waiter
        except TimeoutError:
            raise EndpointError(f"{url} has no connection free; check whether it is overloaded", again=True) from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                pool.tell_next()
            raise

    def _trusted(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = ssl.create_default_context()
        return self._trust
