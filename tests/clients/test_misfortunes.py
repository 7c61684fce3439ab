"""Clients that leave, upstreams that fail, engine processes that are killed: no request hangs, and nothing stays behind."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil
import pytest
from tests.clients.chaos import MOST_WITH_ENGINES_S, NOBODY, SILENCE_S, Chaos, Mortal
from tests.clients.conftest import MakeServer
from tests.clients.stand import (
    LOCAL,
    RUNS_MODELS,
    WHY_NOT,
    Upstream,
    at_rest,
    elsewhere,
    engines_of,
    page,
    process_of,
    running_upstream,
    under_way,
)
from tests.runners.conftest import write_folder
from tests.server.serving import PATIENCE_S, Server, eventually

pytestmark = pytest.mark.anyio
#: What memory may grow by: of the server, and of an engine that many have left.
SPARE_BYTES = 8 * 2**20
#: Connections to upstreams, kept for the next request.
SPARE_FILES = 4
#: Have a model answer, and not the memory of what it answered before.
ANEW = {"Cache-Control": "no-store"}
_TASKS = "conductor_event_loop_tasks "


@dataclass(frozen=True)
class Held:
    """What the server holds."""

    files: int
    processes: int
    tasks: int
    resident_bytes: int

    @classmethod
    def now(cls, server: Server) -> Self:
        process = process_of(server)
        metrics = server.client.get("/metrics").body.decode()
        tasks = next(line.removeprefix(_TASKS) for line in metrics.splitlines() if line.startswith(_TASKS))
        processes = 1 + len(process.children(recursive=True))
        return cls(process.num_fds(), processes, int(float(tasks)), process.memory_info().rss)

    def has_let_go(self, before: "Held") -> bool:
        return (
            self.files <= before.files + SPARE_FILES
            and self.processes <= before.processes
            and self.tasks <= before.tasks
        )


@contextmanager
def begun(server: Server, path: str, document: Any, *, events: int) -> Iterator[None]:
    """Ask for a stream and hear so many events of it; the client leaves at the end of the block."""
    parts = urlsplit(server.url)
    headers = {"Authorization": f"Bearer {server.client.key}", "Content-Type": "application/json"}
    with closing(HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)) as connection:
        connection.request("POST", path, json.dumps(document), headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        while events:
            line = answer.readline()
            assert line, "the stream ended"
            events -= line.startswith(b"data: ")
        yield


def _seed(count: int) -> int:
    """The same each time in the suite; in the long run another one, or the one that is given."""
    return int(os.environ.get("SOAK_SEED", time.time())) if count > 100 else count


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.soak)])
async def test_nothing_hangs_and_nothing_stays_behind(
    make_server: MakeServer, count: int, request: pytest.FixtureRequest
) -> None:
    seed = _seed(count)
    print(f"SOAK_SEED={seed}")
    mortal = Mortal()
    with running_upstream() as upstream:  # one of its own: what is under way there must come from here
        rows = [*elsewhere(upstream), *Chaos.rows(upstream, mortal)]
        if RUNS_MODELS:
            folder: Path = request.getfixturevalue("local_folder")
            rows.append(("Creative Writing", LOCAL, str(folder)))
        server = make_server(page(*rows), log__level="warning", serving__endpoint_silence_s=SILENCE_S).start()
        # What is loaded with the first requests is no growth.
        await Chaos(server, 1, engines=False, mortal=mortal).some(16)
        await _rest(server, upstream)
        before = Held.now(server)

        chaos = Chaos(server, seed, engines=RUNS_MODELS, mortal=mortal)
        await chaos.some(count)
        await _rest(server, upstream)
        if RUNS_MODELS:
            await _engine_is_left_and_grows_no_more(server, chaos, count)
        befell = upstream.state()["befell"]
        mortal.kill()

        print(chaos.endings, befell)
        assert chaos.endings.total() >= count
        expected = {"left", "unlucky", "let down", "lost its upstream", "found nobody", "well"}
        assert set(chaos.endings) == expected | ({"left an engine", "killed"} if RUNS_MODELS else set())
        assert (chaos.killed > 0) == RUNS_MODELS
        assert len(befell) > 5, "too little reached the upstream"
        eventually(lambda: Held.now(server).has_let_go(before), f"files, processes and tasks return to {before}")
        after = Held.now(server)
        print(before, after)
        assert after.resident_bytes <= before.resident_bytes + SPARE_BYTES, (before, after)
        server.client.get("/health").expect(200)
        heard = server.client.post("/generate", {"prompt": "hello", "category": "conversational_chat"}).expect(200)
        assert heard["text"].endswith("I heard: hello")
        log = server.log.read_text()
        assert not [sign for sign in ("request_failed", "Traceback", "was never retrieved", "destroyed") if sign in log]
        assert server.stop() == 0


async def _engine_is_left_and_grows_no_more(server: Server, chaos: Chaos, count: int) -> None:
    """The process that came back after the last kill: it works, forgets whom nobody waits for, and ends when told."""
    asked = {"prompt": "hello", "category": "creative_writing", "max_tokens": 4}
    eventually(
        lambda: server.client.post("/generate", asked).status == 200, "the model is back", within_s=MOST_WITH_ENGINES_S
    )
    (engine,) = engines_of(server)
    await chaos.some(count // 2, at_once=8, only=chaos.leaves_engine)
    await asyncio.to_thread(_is_idle, server, engine)
    warm = engine.memory_info().rss
    await chaos.some(count // 2, at_once=8, only=chaos.leaves_engine)
    await asyncio.to_thread(_is_idle, server, engine)
    print(f"the engine grew by {engine.memory_info().rss - warm} bytes")
    assert engine.memory_info().rss <= warm + SPARE_BYTES
    assert engines_of(server) == [engine]
    server.client.post("/models/unload", {"model": "creative_writing"}).expect(200)
    eventually(lambda: not engines_of(server), "the engine's process has ended")


def _is_idle(server: Server, engine: psutil.Process) -> None:
    """Nobody is waited for, and the engine says nothing any more: it writes a frame with each token."""
    eventually(lambda: under_way(server) == 0, "nobody is served any more")
    last = [-1]

    def is_silent() -> bool:
        before, last[0] = last[0], engine.io_counters().write_count
        time.sleep(0.2)
        return before == last[0]

    eventually(is_silent, "the engine is silent")


async def _rest(server: Server, upstream: Upstream) -> None:
    await asyncio.to_thread(at_rest, server, upstream)


def _as_stream(model: str, prompt: str) -> dict[str, dict[str, Any]]:
    """The same question by both ways to a stream."""
    said = [{"role": "user", "content": prompt}]
    return {
        "/v1/chat/completions": {"model": model, "messages": said, "max_tokens": 450, "stream": True},
        "/generate/stream": {"model": model, "prompt": prompt, "max_tokens": 450},
    }


def test_no_token_is_written_elsewhere_for_a_client_that_left(make_server: MakeServer, upstream: Upstream) -> None:
    """The upstream writes three pieces and waits; without a fourth one, the server notices that its client is gone."""
    server = make_server(page(("Conversational Chat", "Steady", upstream.model("steady")))).start()

    for path, asked in _as_stream("Steady", "fail stall").items():
        before = upstream.state()["pieces"]
        with begun(server, path, asked, events=1):
            assert upstream.state()["open"] == 1
        at_rest(server, upstream)

        assert upstream.state()["pieces"] == before + 3, path


@pytest.mark.skipif(not RUNS_MODELS, reason=WHY_NOT)
def test_an_engine_writes_at_most_a_token_for_a_client_that_left(make_server: MakeServer, tmp_path: Path) -> None:
    """The engine is halted while the client leaves, so that no speed of this machine counts.

    Two writes are allowed: the token that was under way when it was halted, and the one within which it notices. The model
    is large enough for a token to take longer than waking the thread that reads.
    """
    folder = write_folder(tmp_path / "model", hidden_size=384, intermediate_size=1024, num_hidden_layers=8)
    server = make_server(page(("Creative Writing", LOCAL, str(folder)))).start()
    server.client.post("/models/load", {"model": "creative_writing"}).expect(200)
    (engine,) = engines_of(server)

    for path, asked in _as_stream("creative_writing", "The river").items():
        for events in (2, 5, 9):
            with begun(server, path, asked, events=events):
                engine.suspend()
            eventually(lambda: under_way(server) == 0, "the server knows that the client is gone")
            halted = engine.io_counters().write_count
            engine.resume()
            _is_idle(server, engine)

            assert engine.io_counters().write_count - halted <= 2, path


def test_an_upstream_that_is_not_there_is_told_at_once(make_server: MakeServer) -> None:
    server = make_server(page(("Conversational Chat", "Nobody", NOBODY))).start()

    told = [
        server.client.post(path, {"prompt": "hello", "model": "Nobody"}) for path in ("/generate", "/v1/completions")
    ]

    assert [answer.status for answer in told] == [503, 503]
    assert all(b"127.0.0.1:9" in answer.body for answer in told)
    eventually(lambda: under_way(server) == 0, "nothing is under way")


@pytest.mark.skipif(not RUNS_MODELS, reason=WHY_NOT)
def test_a_model_whose_process_was_killed_is_started_again(make_server: MakeServer, local_folder: Path) -> None:
    server = make_server(page(("Creative Writing", LOCAL, str(local_folder)))).start()
    asked = {"prompt": "The river", "category": "creative_writing", "max_tokens": 4, "temperature": 0}
    first = server.client.post("/generate", asked).expect(200)

    (engine,) = engines_of(server)
    engine.kill()
    eventually(lambda: not engines_of(server), "the process is gone")
    again = eventually(
        lambda: answer if (answer := server.client.post("/generate", asked, headers=ANEW)).status == 200 else None,
        "the model is back",
    )

    assert again.json["text"] == first["text"]
    assert len(engines_of(server)) == 1


@pytest.mark.skipif(not RUNS_MODELS, reason=WHY_NOT)
def test_a_server_that_is_killed_leaves_no_engine_behind(make_server: MakeServer, local_folder: Path) -> None:
    server = make_server(page(("Creative Writing", LOCAL, str(local_folder)))).start()
    server.client.post("/models/load", {"model": "creative_writing"}).expect(200)
    (engine,) = engines_of(server)

    server.kill()

    assert engine.wait(60) is None or not engine.is_running()
