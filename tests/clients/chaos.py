"""Clients whose luck is out, by one seed: they leave, their upstream fails or ends, their engine's process is killed.

Requests are made on plain sockets, because a proper client does not leave in the middle of its own head. Each must come to
an end within a bound, with an answer or an error in its protocol's form; what else should hold is for the tests to say.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import psutil
from tests.clients.stand import Row, Upstream, engines_of, running_upstream
from tests.server.serving import Server

#: No request may take longer, on a machine that is busy with everything else.
MOST_S: Final = 60.0
#: Where a model's process is killed, is started again, and answers then.
MOST_WITH_ENGINES_S: Final = 120.0
#: For the server's setting: what an upstream may be silent.
SILENCE_S: Final = 1.0
#: Nothing listens on this port (discard, RFC 863) of a machine of today.
NOBODY: Final = "http://127.0.0.1:9/v1#nobody"
FAILURES: Final = ("fail 400", "fail 429", "fail 500", "fail 503", "fail garbage", "fail cut")
HANGS: Final = ("fail silent", "fail stall")
CHAT, COMPLETION, WORK, WORK_STREAM, EMBEDDING = (
    "/v1/chat/completions", "/v1/completions", "/generate", "/generate/stream", "/v1/embeddings",
)  # fmt: skip
WRITING: Final = (CHAT, COMPLETION, WORK, WORK_STREAM)
_REFUSED: Final = frozenset({400, 422, 429, 502, 503, 504})
_TOLD: Final = (b'"error"', b"event: error", b'"detail"')


Act = Callable[[random.Random], Awaitable[str]]


@dataclass(frozen=True)
class Heard:
    """What a client got before the connection ended; `status` 0 where it heard nothing."""

    status: int
    body: bytes

    @property
    def tells_error(self) -> bool:
        """In one of the protocols' forms."""
        return any(sign in self.body for sign in _TOLD)


class Mortal:
    """An upstream that is killed and comes back at the same place."""

    def __init__(self) -> None:
        self.alone = asyncio.Lock()
        self._undo = ExitStack()
        self.upstream = self._undo.enter_context(running_upstream())

    @property
    def port(self) -> int:
        return urlsplit(self.upstream.origin).port or 0

    def kill(self) -> None:
        self._undo.close()

    def come_back(self) -> None:
        self.upstream = self._undo.enter_context(running_upstream(self.port))


class Chaos:
    """Clients of one server.

    Args:
        engines: whether `creative_writing` runs here.
        mortal: the upstream of `scientific_research`.
    """

    def __init__(self, server: Server, seed: int, *, engines: bool, mortal: Mortal) -> None:
        self._server, self._seed, self._engines, self._mortal = server, seed, engines, mortal
        self.endings: Counter[str] = Counter()
        self.killed = 0
        self._acts: dict[Act, float] = {
            self.leaves: 3, self.is_unlucky: 3, self.is_let_down: 1.5, self.loses_upstream: 1, self.finds_nobody: 1,
            self.is_well: 1,
        }  # fmt: skip
        if engines:
            self._acts |= {self.leaves_engine: 3, self.kills: 0.6}

    @staticmethod
    def rows(upstream: Upstream, mortal: Mortal) -> list[Row]:
        """What the model table must have besides the stand's own rows."""
        return [
            ("Translation", "Nobody", NOBODY),
            ("Summarization", "Silent", upstream.model("mute")),
            ("Scientific Research", "Mortal", mortal.upstream.model("steady")),
        ]

    async def some(self, count: int, *, at_once: int = 6, only: Act | None = None) -> None:
        """So many requests, some at a time: one of each kind, then any. What each does follows from the seed alone."""
        left = iter(range(count))
        async with asyncio.TaskGroup() as clients:
            for _ in range(at_once):
                clients.create_task(self._client(left, only))

    async def _client(self, left: Iterator[int], only: Act | None) -> None:
        for number in left:
            chance, kinds = random.Random(f"{self._seed}/{number}"), list(self._acts)
            any_kind = chance.choices(kinds, list(self._acts.values()))[0]
            chosen = only or (kinds[number] if number < len(kinds) else any_kind)
            try:
                async with asyncio.timeout(MOST_WITH_ENGINES_S if self._engines else MOST_S):
                    self.endings[await chosen(chance)] += 1
            except TimeoutError:
                raise AssertionError(f"request {number} hangs: {chosen.__name__}") from None

    async def leaves(self, chance: random.Random) -> str:
        path = chance.choice((*WRITING, EMBEDDING))
        prompt = chance.choice(("fail slow", "fail silent", "fail stall", "hello"))
        await self._ask_and_leave(chance, path, _request(chance, path, "conversational_chat", prompt))
        return "left"

    async def leaves_engine(self, chance: random.Random) -> str:
        path = chance.choice((*WRITING, EMBEDDING))
        await self._ask_and_leave(chance, path, _request(chance, path, "creative_writing", "hello", most=400))
        return "left an engine"

    async def finds_nobody(self, chance: random.Random) -> str:
        """The upstream is not there at all."""
        path = chance.choice((CHAT, COMPLETION))
        heard = await self._hear(path, _request(chance, path, "translation", "hello"))
        assert heard.status in (429, 503), heard
        assert json.loads(heard.body)["error"]["message"]
        return "found nobody"

    async def is_unlucky(self, chance: random.Random) -> str:
        """The failure, or the rest that failures earn; where a stream had begun, its last event tells it."""
        path, prompt = chance.choice(WRITING), chance.choice(FAILURES)
        heard = await self._hear(path, _request(chance, path, "legal_analysis", prompt))
        assert heard.status == 200 or heard.status in _REFUSED, (path, prompt, heard)
        assert heard.tells_error, (path, prompt, heard)
        return "unlucky"

    async def is_let_down(self, chance: random.Random) -> str:
        """The upstream falls silent, before its answer or amid it, and the client waits for what comes of it."""
        path, prompt = chance.choice(WRITING), chance.choice(HANGS)
        heard = await self._hear(path, _request(chance, path, "summarization", prompt))
        assert heard.status == 200 or heard.status in _REFUSED, (path, prompt, heard)
        assert heard.tells_error, (path, prompt, heard)
        return "let down"

    async def loses_upstream(self, chance: random.Random) -> str:
        """The upstream is killed while it writes, and comes back."""
        path = chance.choice(WRITING)
        async with self._mortal.alone:
            asking = asyncio.create_task(self._hear(path, _request(chance, path, "scientific_research", "fail slow")))
            await asyncio.sleep(chance.random() * 0.5)
            await asyncio.to_thread(self._mortal.kill)
            heard = await asking
            await asyncio.to_thread(self._mortal.come_back)
        assert heard.status == 200 or heard.status in _REFUSED, (path, heard)
        assert heard.tells_error, (path, heard)
        return "lost its upstream"

    async def is_well(self, chance: random.Random) -> str:
        path = chance.choice((CHAT, COMPLETION, WORK))
        heard = await self._hear(path, _request(chance, path, "conversational_chat", "hello", stream=False))
        assert heard.status == 200, heard
        json.loads(heard.body)
        return "well"

    async def kills(self, chance: random.Random) -> str:
        """Have a local model write at length, and kill its process meanwhile."""
        path = chance.choice((CHAT, WORK))
        request = _request(chance, path, "creative_writing", "hello", most=300)
        asking = asyncio.create_task(self._hear(path, request))
        while not asking.done() and not engines_of(self._server):
            await asyncio.sleep(0.05)
        await asyncio.sleep(chance.random() * 4)  # it loads for some seconds, then it writes
        for engine in engines_of(self._server):
            with contextlib.suppress(psutil.Error):  # it ended meanwhile
                engine.kill()
                self.killed += 1
        heard = await asking
        assert heard.status in (200, 503), heard
        return "killed"

    async def _ask_and_leave(self, chance: random.Random, path: str, document: Any) -> None:
        """Leave before, amid or after the head of the request, or anywhere in its answer; politely or not."""
        head, body = self._message(path, document)
        cut = chance.choice((len(head) // 2, len(head), len(head) + len(body) // 2, *[len(head) + len(body)] * 6))
        reader, writer = await self._connection()
        try:
            writer.write((head + body)[:cut])
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.random() * 0.5):
                    await reader.readexactly(chance.randrange(1, 4000))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it was answered, or refused, before we left
        finally:
            if chance.random() < 0.5:
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


def _request(
    chance: random.Random, path: str, category: str, prompt: str, *, most: int = 2000, stream: bool | None = None
) -> dict[str, Any]:
    streams = chance.random() < 0.6 if stream is None else stream
    if path == EMBEDDING:
        return {"model": category, "input": prompt}
    if path.startswith("/generate"):
        return {"category": category, "prompt": prompt, "max_tokens": most}
    if path == COMPLETION:
        return {"model": category, "prompt": prompt, "max_tokens": most, "stream": streams}
    said = [{"role": "user", "content": prompt}]
    return {"model": category, "messages": said, "max_tokens": most, "stream": streams}


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + rest[:length], rest[length + 2 :]
        if length == 0:
            break
    return whole
