"""No-op tasks from submission to success: ours beside Celery, Taskiq and Ray, everything on this machine.

Each side gets a fresh data folder or Redis server in every round, one worker, and a client process that submits a bulk
in the way its documentation shows, waits for all results, and then sends tasks one at a time. Nothing of another side
runs meanwhile. Where a peer has several sensible settings, all are tried and the quickest is measured.

Not equal, in the peers' favour: ours is durable before it answers, keeps every transition and writes the ledger; Redis
syncs once per second, and Ray writes nothing. What ours wrote is checked after every round through a fresh connection.
"""

import contextlib
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.environment import REDIS_DURABILITY, SCRIPTS, peer_program, peer_version, redis
from benchmarks.harness import ROOT, Goal, Row, WrongResult, compare, interleave, percentile
from benchmarks.processes import finish, last_json, running

ROUNDS: Final = 5
OUR_TASKS: Final = 20_000
PEER_TASKS: Final = 3_000
SINGLES: Final = 200
TRIAL_TASKS: Final = 500
TRIAL_ROUNDS: Final = 2

ROAD: Final = "submitted decided queued placed running succeeded"
OURS: Final = "ours"

CELERY_POOLS: Final[Mapping[str, Sequence[str]]] = {
    "solo": ("--pool", "solo"),
    "prefork, 1 process": ("--pool", "prefork", "--concurrency", "1"),
    "prefork, 2 processes": ("--pool", "prefork", "--concurrency", "2"),
    "4 threads": ("--pool", "threads", "--concurrency", "4"),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """What one side did in one round."""

    tasks_per_s: float
    single_ms: tuple[float, ...]

    @classmethod
    def parse(cls, output: str) -> "Timing":
        """Read the line a client printed."""
        document = last_json(output)
        return cls(document["tasks_per_s"], tuple(1000 * seconds for seconds in document["single_s"]))


def run() -> list[Row]:
    """All rows of this benchmark."""
    celery = quickest("Celery", {name: partial(celery_round, pool) for name, pool in CELERY_POOLS.items()})
    taskiq = quickest("Taskiq", {f"{kind} broker": partial(taskiq_round, kind) for kind in ("list", "stream")})
    names = {
        "celery": f"Celery {peer_version('celery')}, {celery}; Redis {REDIS_DURABILITY}",
        "taskiq": f"Taskiq {peer_version('taskiq')}, {taskiq}, 1 worker; Redis {REDIS_DURABILITY}",
        "ray": f"Ray {peer_version('ray')} tasks, not durable",
    }
    sides = {
        OURS: partial(our_round, OUR_TASKS, SINGLES),
        "celery": partial(celery_round, CELERY_POOLS[celery], PEER_TASKS, SINGLES),
        "taskiq": partial(taskiq_round, taskiq.partition(" ")[0], PEER_TASKS, SINGLES),
        "ray": partial(ray_round, PEER_TASKS, SINGLES),
    }
    return rows_of(interleave(ROUNDS, sides), names)


def quickest(peer: str, candidates: Mapping[str, Callable[[int, int], Timing]]) -> str:
    """Try each setting of a peer on small bulks; returns the name of the quickest."""
    tried = interleave(TRIAL_ROUNDS, {name: partial(measure, TRIAL_TASKS, 0) for name, measure in candidates.items()})
    best = {name: max(timing.tasks_per_s for timing in timings) for name, timings in tried.items()}
    print(f"{peer}: " + ", ".join(f"{name} {rate:,.0f}/s" for name, rate in best.items()), flush=True)
    return max(best, key=lambda name: best[name])


def rows_of(timings: Mapping[str, Sequence[Timing]], names: Mapping[str, str]) -> list[Row]:
    """Throughput first, then the latency of single tasks; a row per peer."""
    rates = {side: [timing.tasks_per_s for timing in rounds] for side, rounds in timings.items()}
    goals = {"celery": Goal("times peer", 10), "taskiq": Goal("times peer", 8), "ray": None}
    metric = "no-op tasks, every transition synced to disk, submitted → succeeded"
    rows = [compare(metric, "tasks/s", rates[OURS], more_is_better=True, goal=Goal("at least", 5000))]
    for peer, name in names.items():
        rows.append(
            compare(
                metric, "tasks/s", rates[OURS], more_is_better=True, peer_name=name, peer=rates[peer], goal=goals[peer]
            )
        )
    for share, label in ((0.5, "p50"), (0.99, "p99")):
        waits = {side: [percentile(timing.single_ms, share) for timing in rounds] for side, rounds in timings.items()}
        for peer, name in names.items():
            metric = f"one task at a time, {label}"
            rows.append(compare(metric, "ms", waits[OURS], more_is_better=False, peer_name=name, peer=waits[peer]))
    return rows


def our_round(tasks: int, singles: int) -> Timing:
    """Ours in a process of its own on a fresh data folder, and what it wrote, checked."""
    with tempfile.TemporaryDirectory(prefix="bench-conductor-") as folder:
        client = [sys.executable, "-m", "benchmarks.queue_client", folder, str(tasks), str(singles)]
        output = finish(client, folder=ROOT)
        check_record(Path(folder), tasks=last_json(output)["tasks"])
    return Timing.parse(output)


def check_record(folder: Path, *, tasks: int) -> None:
    """Read the database as a stranger would: every task succeeded by the whole road, with its two ledger entries.

    Raises:
        WrongResult: something is missing; the message counts it.
    """
    with contextlib.closing(sqlite3.connect(f"file:{folder / 'conductor.db'}?mode=ro", uri=True)) as database:
        succeeded = _count(database, "SELECT count(*) FROM tasks WHERE state = 'succeeded'")
        travelled = _count(
            database,
            "SELECT count(*) FROM (SELECT group_concat(state, ' ') AS road FROM (SELECT * FROM events ORDER BY seq)"
            f" GROUP BY task_id) WHERE road = '{ROAD}'",
        )
        recorded = _count(
            database,
            "SELECT count(*) FROM (SELECT subject FROM ledger_subjects WHERE subject IN (SELECT task_id FROM tasks)"
            " GROUP BY subject HAVING sum(kind = 'decision') = 1 AND sum(kind = 'outcome') = 1)",
        )
    if not succeeded == travelled == recorded == tasks:
        raise WrongResult(
            f"of {tasks} tasks {succeeded} succeeded, {travelled} have all six transitions and {recorded} both ledger "
            "entries in the record"
        )


def _count(database: sqlite3.Connection, question: str) -> int:
    answer: int = database.execute(question).fetchone()[0]
    return answer


def celery_round(pool: Sequence[str], tasks: int, singles: int) -> Timing:
    """Celery with one worker of the given pool."""
    program = peer_program("celery")
    with redis() as url:
        environment = {"CELERY_REDIS": url}
        worker = [program, "--app", "celery_queue", "worker", "--loglevel", "INFO", *pool]
        with working(worker, ready="ready.", environment=environment):
            return client("celery_queue.py", tasks, singles, environment)


def taskiq_round(kind: str, tasks: int, singles: int) -> Timing:
    """Taskiq with one worker process and the given broker."""
    program = peer_program("taskiq")
    with redis() as url:
        environment = {"TASKIQ_REDIS": url, "TASKIQ_BROKER": kind}
        worker = [program, "worker", "taskiq_queue:broker", "--workers", "1", "--no-parse"]
        with working(worker, ready="Listening started.", environment=environment):
            return client("taskiq_queue.py", tasks, singles, environment)


def ray_round(tasks: int, singles: int) -> Timing:
    """Ray with a worker per core; its client starts and ends the cluster."""
    return client("ray_queue.py", tasks, singles, {})


@contextlib.contextmanager
def working(command: Sequence[str], *, ready: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Keep a peer's worker running, from the moment it says it is ready."""
    with running(command, environment=environment, folder=SCRIPTS, end_within_s=3.0) as worker:
        worker.wait_for_words(ready)
        yield


def client(script: str, tasks: int, singles: int, environment: Mapping[str, str]) -> Timing:
    """Run a peer's client to its end."""
    command = [peer_program("python"), script, str(tasks), str(singles)]
    return Timing.parse(finish(command, environment=environment, folder=SCRIPTS))
