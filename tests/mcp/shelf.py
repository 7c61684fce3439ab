"""A small catalogue: the protocol without an installation behind it."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from conductor.app.tools.offered import Report, unheard
from conductor.faces.mcp.protocol import Dispatcher, UnknownResource
from conductor.faces.mcp.rpc import INVALID_PARAMS, RpcError, read, write

Document = Mapping[str, Any]


class Shelf:
    """As many tools as wanted; `wait` waits until it is cancelled, `begin and wait` reports first, `count` reports three
    times, `chatter` very often, `fail` raises what nobody foresaw.
    """

    instructions = "A shelf."

    def __init__(self, tools: int = 3) -> None:
        self.info = {"name": "shelf", "version": "1"}
        self._names = [f"tool_{index:04}" for index in range(tools)]
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    def tools(self) -> Sequence[Document]:
        return [{"name": name, "inputSchema": {"type": "object"}} for name in self._names]

    async def call(self, name: str, arguments: Document, report: Report = unheard) -> Document:
        if name == "fail":
            raise ZeroDivisionError("the secret of the shelf")
        if name == "count":
            for number in range(3):
                report(number, f"at {number}", total=2, detail=number == 1)
                await asyncio.sleep(0)
        if name == "chatter":
            for number in range(10_000):
                report(number, "so much")
                if number == 10:
                    await asyncio.sleep(0)
            self.waiting.set()
        if name in ("wait", "begin and wait"):
            if name != "wait":
                report(1, "begun")
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if name not in ("count", "chatter", *self._names):
            raise RpcError(INVALID_PARAMS, f"Unknown tool: {name}")
        return {"content": [{"type": "text", "text": str(dict(arguments))}], "isError": False}

    def prompts(self) -> Sequence[Document]:
        return [{"name": "greet"}]

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> Document:
        return {"messages": [{"role": "user", "content": {"type": "text", "text": name}}]}

    async def resources(self, after: str | None) -> tuple[Sequence[Document], str | None]:
        return [{"uri": "shelf://one", "name": after or "one"}], None if after else "one"

    def templates(self) -> Sequence[Document]:
        return []

    async def read(self, uri: str) -> tuple[Sequence[Document], int]:
        if uri != "shelf://one":
            raise UnknownResource(uri)
        return [{"uri": uri, "text": "one"}], 7

    async def follow(
        self, uris: Sequence[str], begun: Callable[[Collection[str]], None], changed: Callable[[str], None]
    ) -> None:
        known = [uri for uri in uris if uri == "shelf://one"]
        begun(known)
        for uri in known:
            changed(uri)

    async def complete(self, ref: Document, argument: str, begun: str) -> Sequence[str]:
        return [f"{begun}{number}" for number in range(150)]


def answered(text: str | bytes) -> bytes | None:
    """What a dispatcher over a shelf answers to a message as text; None where none is owed."""
    try:
        message = read(text)
    except RpcError as error:
        return write(error.answer(None))
    answer = asyncio.run(Dispatcher(Shelf()).answer(message))
    return None if answer is None else write(answer)
