"""The first token after a model was loaded: what is made ready ahead of requests, beside the same server without it.

The model is the one of `serving`, the persona has 300 words, and the server is as everyone starts it but for
`serving.fetch_ahead`. After loading both sides rest until the one has read its beginnings; then one request is streamed, and
the time until its first piece counts. How often that beginning was found, `conductor models stats` says.
"""

import contextlib
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.gateway import listens
from benchmarks.harness import ROOT, CannotRun, Row, WrongResult, compare, interleave
from benchmarks.processes import free_port, running
from benchmarks.serving import written_model

ROUNDS: Final = 5
REST_S: Final = 4.0
PERSONA_WORDS: Final = 300
WITH, WITHOUT = "files", "nothing"
PAGE: Final = """# LLM Server Settings

## Conversational Persona
{persona}

| Category/Area | Best Open Source Model | VRAM/RAM Requirements | Technical Model Name | Stay Loaded | Precision |
| --- | --- | --- | --- | --- | --- |
| **Conversational Chat** | Random | – | `{folder}` | false | FP32 |
"""


def run() -> list[Row]:
    """All rows of this benchmark."""
    with written_model() as model:
        first = interleave(ROUNDS, {way: partial(first_piece_s, model, way) for way in (WITH, WITHOUT)})
    peer = "the same server, nothing made ready"
    metric = f"first piece after loading, persona of {PERSONA_WORDS} words"
    return [compare(metric, "s", first[WITH], more_is_better=False, peer_name=peer, peer=first[WITHOUT])]


def first_piece_s(model: Path, way: str) -> float:
    """Seconds from the request to the first piece, of a server that was started for it."""
    with _served(model, way) as caller:
        caller("POST", "/models/load", {"model": "conversational_chat"}).read()
        time.sleep(REST_S)
        made_ready = json.loads(caller("GET", "/stats").read())["ahead"]["beginnings"]["fetched"]
        if made_ready != (way == WITH):
            raise WrongResult(f"with serving.fetch_ahead {way}, {made_ready} beginnings were read within {REST_S:g} s")
        asked = {"prompt": "w5 w6 w7", "category": "conversational_chat", "max_tokens": 8, "temperature": 0}
        begun_s = time.perf_counter()
        answer = caller("POST", "/generate/stream", asked)
        for line in answer:
            if line.startswith(b"event: piece"):
                return time.perf_counter() - begun_s
    raise WrongResult("a stream without a piece")


@contextlib.contextmanager
def _served(model: Path, way: str) -> Iterator[Any]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-conductor-") as folder:
        persona = " ".join(f"w{number}" for number in range(10, 10 + PERSONA_WORDS))
        Path(folder, "SETTINGS.md").write_text(PAGE.format(persona=persona, folder=model), encoding="utf-8")
        config = Path(folder, "config.yaml")
        config.write_text(json.dumps({"mind": {"model": "none"}, "serving": {"fetch_ahead": way}}), encoding="utf-8")
        command = [sys.executable, "-m", "conductor.faces.http", "--data-dir", folder, "--config", str(config)]
        with running([*command, "--port", str(port)], environment={"PYTHONPATH": str(ROOT / "src")}) as server:
            server.wait_until(partial(listens, port), within_s=60)
            key = Path(folder, "key").read_text(encoding="utf-8").strip()
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
                yield partial(_call, connection, key)


def _call(
    connection: http.client.HTTPConnection, key: str, method: str, path: str, document: Any = None
) -> http.client.HTTPResponse:
    head = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request(method, path, None if document is None else json.dumps(document), head)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise CannotRun(f"{method} {path} answered {answer.status}: {answer.read(300)!r}")
    return answer
