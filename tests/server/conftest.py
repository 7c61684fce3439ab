"""Servers for tests: one that a module shares, and as many of one's own as a test wants."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.server.serving import Client, Server

MakeServer = Callable[..., Server]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Running, and shared by the tests of a module: they must not stop it nor fill it."""
    server = Server(
        tmp_path_factory.mktemp("shared") / "data",
        settings={"retry__first_delay_s": 0.05, "retry__max_delay_s": 0.05, "executor__workers": 4},
    ).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return server.client


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Make a server that is not started yet and is killed at the end: `make_server("--no-key", queue__depth=5)`."""
    with ExitStack() as undo:

        def make(*options: str, data_dir: Path | None = None, **settings: object) -> Server:
            server = Server(data_dir or tmp_path / "data", options, settings)
            undo.callback(server.kill)
            return server

        yield make
