"""An installation that the tests of a module speak MCP to, inside this process or as a server of its own."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.serving import Server

from conductor.faces.mcp.embedded import ConductorServer

STATELESS = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def embedded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConductorServer]:
    async with ConductorServer(tmp_path_factory.mktemp("embedded") / "data") as server:
        yield server


@pytest.fixture
def ask(embedded: ConductorServer) -> Ask:
    """Send one request of the stateless era; returns the whole answer."""

    async def asking(method: str, **params: Any) -> Any:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": STATELESS} | params}
        answer = await embedded.handle_mcp_request(json.dumps(message))
        assert answer is not None
        return json.loads(answer)

    return asking


@pytest.fixture
def call(ask: Ask) -> Ask:
    """Call a tool; returns its result."""

    async def calling(name: str, **arguments: Any) -> Any:
        return (await ask("tools/call", name=name, arguments=arguments))["result"]

    return calling


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in a process of its own, with MCP behind its gate."""
    server = Server(tmp_path_factory.mktemp("served") / "data").start()
    yield server
    server.kill()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"
