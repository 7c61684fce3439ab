"""What is made ready before it is asked for, in a live server with a small model."""

from pathlib import Path
from typing import Any

import pytest
from tests.cli.terminal import Terminal
from tests.clients.conftest import MakeServer
from tests.clients.stand import RUNS_MODELS, WHY_NOT, page, save, statistics
from tests.runners.conftest import write_folder
from tests.server.serving import Server, eventually

pytestmark = pytest.mark.skipif(not RUNS_MODELS, reason=WHY_NOT)
CHAT = "conversational_chat"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("tiny-llama"), context=2_048)


def table(folder: Path, persona: str) -> str:
    rows = (("Conversational Chat", "Tiny", str(folder)), ("General Reasoning", "Tiny", str(folder)))
    return page(*rows, persona=persona).replace("| false |", "| true |")


def ready(server: Server, kind: str = "beginnings") -> Any:
    return statistics(server)["ahead"][kind]


def ask(server: Server, category: str) -> Any:
    return server.client.post("/generate", {"prompt": "Which river?", "category": category, "max_tokens": 4}).expect(
        200
    )


def test_the_first_request_of_each_category_finds_its_beginning_read(make_server: MakeServer, folder: Path) -> None:
    server = make_server(table(folder, "You know all rivers by name. " * 10)).start()
    eventually(lambda: ready(server)["fetched"] == 2, "both beginnings are read")
    for category in (CHAT, "general_reasoning"):
        usage = ask(server, category)["usage"]
        assert usage["cached_tokens"] > 0.5 * usage["prompt_tokens"]

    assert ready(server) == {"fetched": 2, "used": 2, "wasted": 0, "hit_rate": 1.0, "bytes": 0}
    told = server.client.get("/metrics").body.decode()
    assert 'conductor_fetched_ahead_total{kind="beginnings",result="used"} 2.0' in told
    assert 'conductor_fetched_ahead_total{kind="models",result="fetched"} 0.0' in told
    said = Terminal(data_dir=server.data_dir, here=server.data_dir.parent).conductor("models", "stats")
    assert (said.code, "Made ready ahead: beginnings 2 (used 2, in vain 0, 100 %)." in said.out) == (0, True)

    save(server, table(folder, "You are somebody else from now on, and you like the sea. " * 10))
    eventually(lambda: ready(server)["fetched"] == 3, "the new persona is read")
    usage = ask(server, CHAT)["usage"]
    assert usage["cached_tokens"] > 0.5 * usage["prompt_tokens"]
    assert ready(server)["used"] == 3


def test_nothing_is_made_ready_where_that_is_not_wanted(make_server: MakeServer, folder: Path) -> None:
    server = make_server(table(folder, "You know all rivers by name. " * 10), serving__fetch_ahead="nothing").start()
    eventually(lambda: server.client.get("/models").expect(200)["models"][0]["state"] == "loaded", "it is loaded")

    usage = ask(server, CHAT)["usage"]
    assert usage["cached_tokens"] < 0.1 * usage["prompt_tokens"]
    assert ready(server)["fetched"] == 0
