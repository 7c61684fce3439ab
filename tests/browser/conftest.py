"""The page in a real browser, headless, as somebody sees it who has just logged in."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.clients.stand import Upstream, page, running_upstream, save
from tests.server.serving import Server

if TYPE_CHECKING:
    from playwright import sync_api as api

#: Opens the page, logged in: `open_page(width=390)`.
OpenPage = Callable[..., "api.Page"]
ABSENT = "/nowhere/at-all.gguf"


@pytest.fixture(scope="module")
def browser() -> Iterator["api.Browser"]:
    """Not for longer than a module: playwright keeps an event loop, beside which asynchronous tests of others cannot run."""
    playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With models at an endpoint, and one whose file is nowhere."""
    server = Server(tmp_path_factory.mktemp("browser") / "data")
    steady = upstream.model("steady")
    rows = [
        ("Conversational Chat", "Steady", steady), ("General Reasoning", "Steady", steady),
        ("Creative Writing", "Other", upstream.model("other")), ("Legal Analysis", "Unlucky", upstream.model("unlucky")),
        ("Summarization", "Nowhere", ABSENT), ("Question Answering", "Passed on", upstream.model("vectors")),
    ]  # fmt: skip
    save(server, page(*rows))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def open_page(browser: "api.Browser") -> Iterator[OpenPage]:
    """What scripts of the page complain about fails the test; that a call was refused is no complaint."""
    contexts, complaints = [], []

    def heard(message: "api.ConsoleMessage") -> None:
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    def opened(server: Server, view: str = "", *, width: int = 1240) -> "api.Page":
        context = browser.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        shown = context.new_page()
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("console", heard)
        shown.goto(server.client.post("/v1/logins").expect(201)["url"])
        shown.goto(f"{server.url}/{view}")
        return shown

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def empty_server(tmp_path: Path) -> Iterator[Server]:
    """Nothing in it: no models, no tasks."""
    server = Server(tmp_path / "data").start()
    yield server
    server.kill()
