"""A server like a user's, with models elsewhere and, where models can run, one here."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.clients.stand import LOCAL, RUNS_MODELS, WHY_NOT, Upstream, elsewhere, page, running_upstream, save
from tests.runners.conftest import write_folder
from tests.server.serving import Server

from openai import OpenAI

#: Makes a server that is not started yet, on a data folder with this page.
MakeServer = Callable[..., Server]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="session")
def local_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not RUNS_MODELS:
        pytest.skip(WHY_NOT)
    return write_folder(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def served(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Server]:
    """Shared by all tests that only ask."""
    rows = elsewhere(upstream)
    if RUNS_MODELS:
        rows.append(("Creative Writing", LOCAL, str(request.getfixturevalue("local_folder"))))
    server = Server(tmp_path_factory.mktemp("clients") / "data")
    save(server, page(*rows))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    with ExitStack() as undo:

        def make(text: str, *options: str, **settings: object) -> Server:
            server = Server(tmp_path / "data", options, settings)
            save(server, text)
            undo.callback(server.kill)
            return server

        yield make


@pytest.fixture(scope="module")
def client(served: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key=served.client.key, timeout=120) as client:
        yield client


@pytest.fixture(params=["Steady", LOCAL])
def model(request: pytest.FixtureRequest) -> str:
    """A model elsewhere, and one that runs here."""
    if request.param == LOCAL and not RUNS_MODELS:
        pytest.skip(WHY_NOT)
    return str(request.param)
