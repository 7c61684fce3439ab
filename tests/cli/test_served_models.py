"""`conductor models show`, `load`, `unload` at a terminal, and what `list` says of served models."""

import json
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console
from tests.cli.terminal import PATIENCE_S, Terminal

from conductor.faces.cli.context import Context
from conductor.faces.cli.served_models import print_served

PAGE = """# LLM Server Settings

| Category/Area | Best Open Source Model | VRAM/RAM Requirements | Technical Model Name | Stay Loaded | Precision |
|---|---|---|---|---|---|
| Conversational Chat | Small talker | – | `{address}/v1#talker` | false | – |
| Creative Writing | Teller of very long and winding stories, second edition | – | `{address}/v1#nobody` | false | – |
| Translation | Local | ~3.1 GB | `/nowhere/model.gguf` | false | – |
"""


class Elsewhere(BaseHTTPRequestHandler):
    """A server of models that has one of them."""

    def do_GET(self) -> None:
        document = json.dumps({"object": "list", "data": [{"id": "talker", "object": "model"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(document)))
        self.end_headers()
        self.wfile.write(document)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal on an installation whose server serves three models: one that is there, and two that are not."""
    root: Path = tmp_path_factory.mktemp("serving")
    terminal = Terminal(data_dir=root / "data", here=root)
    terminal.data_dir.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere:
        Thread(target=elsewhere.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{elsewhere.server_address[1]}"
        (terminal.data_dir / "SETTINGS.md").write_text(PAGE.format(address=address))
        server = terminal.start("serve", "--port", "0", "--log-level", "warning")
        assert server.stdout is not None
        assert server.stdout.readline().startswith("Conductor serves http://127.0.0.1:")
        yield terminal
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0
        elsewhere.shutdown()


def test_a_model_is_loaded_shown_and_unloaded(serving: Terminal) -> None:
    loaded = serving.conductor("models", "load", "conversational_chat")
    shown = serving.conductor("models", "show", "Small talker")
    document = serving.conductor("models", "show", "Small talker", "--json").json()
    unloaded = serving.conductor("models", "unload", "conversational_chat")
    absent = serving.conductor("models", "show", "conversational_chat", "--json").json()

    assert (loaded.code, shown.code, unloaded.code) == (0, 0, 0), loaded.err + shown.err + unloaded.err
    assert "Small talker is loaded: endpoint on http://127.0.0.1:" in loaded.out
    assert "loaded since" in shown.out
    assert (document["state"], document["backend"], document["memory_bytes"]) == ("loaded", "endpoint", 0)
    assert unloaded.out == "Small talker is not in memory.\n"
    assert absent["state"] == "absent"
    assert max(map(len, shown.out.splitlines())) <= serving.columns


def test_what_cannot_be_loaded_ends_with_its_reason_and_the_list_tells_it_too(serving: Terminal) -> None:
    missing = serving.conductor("models", "load", "translation")
    other = serving.conductor("models", "load", "creative_writing", "--json")
    listed = serving.conductor("models", "list")
    document = serving.conductor("models", "list", "--json").json()

    assert missing.code == other.code == 4
    assert "there is no model at /nowhere/model.gguf" in missing.err
    assert "has no model 'nobody'; it has talker" in other.err
    assert "translation: there is no model at /nowhere/model.gguf" in " ".join(listed.out.split())
    assert max(map(len, listed.out.splitlines())) <= serving.columns
    served = {one["category"]: one for one in document["served"]}
    assert served["translation"]["state"] == "error"
    assert served["translation"]["expected_bytes"] == 3_100_000_000
    assert served.keys() == {"conversational_chat", "creative_writing", "translation"}
    assert "~2.9 GiB" in listed.out


@pytest.mark.parametrize("verb", ["load", "unload", "show"])
def test_a_name_that_nothing_has_is_not_found(serving: Terminal, verb: str) -> None:
    answer = serving.conductor("models", verb, "the/unheard #1?")

    assert answer.code == 4
    assert "the model 'the/unheard #1?' does not exist" in answer.err
    assert "served now: auto, conversational_chat" in answer.err


def test_without_a_server_nothing_is_loaded_for_the_time_of_a_command(alone: Terminal) -> None:
    answer = alone.conductor("models", "load", "conversational_chat")

    assert answer.code == 3
    assert "start one with `conductor serve`" in answer.err


def test_where_nothing_is_served_the_list_names_the_way_to_a_page(served: Terminal) -> None:
    listed = served.conductor("models", "list")

    assert "SETTINGS.md does not exist yet" in " ".join(listed.out.split())
    assert "conductor settings validate --example" in listed.out
    assert served.conductor("models", "list", "--json").json()["served"] == []


def test_what_differs_from_the_row_is_told_below_the_table() -> None:
    here, told = Context(data_dir=None, config=None), StringIO()
    here.console = Console(file=told, width=80)
    model = {
        "category": "code_generation", "title": "Coder", "state": "loaded", "reason": "", "backend": "transformers",
        "memory_bytes": 3 * 2**30, "estimated_bytes": 2**30, "expected_bytes": None, "notes": ["8-bit is used"],
        "failing": "",
    }  # fmt: skip

    print_served(here, [model, model | {"state": "absent", "memory_bytes": None, "notes": []}])

    lines = [" ".join(line.split()) for line in told.getvalue().splitlines()]
    assert lines[2:] == [
        "code_generation Coder loaded 3.0 GiB transformers",
        "code_generation Coder absent ~1.0 GiB transformers",
        "Coder: 8-bit is used",
    ]


def test_a_server_that_loads_no_models_says_so(tmp_path: Path) -> None:
    terminal = Terminal(data_dir=tmp_path / "data", here=tmp_path)
    terminal.data_dir.mkdir()
    (terminal.data_dir / "SETTINGS.md").write_text(PAGE.format(address="http://127.0.0.1:9"))
    server = terminal.start("serve", "--port", "0", "--log-level", "warning", "--skip-model-loading")
    assert server.stdout is not None
    server.stdout.readline()

    answer = terminal.conductor("models", "load", "conversational_chat")
    server.send_signal(signal.SIGTERM)
    server.wait(PATIENCE_S)

    assert answer.code == 10
    assert "--skip-model-loading" in answer.err
