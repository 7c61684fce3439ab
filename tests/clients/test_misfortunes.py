"""Clients that leave, upstreams that fail, engine processes that are killed: no request hangs, and nothing stays behind.

Requests are made on plain sockets, because a proper client does not leave in the middle of its own head.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from tests.clients.conftest import MakeServer
from tests.clients.stand import (
    LOCAL,
    RUNS_MODELS,
    WHY_NOT,
    Upstream,
    at_rest,
    elsewhere,
    engines_of,
    page,
    process_of,
    running_upstream,
    under_way,
)
from tests.server.serving import Server, eventually

pytestmark = pytest.mark.anyio
#: No request may take longer: a model's process is killed, started again, and answers within this.
MOST_S = 120.0
#: The server's own connections that are kept for the next request, and what they may be more than before.
SPARE_FILES = 4
SPARE_BYTES = 16 * 2**20
#: Nothing listens on this port (discard, RFC 863) of a machine of today.
NOBODY = "http://127.0.0.1:9/v1#nobody"
FAILURES = ("fail 400", "fail 429", "fail 500", "fail 503", "fail garbage", "fail cut")
WAYS = ("/v1/chat/completions", "/v1/completions", "/generate", "/generate/stream", "/v1/embeddings")


@dataclass(frozen=True)
class Heard:
    """What a client got before the connection ended; `status` 0 where it heard nothing."""

    status: int
    body: bytes


class Chaos:
    """Clients of one server, by one seed."""

    def __init__(self, server: Server, seed: int, engines: bool) -> None:
        self._server, self._random, self._engines = server, random.Random(seed), engines
        self.endings: Counter[str] = Counter()
        self.killed = 0

    async def one(self) -> None:
        """One request of some kind; it must come to an end."""
        kinds = [*[self.leaves] * 3, *[self.is_unlucky] * 3, self.finds_nobody, self.is_well]
        if self._engines:
            kinds += [*[self.leaves_engine] * 3, self.kills]
        act = self._random.choice(kinds)
        async with asyncio.timeout(MOST_S):
            self.endings[await act()] += 1

    async def leaves(self) -> str:
        path = self._random.choice(WAYS)
        prompt = self._random.choice(("fail slow", "fail silent", "hello"))
        await self._ask_and_leave(path, self._request(path, "conversational_chat", prompt))
        return "left"

    async def leaves_engine(self) -> str:
        path = self._random.choice(WAYS)
        await self._ask_and_leave(path, self._request(path, "creative_writing", "hello", most=400))
        return "left an engine"

    async def finds_nobody(self) -> str:
        """The upstream is not there at all."""
        path = self._random.choice(WAYS[:2])
        heard = await self._hear(path, self._request(path, "translation", "hello"))
        assert heard.status in (429, 503), heard
        assert json.loads(heard.body)["error"]["message"]
        return "found nobody"

    async def is_unlucky(self) -> str:
        path = self._random.choice(WAYS[:4])
        prompt = self._random.choice(FAILURES)
        heard = await self._hear(path, self._request(path, "legal_analysis", prompt))
        # The failure, or the rest that failures earn; where a stream had begun, its last event tells it.
        assert heard.status in (200, 400, 422, 429, 503), (path, prompt, heard)
        assert any(sign in heard.body for sign in (b'"error"', b"event: error", b'"detail"')), (path, prompt, heard)
        return "unlucky"

    async def is_well(self) -> str:
        path = self._random.choice(WAYS[:3])
        heard = await self._hear(path, self._request(path, "conversational_chat", "hello", stream=False))
        assert heard.status == 200, heard
        json.loads(heard.body)
        return "well"

    async def kills(self) -> str:
        """Have a local model write at length, and kill its process meanwhile."""
        path = self._random.choice(("/v1/chat/completions", "/generate"))
        request = self._request(path, "creative_writing", "hello", most=300)
        asking = asyncio.create_task(self._hear(path, request))
        while not asking.done() and not engines_of(self._server):
            await asyncio.sleep(0.05)
        await asyncio.sleep(self._random.random() * 4)  # it loads for some seconds, then it writes
        for engine in engines_of(self._server):
            with contextlib.suppress(psutil.Error):  # it ended meanwhile
                engine.kill()
                self.killed += 1
        heard = await asking
        assert heard.status in (200, 503), heard
        return "killed"

    def _request(
        self, path: str, category: str, prompt: str, *, most: int = 2000, stream: bool | None = None
    ) -> dict[str, Any]:
        streams = self._random.random() < 0.6 if stream is None else stream
        if path == "/v1/embeddings":
            return {"model": category, "input": prompt}
        if path.startswith("/generate"):
            return {"category": category, "prompt": prompt, "max_tokens": most}
        if path == "/v1/completions":
            return {"model": category, "prompt": prompt, "max_tokens": most, "stream": streams}
        said = [{"role": "user", "content": prompt}]
        return {"model": category, "messages": said, "max_tokens": most, "stream": streams}

    async def _ask_and_leave(self, path: str, document: Any) -> None:
        """Leave before, amid or after the head of the request, or anywhere in its answer; politely or not."""
        head, body = self._message(path, document)
        cut = self._random.choice((len(head) // 2, len(head), len(head) + len(body) // 2, *[len(head) + len(body)] * 6))
        reader, writer = await self._connection()
        try:
            writer.write((head + body)[:cut])
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._random.random() * 0.5):
                    await reader.readexactly(self._random.randrange(1, 4000))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it was answered, or refused, before we left
        finally:
            if self._random.random() < 0.5:
                writer.transport.abort()
            writer.close()

    async def _hear(self, path: str, document: Any) -> Heard:
        """The whole answer, to the end of the connection."""
        reader, writer = await self._connection()
        try:
            writer.write(b"".join(self._message(path, document)))
            raw = b""
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(65536):
                    raw += piece
        finally:
            writer.close()
        head, _, body = raw.partition(b"\r\n\r\n")
        return Heard(int(head.split()[1]) if head else 0, body if b"chunked" not in head else _unchunked(body))

    def _message(self, path: str, document: Any) -> tuple[bytes, bytes]:
        body = json.dumps(document).encode()
        parts = urlsplit(self._server.url)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {self._server.client.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode(), body

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._server.url)
        return await asyncio.open_connection(parts.hostname, parts.port)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + rest[:length], rest[length + 2 :]
        if length == 0:
            break
    return whole


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.soak)])
async def test_nothing_hangs_and_nothing_stays_behind(
    make_server: MakeServer, count: int, request: pytest.FixtureRequest
) -> None:
    with running_upstream() as upstream:  # one of its own: what is under way there must come from here
        rows = [*elsewhere(upstream), ("Translation", "Nobody", NOBODY)]
        if RUNS_MODELS:
            folder: Path = request.getfixturevalue("local_folder")
            rows.append(("Creative Writing", LOCAL, str(folder)))
        server = make_server(page(*rows), log__level="warning").start()
        await _some(Chaos(server, 1, engines=False), 8)  # what is loaded with the first requests is no growth
        await _rest(server, upstream)
        before = _held(server)

        chaos = Chaos(server, count, engines=RUNS_MODELS)
        await _some(chaos, count)
        await _rest(server, upstream)
        if RUNS_MODELS:
            asked = {"prompt": "hello", "category": "creative_writing", "max_tokens": 4}
            eventually(
                lambda: server.client.post("/generate", asked).status == 200, "the model is back", within_s=MOST_S
            )
            server.client.post("/models/unload", {"model": "creative_writing"}).expect(200)
            eventually(lambda: not engines_of(server), "the engine's process has ended")

        happened = {"left", "unlucky", "found nobody", "well"} | (
            {"left an engine", "killed"} if RUNS_MODELS else set()
        )
        assert chaos.endings.total() == count
        assert set(chaos.endings) == happened, "another seed would try more"
        assert (chaos.killed > 0) == RUNS_MODELS
        eventually(lambda: _held(server)[0] <= before[0] + SPARE_FILES, f"open files return to {before[0]}")
        files, processes, resident = _held(server)
        assert processes == before[1], "processes return"
        assert resident <= before[2] + SPARE_BYTES, f"memory grew from {before[2]} to {resident}, files {files}"
        heard = server.client.post("/generate", {"prompt": "hello", "category": "conversational_chat"}).expect(200)
        assert heard["text"].endswith("I heard: hello")
        assert "request_failed" not in server.log.read_text()
        assert "Traceback" not in server.log.read_text()
        assert server.stop() == 0


async def _some(chaos: Chaos, count: int) -> None:
    """So many requests, some at a time."""
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            await chaos.one()

    async with asyncio.TaskGroup() as clients:
        for _ in range(6):
            clients.create_task(client())


async def _rest(server: Server, upstream: Upstream) -> None:
    await asyncio.to_thread(at_rest, server, upstream)


def _held(server: Server) -> tuple[int, int, int]:
    """Open files, processes and resident bytes of the server."""
    process = process_of(server)
    return process.num_fds(), 1 + len(process.children(recursive=True)), process.memory_info().rss


def test_an_upstream_that_is_not_there_is_told_at_once(make_server: MakeServer) -> None:
    server = make_server(page(("Conversational Chat", "Nobody", NOBODY))).start()

    told = [
        server.client.post(path, {"prompt": "hello", "model": "Nobody"}) for path in ("/generate", "/v1/completions")
    ]

    assert [answer.status for answer in told] == [503, 503]
    assert all(b"127.0.0.1:9" in answer.body for answer in told)
    eventually(lambda: under_way(server) == 0, "nothing is under way")


@pytest.mark.skipif(not RUNS_MODELS, reason=WHY_NOT)
def test_a_model_whose_process_was_killed_is_started_again(make_server: MakeServer, local_folder: Path) -> None:
    server = make_server(page(("Creative Writing", LOCAL, str(local_folder)))).start()
    asked = {"prompt": "The river", "category": "creative_writing", "max_tokens": 4, "temperature": 0}
    first = server.client.post("/generate", asked).expect(200)

    (engine,) = engines_of(server)
    engine.kill()
    eventually(lambda: not engines_of(server), "the process is gone")
    again = eventually(
        lambda: answer if (answer := server.client.post("/generate", asked)).status == 200 else None,
        "the model is back",
    )

    assert again.json["text"] == first["text"]
    assert len(engines_of(server)) == 1


@pytest.mark.skipif(not RUNS_MODELS, reason=WHY_NOT)
def test_a_server_that_is_killed_leaves_no_engine_behind(make_server: MakeServer, local_folder: Path) -> None:
    server = make_server(page(("Creative Writing", LOCAL, str(local_folder)))).start()
    server.client.post("/models/load", {"model": "creative_writing"}).expect(200)
    (engine,) = engines_of(server)

    server.kill()

    assert engine.wait(60) is None or not engine.is_running()
