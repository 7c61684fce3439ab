"""What client tests stand on: an upstream in a process of its own, a model that runs here, pages that name them."""

import contextlib
import importlib.util
import json
import select
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from tests.server.serving import PATIENCE_S, Server, eventually

#: Whether models can run on this machine.
RUNS_MODELS = importlib.util.find_spec("torch") is not None and importlib.util.find_spec("transformers") is not None
WHY_NOT = "the extra `hf` is not installed: no model runs here"
PERSONA = "Be brief."
LOCAL = "Tiny Llama"
ENGINE = "conductor.app.serving.engine_process"

Row = tuple[str, str, str]


class Upstream:
    """The process of `upstream.py`."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def model(self, name: str) -> str:
        """As the model table has it."""
        return f"{self.origin}/v1#{name}"

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.origin}/state", timeout=PATIENCE_S) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running_upstream(port: int = 0) -> Iterator[Upstream]:
    program = [sys.executable, str(Path(__file__).with_name("upstream.py")), str(port)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert select.select([process.stdout], [], [], PATIENCE_S)[0], "the upstream says nothing"
            yield Upstream(process.stdout.readline().decode().strip())
        finally:
            process.kill()


def page(*rows: Row, persona: str = PERSONA) -> str:
    """A `SETTINGS.md`; rows are category, title and technical name."""
    head = ("Category/Area", "Best Open Source Model", "VRAM/RAM Requirements", "Technical Model Name", "Stay Loaded")
    lines = [[*head, "Precision"], ["---"] * 6]
    for category, title, name in rows:
        precision = "–" if "://" in name else "FP32"
        lines.append([f"**{category}**", title, "–", f"`{name}`", "false", precision])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"# LLM Server Settings\n\n## Conversational Persona\n{persona}\n\n{table}\n"


def save(server: Server, text: str) -> None:
    """Put a page in place, as an editor does."""
    server.data_dir.mkdir(exist_ok=True)
    (server.data_dir / "SETTINGS.md").write_text(text, encoding="utf-8")


def elsewhere(upstream: Upstream) -> list[Row]:
    """Rows of models that the upstream has; `Unlucky` is for misfortunes, whose rests must not befall the others."""
    return [
        ("Conversational Chat", "Steady", upstream.model("steady")),
        ("General Reasoning", "Other", upstream.model("other")),
        ("Embeddings", "Vectors", upstream.model("vectors")),
        ("Legal Analysis", "Unlucky", upstream.model("unlucky")),
    ]


def statistics(server: Server) -> Any:
    return server.client.get("/stats").expect(200)


def under_way(server: Server) -> int:
    """Requests that the server has not ended, by its own account; the one that asks is none of them."""
    stats = statistics(server)
    running = sum(tally["running"] for tally in stats["engines"].values())
    return running + sum(one["outstanding"] for ups in stats["gateway"]["upstreams"].values() for one in ups)


def at_rest(server: Server, upstream: Upstream) -> None:
    """Wait until nothing is under way any more, here and there."""
    eventually(lambda: under_way(server) == 0, "the server's counters are zero")
    eventually(lambda: upstream.state()["open"] == 0, "the upstream has nothing to do")


def process_of(server: Server) -> psutil.Process:
    assert server.process is not None
    return psutil.Process(server.process.pid)


def engines_of(server: Server) -> list[psutil.Process]:
    """The engine processes that the server has now."""
    found = []
    for child in process_of(server).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            if child.status() != psutil.STATUS_ZOMBIE and ENGINE in child.cmdline():
                found.append(child)
    return found
