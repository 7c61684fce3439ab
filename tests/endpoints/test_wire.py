"""Connections to upstreams, against servers that send whatever bytes a test wants."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.adapters.endpoints.failures import EndpointError
from conductor.adapters.endpoints.wire import Connection, Server, Wire

REQUEST = b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
URL = "http://upstream/v1/x"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: t\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n" + WHOLE
UNTIL_THE_END = OK + b"\r\nhello"
OLD = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\nhello"

Talk = Callable[["Raw", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class Raw:
    """A server that answers each connection as its test says; `requests` is what was asked, by connection."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.requests: list[int] = []
        self.sent_bytes = 0
        self.ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.server = Server("127.0.0.1", self._server.sockets[0].getsockname()[1], is_encrypted=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(0)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._talk(self, reader, writer)
        finally:
            self.ended.set()
            writer.close()


def says(*pieces: bytes, ends: bool = False) -> Talk:
    """Answers every request with these bytes, a write for each piece; then the connection ends, or stays."""

    async def talk(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(raw.requests) - 1
        while True:
            await reader.readexactly(len(REQUEST))
            raw.requests[number] += 1
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if ends:
                return

    return talk


@contextlib.asynccontextmanager
async def wire(*, silence_s: float = 5.0, most_connections: int = 8) -> AsyncIterator[Wire]:
    wire = Wire(connect_s=2.0, silence_s=silence_s, most_connections=most_connections)
    yield wire
    wire.close()
    await asyncio.sleep(0.01)


async def body_of(connection: Connection) -> bytes:
    body = b""
    while not connection.is_over or not body:
        body += await connection.read()
    return body


async def answer(wire: Wire, server: Server) -> tuple[int, bytes]:
    connection = await wire.ask(server, REQUEST, URL)
    try:
        return connection.status, await body_of(connection)
    finally:
        wire.give_back(server, connection)


@given(
    sent=st.sampled_from([WHOLE, CHUNKED, INTERIM, UNTIL_THE_END, OLD]),
    cuts=st.lists(st.integers(1, len(INTERIM)), max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_an_answer_is_the_same_however_it_is_chopped(sent: bytes, cuts: list[int]) -> None:
    places = [0, *sorted({min(cut, len(sent)) for cut in cuts}), len(sent)]
    pieces = [sent[start:end] for start, end in itertools.pairwise(places)]

    async def asked() -> tuple[int, bytes, list[bytes]]:
        async with Raw(says(*pieces, ends=sent in (UNTIL_THE_END, OLD))) as raw, wire() as ours:
            connection = await ours.ask(raw.server, REQUEST, URL)
            body = await body_of(connection)
            return connection.status, body, [name for name, _ in connection.headers]

    status, body, names = asyncio.run(asked())

    assert (status, body) == (200, b"hello")
    assert b"X-Early" not in names
    assert b"X-Trailer" not in names


@pytest.mark.anyio
@pytest.mark.parametrize(("sent", "connections"), [(WHOLE, 1), (CHUNKED, 1), (INTERIM, 1)])
async def test_a_connection_serves_one_request_after_the_other(sent: bytes, connections: int) -> None:
    async with Raw(says(sent)) as raw, wire() as ours:
        answers = [await answer(ours, raw.server) for _ in range(3)]

        assert answers == [(200, b"hello")] * 3
        assert len(raw.requests) == connections


@pytest.mark.anyio
@pytest.mark.parametrize("sent", [UNTIL_THE_END, OLD, WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
async def test_a_connection_that_its_server_ends_is_not_used_again(sent: bytes) -> None:
    async with Raw(says(sent, ends=True)) as raw, wire() as ours:
        assert [await answer(ours, raw.server) for _ in range(2)] == [(200, b"hello")] * 2
        assert raw.requests == [1, 1]


@pytest.mark.anyio
async def test_a_server_that_closes_idle_connections_is_not_the_callers_trouble() -> None:
    async def talk(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for sent in (WHOLE, b""):
            await reader.readexactly(len(REQUEST))
            raw.requests[-1] += 1
            writer.write(sent)

    async with Raw(talk) as raw, wire() as ours:
        assert [await answer(ours, raw.server) for _ in range(3)] == [(200, b"hello")] * 3
        assert raw.requests == [2, 2, 1]


@pytest.mark.anyio
async def test_a_server_that_hangs_up_on_a_new_connection_is_asked_once() -> None:
    async with Raw(says(ends=True)) as raw, wire() as ours:
        with pytest.raises(EndpointError, match="broke off"):
            await answer(ours, raw.server)

        assert raw.requests == [1]


@pytest.mark.anyio
@pytest.mark.parametrize("more", [WHOLE.replace(b"hello", b"false"), b"rubbish", b"\x00" * 3])
async def test_what_follows_an_answer_unasked_is_nobodys_answer(more: bytes) -> None:
    async with Raw(says(WHOLE + more)) as raw, wire() as ours:
        assert [await answer(ours, raw.server) for _ in range(2)] == [(200, b"hello")] * 2
        assert raw.requests == [1, 1]


@pytest.mark.anyio
async def test_what_comes_later_unasked_is_nobodys_answer() -> None:
    async with Raw(says(WHOLE, WHOLE.replace(b"hello", b"false"))) as raw, wire() as ours:
        first = await answer(ours, raw.server)
        await raw_rest()
        second = await answer(ours, raw.server)

        assert (first, second, raw.requests) == ((200, b"hello"), (200, b"hello"), [1, 1])


async def raw_rest() -> None:
    """Let what is on its way arrive."""
    await asyncio.sleep(0.05)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("sent", "ends", "words"),
    [
        (b"SSH-2.0-OpenSSH\r\n", False, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", False, "does not speak HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nx", False, "not speak HTTP"),
        (OK + b"X-Long: " + b"x" * 200_000, False, "a head of more than"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, False, "a head of more than"),
        (OK, True, "broke off"),
        (OK + b"Content-Length: 50\r\n\r\nhello", True, "broke off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", True, "broke off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nnothing", False, "does not speak HTTP"),
        (b"", False, "fell silent"),
        (OK + b"Content-Length: 50\r\n\r\nhello", False, "fell silent"),
    ],
)
async def test_what_is_no_whole_answer_is_told(sent: bytes, ends: bool, words: str) -> None:
    async with Raw(says(sent, ends=ends)) as raw, wire(silence_s=0.2) as ours:
        async with asyncio.timeout(10):
            with pytest.raises(EndpointError, match=words) as caught:
                await answer(ours, raw.server)
            await raw.ended.wait()

        assert URL in caught.value.message


@pytest.mark.anyio
async def test_nobody_at_the_address_is_told_as_that() -> None:
    async with Raw(says()) as raw:
        pass
    async with wire() as ours:
        with pytest.raises(EndpointError, match="cannot be reached") as caught:
            await answer(ours, raw.server)

    assert caught.value.again


@pytest.mark.anyio
async def test_a_reader_that_rests_stops_the_server_and_is_not_taken_for_its_silence() -> None:
    async def talk(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(REQUEST))
        writer.write(OK + b"Content-Length: 24000000\r\n\r\n")
        for _ in range(240):
            writer.write(b"x" * 100_000)
            await writer.drain()
            raw.sent_bytes += 100_000

    async with Raw(talk) as raw, wire(silence_s=1.0) as ours:
        connection = await ours.ask(raw.server, REQUEST, URL)
        sent = -1
        while raw.sent_bytes != sent:  # until nothing moves any more, for longer than a silence may last
            sent = raw.sent_bytes
            await asyncio.sleep(1.2)
        held = sum(map(len, connection._parts))

        assert sent < 16_000_000  # the rest is in the buffers of the system
        assert held < 1_000_000
        assert len(await body_of(connection)) == 24_000_000


@pytest.mark.anyio
async def test_what_had_come_before_a_slow_reader_was_cut_off_is_read_and_then_the_end_is_told() -> None:
    async with Raw(says(OK + b"Content-Length: 9000000\r\n\r\n", b"x" * 8_000_000)) as raw, wire() as ours:
        connection = await ours.ask(raw.server, REQUEST, URL)
        await raw_rest()
        ours.close()
        await raw_rest()

        assert await connection.read()
        with pytest.raises(EndpointError, match="broke off"):
            await connection.read()


@pytest.mark.anyio
async def test_requests_wait_for_a_free_connection() -> None:
    async with Raw(says(WHOLE)) as raw, wire(most_connections=2) as ours:
        held = [await ours.ask(raw.server, REQUEST, URL) for _ in range(2)]
        others = [asyncio.ensure_future(answer(ours, raw.server)) for _ in range(5)]
        await raw_rest()
        assert not any(one.done() for one in others)
        await body_of(held[0])
        ours.give_back(raw.server, held[0])
        ours.give_back(raw.server, held[1])  # not read, so it is closed, and another one may be opened

        assert await asyncio.gather(*others) == [(200, b"hello")] * 5
        assert sum(raw.requests) == 7


@pytest.mark.anyio
async def test_one_that_gives_up_waiting_leaves_its_turn_to_the_next() -> None:
    async with Raw(says(WHOLE)) as raw, wire(most_connections=1) as ours:
        held = await ours.ask(raw.server, REQUEST, URL)
        impatient, patient = (asyncio.ensure_future(answer(ours, raw.server)) for _ in range(2))
        await raw_rest()
        await body_of(held)
        ours.give_back(raw.server, held)
        impatient.cancel()  # in the moment when its turn has come

        async with asyncio.timeout(5):
            assert await patient == (200, b"hello")


@pytest.mark.anyio
async def test_giving_up_an_answer_closes_the_connection() -> None:
    async with Raw(says(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")) as raw, wire() as ours:
        asking = asyncio.ensure_future(answer(ours, raw.server))
        await raw_rest()
        asking.cancel()
        async with asyncio.timeout(5):
            await raw.ended.wait()


@pytest.mark.anyio
async def test_closing_ends_requests_under_way_as_broken_off() -> None:
    async with Raw(says(UNTIL_THE_END)) as raw, wire() as ours:
        connection = await ours.ask(raw.server, REQUEST, URL)
        assert await connection.read() == b"hello"
        ours.close()

        with pytest.raises(EndpointError, match="broke off"):
            await connection.read()
