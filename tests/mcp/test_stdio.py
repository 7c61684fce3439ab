"""Standard input and output: lines, requests side by side, cancelling, the end of input."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mcp.shelf import Shelf

from conductor.app.installation import Installation
from conductor.domain.errors import StorageError
from conductor.faces.mcp.lines import Lines
from conductor.faces.mcp.protocol import Dispatcher
from conductor.faces.mcp.relay import Relay
from conductor.faces.mcp.rpc import write
from conductor.faces.mcp.stdio import Answerer, StdioServer

pytestmark = pytest.mark.anyio


@given(st.lists(st.binary(max_size=20)))
def test_lines_do_not_depend_on_how_the_stream_is_cut(pieces: list[bytes]) -> None:
    whole, cut = Lines(10), Lines(10)
    stream = b"".join(pieces)

    expected = [*whole.feed(stream), *whole.end()]

    assert [line for piece in pieces for line in cut.feed(piece)] + list(cut.end()) == expected
    assert expected == [
        None if len(line) > 10 else line.strip() for line in stream.split(b"\n") if len(line) > 10 or line.strip()
    ]


class Talk:
    """The client's ends of two pipes."""

    def __init__(self, to_server: int, from_server: int) -> None:
        self._to, self._from = to_server, from_server
        self._rest = b""

    def say(self, message: Any) -> None:
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        os.write(self._to, text + b"\n")

    def ask(self, request_id: Any, method: str, **params: Any) -> None:
        self.say({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})

    async def hear(self) -> Any:
        while b"\n" not in self._rest:
            piece = await asyncio.to_thread(os.read, self._from, 65536)
            assert piece, "the server has closed its output"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def leave(self) -> None:
        if self._to >= 0:
            os.close(self._to)
            self._to = -1


@asynccontextmanager
async def talking(shelf: Shelf, instead: Answerer | None = None) -> AsyncIterator[tuple[Talk, "asyncio.Task[None]"]]:
    dispatcher = Dispatcher(shelf)

    async def answerer(message: Any, _raw: bytes, _hear: Any) -> bytes | None:
        answer = await dispatcher.answer(message)
        return None if answer is None else write(answer)

    (read_from, to_server), (from_server, write_to) = os.pipe(), os.pipe()
    talk = Talk(to_server, from_server)
    serving = asyncio.create_task(StdioServer(instead or answerer, read_from=read_from, write_to=write_to).serve())
    try:
        async with asyncio.timeout(60):
            yield talk, serving
    finally:
        talk.leave()
        serving.cancel()
        await asyncio.wait([serving])


async def test_a_slow_request_does_not_hold_up_others() -> None:
    async with talking(Shelf()) as (talk, _):
        talk.ask("slow", "tools/call", name="wait")
        talk.ask("quick", "ping")

        assert (await talk.hear())["id"] == "quick"


async def test_a_cancelled_request_ends_and_is_not_answered() -> None:
    shelf = Shelf()
    async with talking(shelf) as (talk, _):
        talk.ask(1, "tools/call", name="wait")
        await shelf.waiting.wait()
        talk.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        await shelf.cancelled.wait()
        talk.ask(1, "ping")

        assert (await talk.hear())["result"] == {}


async def test_a_request_that_meets_an_error_of_ours_is_answered_and_so_is_the_next() -> None:
    async def stumbling(message: Any, _raw: bytes, _hear: Any) -> bytes | None:
        if message["method"] == "ping":
            return b'{"jsonrpc":"2.0","id":2,"result":{}}'
        raise StorageError("a secret of the house")

    async with talking(Shelf(), stumbling) as (talk, _):
        talk.ask(1, "tools/list")
        refused = await talk.hear()
        talk.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        talk.ask(2, "ping")

        assert (refused["id"], refused["error"]["code"]) == (1, -32603)
        assert "secret" not in refused["error"]["message"]
        assert (await talk.hear())["result"] == {}


async def test_a_key_that_others_could_read_is_told_to_the_client(tmp_path: Path) -> None:
    installation = Installation.find(data_dir=tmp_path, environ={})
    installation.paths.access_key.write_text("x" * 43)
    installation.paths.access_key.chmod(0o644)
    relay = Relay(installation)
    relay._url = "http://127.0.0.1:9"  # as if a server had been found

    async with talking(Shelf(), relay.answer) as (talk, _):
        talk.ask(1, "ping")

        assert "chmod 600" in (await talk.hear())["error"]["message"]


async def test_what_was_asked_before_the_input_ended_is_still_answered() -> None:
    async with talking(Shelf()) as (talk, serving):
        for number in range(20):
            talk.ask(number, "ping")
        talk.leave()

        assert {(await talk.hear())["id"] for _ in range(20)} == set(range(20))
        await serving


async def test_lines_that_are_no_message_are_refused_and_the_next_is_answered() -> None:
    async with talking(Shelf()) as (talk, _):
        talk.say(b"{")
        talk.say([])
        talk.say(b"")
        talk.ask(1, "ping")

        heard = sorted([await talk.hear() for _ in range(3)], key=lambda answer: "id" in answer)

    assert [answer.get("error", {}).get("code") for answer in heard] == [-32700, -32600, None]


async def test_a_line_of_nine_megabytes_is_refused_and_the_next_is_answered() -> None:
    async with talking(Shelf()) as (talk, _):
        saying = asyncio.create_task(asyncio.to_thread(talk.say, b"x" * 9_000_000))
        refused = await talk.hear()
        await saying
        talk.ask(1, "ping")

        assert (refused["error"]["code"], "id" in refused) == (-32700, False)
        assert (await talk.hear())["result"] == {}


async def test_a_client_that_does_not_read_holds_up_who_tells_it_things() -> None:
    told = 0

    async def chatterbox(_message: Any, _raw: bytes, hear: Any) -> bytes | None:
        nonlocal told
        while True:
            await hear(b"1" * 1000)
            told += 1

    async with talking(Shelf(), chatterbox) as (talk, _):
        talk.ask(1, "chatter")
        while told < 50:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)

        assert told < 100, "a pipe holds 64 KiB"
        while told < 200:
            await talk.hear()


async def test_an_id_under_way_cannot_be_used_again() -> None:
    shelf = Shelf()
    async with talking(shelf) as (talk, _):
        talk.ask(1, "tools/call", name="wait")
        await shelf.waiting.wait()
        talk.ask(1, "ping")

        assert (await talk.hear())["error"]["code"] == -32600


async def test_more_at_once_than_are_taken_are_refused() -> None:
    async with talking(Shelf()) as (talk, _):
        for number in range(65):
            talk.ask(number, "tools/call", name="wait")

        assert (await talk.hear())["id"] == 64
