"""Kill the server at random moments under load: nothing is lost or done twice, the ledger holds, no process survives."""

import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import MakeServer
from tests.server.serving import Answer, Client, Server, environment, eventually, processes_with

from conductor.adapters.ledger_file import read_lines
from conductor.app.verification import verify_ledger
from conductor.domain.task import FINAL, TRANSITIONS, TaskState

#: Fast retries, small queue: what matters is how often something is under way at the moment of a kill.
PROFILE = {
    "retry__first_delay_s": 0.02,
    "retry__max_delay_s": 0.05,
    "executor__workers": 4,
    "queue__depth": 40,
    "log__level": "warning",
}


@dataclass
class Load:
    """Users who submit, repeat what was not answered under the same key, and cancel; each a thread of its own.

    Whoever kills the server calls `pause` first or not at all: users must cope with a server that is gone.
    """

    server: Server
    marker: str
    seed: int
    accepted: dict[str, str] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    _up: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self, users: int) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._user, args=(number,)) for number in range(users)]
        for thread in threads:
            thread.start()
        return threads

    def server_is_up(self) -> None:
        self._up.set()

    def server_is_down(self) -> None:
        self._up.clear()

    def end(self, threads: list[threading.Thread]) -> None:
        self._over.set()
        self._up.set()
        for thread in threads:
            thread.join()
        assert not self.mistakes

    def _user(self, number: int) -> None:
        chance, count = random.Random(f"{self.seed}/{number}"), 0
        try:
            while not self._over.is_set():
                key = f"user{number}-{count}"
                count += 1
                document = self._document(chance, key)
                task = self._submit_until_accepted(document)
                if task is not None and chance.random() < 0.15:
                    self._cancel(task, chance.random() * 0.05)
        except Exception as error:  # a thread's exception would be printed and forgotten
            self.mistakes.append(f"{type(error).__name__}: {error}")

    def _document(self, chance: random.Random, key: str) -> dict[str, Any]:
        nap = f"sleep {chance.random() * 0.1:.3f}"
        spec: dict[str, Any]
        kind, spec, retries = chance.choices(
            [
                ("noop", {"value": key}, None),
                ("command", {"command": ["true"]}, None),
                ("command", {"command": ["sh", "-c", f"{nap}; echo {self.marker}"]}, None),
                ("command", {"command": ["sh", "-c", f"{nap} & {nap}; exit 3 # {self.marker}"]}, 2),
                ("python", {"callable": "math:sqrt", "args": {}}, 0),
                ("python", {"callable": "platform:node", "args": {}}, 0),
            ],
            weights=[50, 18, 18, 10, 2, 2],
        )[0]
        return {
            "description": f"{kind} for the crash test",
            "workload": {"kind": kind, "spec": spec},
            "idempotency_key": key,
            "max_retries": retries,
        }

    def _submit_until_accepted(self, document: dict[str, Any]) -> Any:
        while not self._over.is_set():
            answer = self._asked("/v1/tasks", document)
            if answer is None or answer.status == 503:
                time.sleep(0.02)
                continue
            task = answer.expect(201)
            self.accepted[document["idempotency_key"]] = task["task_id"]
            return task
        return None

    def _cancel(self, task: Any, after_s: float) -> None:
        time.sleep(after_s)
        answer = self._asked(f"/v1/tasks/{task['task_id']}/cancel", None)
        if answer is not None and answer.status != 409:
            assert answer.expect(200)["settled"]

    def _asked(self, path: str, document: Any) -> Answer | None:
        """The answer; None if the server was killed before it came."""
        self._up.wait()
        try:
            return self.server.client.post(path, document)
        except (OSError, HTTPException):
            return None


def crash(server: Server, load: Load, *, kills: int, chance: random.Random) -> None:
    """Kill and restart; every fifth kill comes during the start."""
    checked: set[str] = set()
    for number in range(kills):
        if number % 5 == 4:
            server.begin()
            time.sleep(chance.random() * 2.0)
            server.kill()
            continue
        server.start()
        assert_ledger_holds(server)
        load.server_is_up()
        known = {key: task for key, task in load.accepted.items() if key not in checked}
        for key, task_id in known.items():
            server.client.get(f"/v1/tasks/{task_id}").expect(200)
            checked.add(key)
        time.sleep(chance.random() * 0.8)
        load.server_is_down()
        server.kill()
        eventually(lambda: not processes_with(load.marker), "no process of a task survives the server", within_s=10)
        assert not load.mistakes


def assert_ledger_holds(server: Server) -> None:
    verification = verify_ledger(server.data_dir / "ledger.jsonl").as_json()
    assert verification["faults"] == []


def assert_record_is_sound(data_dir: Path, accepted: dict[str, str]) -> Counter[str]:
    """Check the database and the ledger against each other and against what users were told; counts the states."""
    with closing(sqlite3.connect(f"file:{data_dir / 'conductor.db'}?mode=ro", uri=True)) as database:
        tasks = database.execute("SELECT task_id, idempotency_key, state, attempt FROM tasks").fetchall()
        history: dict[str, list[TaskState]] = {}
        for task_id, state in database.execute("SELECT task_id, state FROM events ORDER BY seq"):
            history.setdefault(task_id, []).append(TaskState(state))
        outbox = database.execute("SELECT count(*) FROM ledger_outbox").fetchone()[0]
    named = {key: task_id for task_id, key, *_ in tasks}
    assert len(named) == len(tasks), "a key names more than one task"
    assert {key: named.get(key) for key in accepted} == accepted
    assert history.keys() == {task_id for task_id, *_ in tasks}
    for task_id, _, state, _ in tasks:
        road = history[task_id]
        assert road[0] is TaskState.SUBMITTED
        assert all(after in TRANSITIONS[before] for before, after in pairwise(road)), road
        assert road[-1] is TaskState(state)
        assert road[-1] in FINAL, f"{task_id} is not settled: {road}"
    assert outbox == 0
    ended = ledger_outcomes(data_dir / "ledger.jsonl")
    assert ended == {task_id: [state] for task_id, _, state, _ in tasks}
    return Counter(state for _, _, state, _ in tasks)


def ledger_outcomes(path: Path) -> dict[str, list[str]]:
    """State by state what the ledger says about the end of each task."""
    import json

    found: dict[str, list[str]] = {}
    for _, line in read_lines(path):
        document = json.loads(line)
        entry = document.get("entry", document)
        if entry.get("kind") == "outcome":
            found.setdefault(entry["subject"], []).append(entry["body"]["state"])
    return found


def run_crashes(server: Server, *, kills: int, seed: int) -> Counter[str]:
    marker = f"crash-{seed}-{time.monotonic_ns()}"
    load = Load(server, marker, seed)
    users = load.run(4)
    try:
        crash(server, load, kills=kills, chance=random.Random(seed))
        server.start()
        load.server_is_up()
        time.sleep(0.5)
    finally:
        load.end(users)
    eventually(lambda: is_idle(server.client), "every task is settled")
    assert_ledger_holds(server)
    assert server.stop() == 0
    assert processes_with(marker) == []
    return assert_record_is_sound(server.data_dir, load.accepted)


def is_idle(client: Client) -> bool:
    health = client.get("/health").expect(200)
    return bool(health["tasks_waiting"] == 0 and health["tasks_running"] == 0)


def test_twenty_kills_at_random_moments_lose_nothing_and_repeat_nothing(make_server: MakeServer) -> None:
    states = run_crashes(make_server(**PROFILE), kills=20, seed=2)

    assert states["succeeded"] > 50
    assert states["dead"] > 0
    assert states["cancelled"] > 0


@pytest.mark.soak
def test_two_hundred_kills_at_random_moments_lose_nothing_and_repeat_nothing(make_server: MakeServer) -> None:
    states = run_crashes(make_server(**PROFILE), kills=200, seed=3)

    assert states["succeeded"] > 500


def test_sigterm_ends_what_runs_and_leaves_a_sound_record(make_server: MakeServer) -> None:
    server = make_server(**PROFILE).start()
    running = server.client.command("sh", "-c", "sleep 0.5; echo done")
    eventually(lambda: server.client.get(f"/v1/tasks/{running['task_id']}").json["state"] == "running", "it runs")

    assert server.stop() == 0

    assert assert_record_is_sound_state(server, running["task_id"]) == "succeeded"


def test_what_a_drain_cuts_off_is_repeated_after_the_next_start_and_counts_as_the_same_attempt(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(executor__drain_s=0.1).start()
    gate = tmp_path / "gate"
    waiting = server.client.command("sh", "-c", f"while [ ! -e {gate} ]; do sleep 0.05; done")
    path = f"/v1/tasks/{waiting['task_id']}"
    eventually(lambda: server.client.get(path).json["state"] == "running", "it runs")

    assert server.stop() == 0
    gate.touch()
    server.start()

    settled = server.client.settled(waiting)
    assert (settled["state"], settled["attempt"]) == ("succeeded", 1)


def test_the_command_line_finds_the_ledger_sound_after_a_kill(make_server: MakeServer) -> None:
    server = make_server().start()
    server.client.settled(server.client.submit(workload={"kind": "noop", "spec": {}}))
    server.kill()

    checked = subprocess.run(
        [sys.executable, "-m", "conductor.faces.cli.main", "--data-dir", str(server.data_dir), "ledger", "verify"],
        capture_output=True,
        env=environment(server.data_dir.parent),
    )

    assert checked.returncode == 0, checked.stderr


def assert_record_is_sound_state(server: Server, task_id: str) -> str:
    """The state on record after the server ended."""
    with closing(sqlite3.connect(f"file:{server.data_dir / 'conductor.db'}?mode=ro", uri=True)) as database:
        return str(database.execute("SELECT state FROM tasks WHERE task_id = ?", [task_id]).fetchone()[0])
