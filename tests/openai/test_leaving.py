"""Clients that leave before anything is sent: what was begun for them is closed, at once and by name."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from tests.openai.conftest import Live
from tests.openai.scripted import CHAT_NAME, Script

from conductor.faces.http.presence import Stream

pytestmark = pytest.mark.anyio
SCOPE = {"type": "http"}


class Source:
    """Parts that note their closing; whoever holds them keeps the garbage collector from closing them instead."""

    def __init__(self) -> None:
        self.closed = False
        self.parts = self._parts()

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"data: x\n\n"
                await asyncio.sleep(0)
        finally:
            self.closed = True


async def _events(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async for part in parts:
        yield part


async def test_a_client_that_leaves_while_the_head_is_sent_has_its_parts_closed() -> None:
    source = Source()
    await anext(source.parts)

    async def leave() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def never_taken(_message: object) -> None:
        await asyncio.Event().wait()

    await Stream(_events(source.parts), parts=source.parts)(SCOPE, leave, never_taken)

    assert source.closed


async def test_a_sender_that_fails_at_the_head_has_its_parts_closed() -> None:
    source = Source()
    await anext(source.parts)

    async def stay() -> dict[str, str]:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def broken(_message: object) -> None:
        raise OSError("the connection is gone")

    await Stream(_events(source.parts), parts=source.parts)(SCOPE, stay, broken)

    assert source.closed


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/generate/stream"])
async def test_clients_that_leave_at_once_hold_no_model(live: Live, script: Script, path: str) -> None:
    script.words = ("word ",) * 100_000
    chat = b'{"model": "%b", "stream": true, "messages": [{"role": "user", "content": "x"}]}' % CHAT_NAME.encode()
    body = chat if path.startswith("/v1") else b'{"prompt": "x", "category": "conversational_chat"}'
    for wait_s in (0, 0.0005, 0.001, 0.002, 0.004, 0.008) * 3:
        _, writer = await asyncio.open_connection("127.0.0.1", int(live.url.rpartition(":")[2]))
        writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body))
        await asyncio.sleep(wait_s)
        writer.transport.abort()
    async with asyncio.timeout(20):
        while script.leases or script.writing:
            await asyncio.sleep(0.01)
