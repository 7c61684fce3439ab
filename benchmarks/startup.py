"""How soon the program answers and what it holds while idle: ours beside Celery and Ray.

Ready means: from the exec of `conductor serve` until `/health` answers with the key; of a Celery worker, until it says it
is ready; of a Ray head node, until it says that the runtime has started. Memory is the proportional set size of the whole
process tree after ten idle seconds, in 10⁶ bytes. Redis, without which Celery does nothing, is not counted in its memory.
With `--skip-model-loading`: from the exec until every GET route of the OpenAPI document has answered 200, one by one.
"""

import contextlib
import http.client
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.environment import SCRIPTS, peer_program, peer_version, redis
from benchmarks.harness import ROOT, Goal, Row, WrongResult, compare, interleave
from benchmarks.processes import Running, finish, free_port, running
from benchmarks.routes import statuses
from conductor.app.installation import Installation
from conductor.app.serving.model_table import EXAMPLE

HELP_ROUNDS: Final = 10
ROUNDS: Final = 3
IDLE_S: Final = 10.0

OURS: Final = "conductor"
_ADDRESS = re.compile(r"Conductor serves (http://\S+)")


@dataclass(frozen=True, slots=True)
class Idle:
    """One start of a program: seconds until it was ready, and its memory when nothing happened since."""

    ready_s: float
    memory_mb: float
    restarted_s: float | None = None


def run() -> list[Row]:
    """All rows of this benchmark."""
    return [*help_rows(), *server_rows(), routes_row()]


def help_rows() -> list[Row]:
    """`--help` of each command line."""
    programs = {
        OURS: str(Path(sys.executable).with_name("conductor")),
        "celery": peer_program("celery"),
        "ray": peer_program("ray"),
    }
    times = interleave(HELP_ROUNDS, {name: partial(help_s, program) for name, program in programs.items()})
    goal = Goal("below", 0.3)
    return _beside_peers("`conductor --help`", "s", times, {"celery": "celery --help", "ray": "ray --help"}, goal)


def help_s(program: str) -> float:
    """Seconds of one `--help`."""
    began_s = time.perf_counter()
    finish([program, "--help"])
    return time.perf_counter() - began_s


def server_rows() -> list[Row]:
    """Start and idle memory of each server."""
    idle = interleave(ROUNDS, {OURS: our_server, "celery": celery_worker, "ray": ray_head})
    names = {
        "celery": f"Celery {peer_version('celery')} worker, prefork, a process per core",
        "ray": f"Ray {peer_version('ray')} head node",
    }
    ready = {name: [start.ready_s for start in starts] for name, starts in idle.items()}
    memory = {name: [start.memory_mb for start in starts] for name, starts in idle.items()}
    again = [start.restarted_s for start in idle[OURS] if start.restarted_s is not None]
    return [
        *_beside_peers("server ready, first start", "s", ready, names, Goal("below", 3)),
        compare("server ready, later start", "s", again, more_is_better=False, goal=Goal("below", 3)),
        *_beside_peers(f"memory after {IDLE_S:g} s idle", "MB", memory, names, Goal("below", 250)),
    ]


def routes_row() -> Row:
    """From the start to the last of all GET routes, without models."""
    goal = Goal("below", 3)
    times = [every_route_s() for _ in range(ROUNDS)]
    return compare("every GET route, --skip-model-loading", "s", times, more_is_better=False, goal=goal)


def every_route_s() -> float:
    """Seconds from the exec until the last route has answered.

    Raises:
        WrongResult: a route did not answer 200.
    """
    with tempfile.TemporaryDirectory(prefix="bench-conductor-") as folder:
        Path(folder, "SETTINGS.md").write_text(EXAMPLE, encoding="utf-8")
        with _served(folder, "--skip-model-loading") as (server, _):
            answered = statuses(_address(server) or "", _key(folder))
            took_s = time.monotonic() - server.started_at_s
    if set(answered.values()) != {http.client.OK}:
        raise WrongResult(f"not every route answered 200: {answered}")
    return took_s


def _beside_peers(
    metric: str, unit: str, measured: Mapping[str, Sequence[float]], names: Mapping[str, str], goal: Goal
) -> list[Row]:
    return [
        compare(metric, unit, measured[OURS], more_is_better=False, peer_name=name, peer=measured[peer], goal=goal)
        for peer, name in names.items()
    ]


def our_server() -> Idle:
    """The server on a fresh folder, weighed, and once more on the folder it left."""
    with tempfile.TemporaryDirectory(prefix="bench-conductor-") as folder:
        with _served(folder) as (server, ready_s):
            memory_mb = idle_memory_mb(server)
        with _served(folder) as (_, restarted_s):
            pass
    return Idle(ready_s, memory_mb, restarted_s)


@contextlib.contextmanager
def _served(folder: str, *options: str) -> Iterator[tuple[Running, float]]:
    program = str(Path(sys.executable).with_name("conductor"))
    with running([program, "--data-dir", folder, "serve", "--port", "0", *options], folder=ROOT) as server:
        yield server, server.wait_until(lambda: _is_healthy(server, folder), within_s=60)


def _is_healthy(server: Running, folder: str) -> bool:
    address = _address(server)
    if address is None:
        return False
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(ConnectionError):
        connection.request("GET", "/health", headers={"Authorization": f"Bearer {_key(folder)}"})
        return connection.getresponse().status == http.client.OK
    return False


def _address(server: Running) -> str | None:
    """What it said that it listens on; None before."""
    said = _ADDRESS.search(server.said())
    return None if said is None else said[1]


def _key(folder: str) -> str:
    return Installation.find(data_dir=Path(folder), environ={}).read_key() or ""


def celery_worker() -> Idle:
    """A Celery worker as it starts by default."""
    command = [peer_program("celery"), "--app", "celery_queue", "worker", "--loglevel", "INFO"]
    with redis() as url, running(command, environment={"CELERY_REDIS": url}, folder=SCRIPTS) as worker:
        return Idle(worker.wait_for_words("ready."), idle_memory_mb(worker))


def ray_head() -> Idle:
    """A Ray head node without its dashboard."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        command = [
            peer_program("ray"), "start", "--head", "--block", f"--port={free_port()}", f"--num-cpus={os.cpu_count()}",
            "--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}", "--node-ip-address=127.0.0.1",
        ]  # fmt: skip
        with running(command) as head:
            return Idle(head.wait_for_words("Ray runtime started"), idle_memory_mb(head))


def idle_memory_mb(server: Running) -> float:
    """Let it be for a while, then weigh it."""
    time.sleep(IDLE_S)
    return server.memory_bytes() / 1e6
