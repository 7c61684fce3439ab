"""The path to models that run elsewhere: ours beside LiteLLM, sglang-router and a bare pass-through.

One upstream and one client for all. Every gateway runs with one worker and stands alone while it is measured; the client
asks the upstream itself in the same round, and what a gateway adds is its median less that one. Ours checks key and limits,
routes, keeps accounts and counts every request; LiteLLM checks its master key; the others do nothing of the kind, in their
favour.

Rates of one moment are the machine's as much as the gateway's, so the processor time of a request, of all processes of a
side, stands beside them. Memory is the proportional set size; what a request leaves behind is the slope of a straight line
through the second half of the samples. The samples of every tenth of the requests are printed.

`CONDUCTOR_BENCH_LONG=1` asks 100,000 requests for the rows on memory instead of 10,000; in so few, what an interpreter does
with its free memory is more than what leaks.
"""

import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.environment import SCRIPTS, gateway_program, peer_version
from benchmarks.gateway_client import request, warm_ups
from benchmarks.harness import ROOT, Goal, Row, compare, interleave, percentile
from benchmarks.mcp import slope
from benchmarks.processes import Running, finish, free_port, last_json, running
from benchmarks.upstream import MODEL

ROUNDS: Final = 3
CONNECTIONS: Final = (1, 10, 50)
REQUESTS: Final = 1500
SLOW_REQUESTS: Final = 200
STREAMS: Final = 60
#: Samples of memory while many requests are made, and their connections.
SAMPLES: Final = 20
MEMORY_CONNECTIONS: Final = 10
LONG: Final = "CONDUCTOR_BENCH_LONG"
MEMORY_REQUESTS: Final = 100_000 if os.environ.get(LONG) else 10_000
KEY: Final = "sk-bench-key"
#: The model table of our server: one model that runs elsewhere.
PAGE: Final = """# LLM Server Settings

## Conversational Persona
Be brief.

| Category/Area | Best Open Source Model | VRAM/RAM Requirements | Technical Model Name | Stay Loaded | Precision |
| --- | --- | --- | --- | --- | --- |
| **General Reasoning** | {model} | – | `{address}/v1#{model}` | false | – |
"""

OURS, LITELLM, SGLANG, BARE, DIRECT = "ours", "litellm", "sglang-router", "bare", "direct"


@dataclass(frozen=True, slots=True)
class Timing:
    """What one side did in one round.

    Requests a second, median seconds and processor seconds of a request by connections; first event of streams; MiB.
    """

    requests_per_s: Mapping[int, float]
    p50_s: Mapping[int, float]
    processor_s: Mapping[int, float]
    first_event_s: float
    memory_mib: float


def run() -> list[Row]:
    """All rows of this benchmark."""
    with upstream() as address:
        sides: dict[str, Callable[[], Timing]] = {
            OURS: partial(measure, ours, address),
            SGLANG: partial(measure, sglang_router, address),
            BARE: partial(measure, bare, address),
            LITELLM: partial(measure, litellm, address, requests=SLOW_REQUESTS),
            DIRECT: partial(measure, direct, address),
        }
        timings = interleave(ROUNDS, sides)
        rows = [*rows_of(timings), *memory_rows(address)]
    return rows


def rows_of(timings: Mapping[str, Sequence[Timing]]) -> list[Row]:
    """Requests a second and what is added by connections; then streams and memory."""
    names = {
        LITELLM: f"LiteLLM proxy {peer_version('litellm')}",
        SGLANG: f"sglang-router {peer_version('sglang-router')}",
        BARE: "bare Starlette + aiohttp",
    }
    rows = []
    for connections in CONNECTIONS:
        what = f"{connections} connection{'s' if connections > 1 else ''}"
        rates = {side: [one.requests_per_s[connections] for one in rounds] for side, rounds in timings.items()}
        bound = {1: 800, 10: 1000}.get(connections)
        if bound is not None:
            metric = f"chat completions, {what}"
            rows.append(compare(metric, "req/s", rates[OURS], more_is_better=True, goal=Goal("at least", bound)))
        goals = {LITELLM: Goal("times peer", 10), SGLANG: Goal("times peer", 0.5), BARE: None}
        for peer, name in names.items():
            rows.append(
                compare(
                    f"chat completions, {what}", "req/s", rates[OURS],
                    more_is_better=True, peer_name=name, peer=rates[peer], goal=goals[peer],
                )
            )  # fmt: skip
        waits = {side: [one.p50_s[connections] for one in rounds] for side, rounds in timings.items()}
        more = {side: added(waits[side], waits[DIRECT]) for side in (OURS, *names)}
        for peer, name in names.items():
            goal = Goal("times peer", 10) if peer == LITELLM else None
            rows.append(
                compare(
                    f"added p50, {what}", "ms", more[OURS],
                    more_is_better=False, peer_name=name, peer=more[peer], goal=goal,
                )
            )  # fmt: skip
        took = {side: [1e6 * one.processor_s[connections] for one in rounds] for side, rounds in timings.items()}
        for peer, name in names.items():
            rows.append(
                compare(
                    f"processor time of a request, {what}", "µs", took[OURS],
                    more_is_better=False, peer_name=name, peer=took[peer],
                )
            )  # fmt: skip
    firsts = {side: [one.first_event_s for one in rounds] for side, rounds in timings.items()}
    more = {side: added(firsts[side], firsts[DIRECT]) for side in (OURS, *names)}
    metric = "streams: time to first event added, p50"
    rows.append(compare(metric, "ms", more[OURS], more_is_better=False, goal=Goal("below", 2)))
    for peer, name in names.items():
        rows.append(compare(metric, "ms", more[OURS], more_is_better=False, peer_name=name, peer=more[peer]))
    memory = {side: [one.memory_mib for one in rounds] for side, rounds in timings.items()}
    for peer, name in names.items():
        rows.append(
            compare(
                "memory of all processes", "MiB", memory[OURS],
                more_is_better=False, peer_name=name, peer=memory[peer],
            )
        )  # fmt: skip
    return rows


def added(through: Sequence[float], straight: Sequence[float]) -> list[float]:
    """Milliseconds that a gateway adds, round by round; what is below the resolution counts as a microsecond."""
    return [max(0.001, 1000 * (mine - base)) for mine, base in zip(through, straight, strict=True)]


def memory_rows(address: str) -> list[Row]:
    """How much our server grows over many requests, after it is warm."""
    with ours(address) as (port, key, server):
        assert server is not None
        ask(port, key, MEMORY_CONNECTIONS, MEMORY_REQUESTS // 10)
        samples = [(0, server.memory_bytes())]
        for number in range(1, SAMPLES + 1):
            ask(port, key, MEMORY_CONNECTIONS, MEMORY_REQUESTS // SAMPLES)
            samples.append((number * MEMORY_REQUESTS // SAMPLES, server.memory_bytes()))
    told = [f"{asked:,}: {size / 2**20:.1f}" for asked, size in samples if asked % (MEMORY_REQUESTS // 10) == 0]
    print(f"memory of ours in MiB at requests {', '.join(told)}", flush=True)
    grown, (left, error) = (samples[-1][1] - samples[0][1]) / 2**20, slope(samples[len(samples) // 2 :])
    what = f"over {MEMORY_REQUESTS:,} requests"
    return [
        compare(f"growth of memory {what}", "MiB", [grown], more_is_better=False, goal=Goal("below", 8)),
        compare(f"memory left by a request, {what}", "B", [left], more_is_better=False),
        compare("standard error of that", "B", [error], more_is_better=False),
    ]


Gate = contextlib.AbstractContextManager[tuple[int, str, Running | None]]


def measure(start: Callable[[str], Gate], address: str, *, requests: int = REQUESTS) -> Timing:
    """One round of one side."""
    rates, waits, processor = {}, {}, {}
    with start(address) as (port, key, server):
        ask(port, key, max(CONNECTIONS), requests // 5)  # what happens once, with the first requests, is not measured
        for connections in CONNECTIONS:
            before_s = processor_s(server)
            rates[connections], taken = ask(port, key, connections, requests)
            waits[connections] = percentile(taken, 0.5)
            processor[connections] = (processor_s(server) - before_s) / (requests + warm_ups(connections))
        _, firsts = ask(port, key, 1, STREAMS, "stream")
        memory_mib = server.memory_bytes() / 2**20 if server is not None else 0.0
    return Timing(rates, waits, processor, percentile(firsts, 0.5), memory_mib)


def processor_s(server: Running | None) -> float:
    """What all processes of a side took of the processors so far."""
    if server is None:
        return 0.0
    times = [process.cpu_times() for process in (server.process, *server.process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def ask(port: int, key: str, connections: int, requests: int, *more: str) -> tuple[float, Sequence[float]]:
    """Requests a second, and the seconds of each."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.gateway_client",
        str(port),
        key,
        str(connections),
        str(requests),
        *more,
    ]
    document = last_json(finish(command, folder=ROOT))
    return document["requests_per_s"], document["taken_s"]


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    """The upstream of all; gives its address."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.upstream", str(port)], folder=ROOT) as server:
        server.wait_for_words("upstream listens")
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def direct(address: str) -> Iterator[tuple[int, str, Running | None]]:
    """Nothing in between."""
    yield int(address.rpartition(":")[2]), KEY, None


@contextlib.contextmanager
def ours(address: str) -> Iterator[tuple[int, str, Running | None]]:
    """Our server on a fresh data folder, as everyone starts it: key, limits, routing, accounts and metrics are on."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-conductor-") as folder:
        Path(folder, "SETTINGS.md").write_text(PAGE.format(address=address, model=MODEL), encoding="utf-8")
        settings = {
            "mind": {"model": "none"},
            "serving": {"endpoint_keys": [f"{address}=sk-upstream"], "requests_per_s": 1e6, "tokens_per_min": 1e12},
        }
        config = Path(folder, "config.yaml")
        config.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        command = [sys.executable, "-m", "conductor.faces.http", "--data-dir", folder, "--config", str(config)]
        with running([*command, "--port", str(port)], environment={LONG: ""}, folder=ROOT) as server:
            server.wait_until(partial(listens, port), within_s=60)
            yield port, Path(folder, "key").read_text(encoding="utf-8").strip(), server


@contextlib.contextmanager
def bare(address: str) -> Iterator[tuple[int, str, Running | None]]:
    """The pass-through, with our own libraries."""
    port = free_port()
    with running([sys.executable, str(SCRIPTS / "bare_gateway.py"), str(port), address]) as server:
        server.wait_until(partial(listens, port), within_s=60)
        yield port, KEY, server


@contextlib.contextmanager
def litellm(address: str) -> Iterator[tuple[int, str, Running | None]]:
    """LiteLLM's proxy with one worker, its master key, and nothing that writes."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-litellm-") as folder:
        where = {"model": f"openai/{MODEL}", "api_base": f"{address}/v1", "api_key": "sk-upstream"}
        settings = {
            "model_list": [{"model_name": MODEL, "litellm_params": where}],
            "general_settings": {"master_key": KEY},
            "litellm_settings": {"telemetry": False},
        }
        Path(folder, "config.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        command = [gateway_program("litellm"), "--config", f"{folder}/config.yaml", "--host", "127.0.0.1"]
        environment = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
        with running(
            [*command, "--port", str(port), "--num_workers", "1", "--telemetry", "False"],
            environment=environment, folder=Path(folder),
        ) as server:  # fmt: skip
            server.wait_until(partial(listens, port), within_s=120)
            yield port, KEY, server


@contextlib.contextmanager
def sglang_router(address: str) -> Iterator[tuple[int, str, Running | None]]:
    """The Rust router of SGLang, in front of the one worker."""
    port = free_port()
    command = [gateway_program("python"), "-m", "sglang_router.launch_router", "--worker-urls", address]
    options = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port()), "--log-level", "warn"]
    with running([*command, *options]) as server:
        server.wait_until(partial(answers, port), within_s=120)
        yield port, KEY, server


def listens(port: int) -> bool:
    """Whether somebody takes connections at the port."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def answers(port: int) -> bool:
    """Whether completions are answered: some listen before they know their workers."""
    if not listens(port):
        return False
    with socket.create_connection(("127.0.0.1", port), timeout=10) as tried:
        tried.sendall(request(KEY, stream=False))
        return tried.recv(4096).startswith(b"HTTP/1.1 200")
