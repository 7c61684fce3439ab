"""Calls of MCP tools over HTTP: our server beside the official Python one, and its memory over many calls.

Both answer the tool `status` in revision 2026-07-28, with one worker, and each stands alone while it is measured; one client
for both. Ours checks the key, counts, traces and logs every request and has the whole product behind it; the official server
has this one tool and does nothing of the kind, in its favour.

Memory is the resident set of the server's process. What a call leaves behind is the slope of a straight line through the
second half of the samples, by least squares; its standard error stands beside it. The samples of every tenth of the calls
are printed.

`CONDUCTOR_BENCH_LONG=1` makes 100,000 calls for the rows on memory instead of 5,000; in so few, what an interpreter does
with its free memory is more than what leaks.
"""

import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.environment import SCRIPTS
from benchmarks.harness import ROOT, CannotRun, Goal, Row, compare, interleave
from benchmarks.processes import Running, finish, free_port, last_json, running

ROUNDS: Final = 3
CONNECTIONS: Final = (1, 8)
CALLS: Final = 1500
#: At first a server fills its caches; what it takes for them is none of the calls'.
SETTLING_CALLS: Final = 1000
LONG: Final = "CONDUCTOR_BENCH_LONG"
MANY_CALLS: Final = 100_000 if os.environ.get(LONG) else 5_000
SAMPLES: Final = 200
KEY: Final = "none"

OURS, PEER = "ours", "peer"


@dataclass(frozen=True, slots=True)
class Called:
    """What a client measured; memory as pairs of calls and bytes."""

    calls_per_s: float
    p50_s: float
    p95_s: float
    memory: Sequence[tuple[int, int]]


def run() -> list[Row]:
    """All rows of this benchmark."""
    try:
        peer_name = f"MCPServer of mcp {version('mcp')}"
    except PackageNotFoundError:
        raise CannotRun("mcp is not installed; install it with `pip install 'conductor[dev]'`") from None
    timings = interleave(ROUNDS, {OURS: partial(measure, ours), PEER: partial(measure, peer)})
    rows = []
    for connections in CONNECTIONS:
        what = f"tool calls, {connections} connection{'s' if connections > 1 else ''}"
        sides = {side: [one[connections] for one in rounds] for side, rounds in timings.items()}
        rows += [
            _row(what, "calls/s", sides, peer_name, lambda one: one.calls_per_s, more_is_better=True),
            _row(f"{what}, p50", "ms", sides, peer_name, lambda one: 1000 * one.p50_s),
            _row(f"{what}, p95", "ms", sides, peer_name, lambda one: 1000 * one.p95_s),
        ]
    return [*rows, *memory_rows(peer_name)]


def memory_rows(peer_name: str) -> list[Row]:
    """Memory after many calls, and what each of them left."""
    long = {name: many_calls(side) for name, side in ((OURS, ours), (PEER, peer))}
    for name, one in long.items():
        told = [f"{calls:,}: {size / 2**20:.1f}" for calls, size in one.memory if calls % (MANY_CALLS // 10) == 0]
        print(f"memory of {name} in MiB at calls {', '.join(told)}", flush=True)
    last = {name: [one.memory[-1][1] / 2**20] for name, one in long.items()}
    fits = {name: slope(one.memory[len(one.memory) // 2 :]) for name, one in long.items()}
    what = f"after {MANY_CALLS:,} calls"
    return [
        compare(f"memory {what}", "MiB", last[OURS], more_is_better=False, peer_name=peer_name, peer=last[PEER]),
        compare(f"memory left by a call, {what}", "B", [fits[OURS][0]], more_is_better=False, peer_name=peer_name,
                peer=[fits[PEER][0]], goal=Goal("below", 10)),
        compare("standard error of that", "B", [fits[OURS][1]], more_is_better=False, peer_name=peer_name,
                peer=[fits[PEER][1]]),
    ]  # fmt: skip


def slope(samples: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Slope of the straight line through points by least squares, and its standard error; at least three points."""
    count = len(samples)
    mean_x, mean_y = (sum(axis) / count for axis in zip(*samples, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    found = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
    rest = sum((y - mean_y - found * (x - mean_x)) ** 2 for x, y in samples)
    return found, (rest / (count - 2) / spread) ** 0.5


Side = Callable[[], contextlib.AbstractContextManager[tuple[int, str, Running]]]


def measure(side: Side) -> dict[int, Called]:
    """One round of one side, by connections."""
    with side() as (port, key, _server):
        return {connections: client(port, key, connections, CALLS) for connections in CONNECTIONS}


def many_calls(side: Side) -> Called:
    """Many calls on a server that has settled, and its memory meanwhile."""
    with side() as (port, key, server):
        client(port, key, CONNECTIONS[-1], SETTLING_CALLS)
        watched = (str(server.process.pid), str(MANY_CALLS // SAMPLES))
        return client(port, key, CONNECTIONS[-1], MANY_CALLS, *watched)


def client(port: int, key: str, connections: int, calls: int, *watched: str) -> Called:
    """Have the client call."""
    command = [sys.executable, "-m", "benchmarks.mcp_client", str(port), key, str(connections), str(calls), *watched]
    return Called(**last_json(finish(command, folder=ROOT, within_s=3600)))


@contextlib.contextmanager
def ours() -> Iterator[tuple[int, str, Running]]:
    """`conductor up` on a fresh data folder, as it is delivered but for the language model, which no tool here asks."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-conductor-") as folder:
        program = ["env", "-u", LONG, sys.executable, "-m", "conductor.faces.cli.main"]  # to it, that is no setting
        program += ["--data-dir", folder, "up", "--port", str(port)]
        environment = {"CONDUCTOR_MIND__MODEL": "none", "HOME": folder}
        with running(program, environment=environment, folder=Path(folder)) as server:
            server.wait_until(partial(listens, port), within_s=60)
            yield port, Path(folder, "key").read_text(encoding="utf-8").strip(), server


@contextlib.contextmanager
def peer() -> Iterator[tuple[int, str, Running]]:
    """The official server, without sessions and with answers in one piece."""
    port = free_port()
    with running([sys.executable, str(SCRIPTS / "official_mcp_server.py"), str(port)]) as server:
        server.wait_until(partial(listens, port), within_s=60)
        yield port, KEY, server


def listens(port: int) -> bool:
    """Whether somebody takes connections at the port."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _row(
    metric: str,
    unit: str,
    sides: dict[str, list[Called]],
    peer_name: str,
    figure: Callable[[Called], float],
    **more: Any,
) -> Row:
    found = {side: [figure(one) for one in rounds] for side, rounds in sides.items()}
    return compare(
        metric, unit, found[OURS], peer_name=peer_name, peer=found[PEER], **({"more_is_better": False} | more)
    )
