"""Tasks over HTTP as their users see them: streams without gaps, cancellation at every state, overload, settings, traces."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import MakeServer
from tests.server.serving import Client, Server, eventually

NOOP = {"kind": "noop", "spec": {}}
ROAD = ["submitted", "decided", "queued", "placed", "running", "succeeded"]


class Gate:
    """A task that runs until it is let go."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"
        self.script = f"echo begun; while [ ! -e {self.path} ]; do sleep 0.02; done; echo done"

    def open(self) -> None:
        self.path.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.open()


def state_of(client: Client, task: Any) -> str:
    return str(client.get(f"/v1/tasks/{task['task_id']}").expect(200)["state"])


def test_one_key_names_one_task_however_many_ask_at_once(server: Server) -> None:
    client, together = server.client, threading.Barrier(8)

    def submit(number: int) -> Any:
        document = {"description": "the very same request " * 50, "workload": NOOP}
        together.wait()
        return client.post("/v1/tasks", document, headers={"Idempotency-Key": "at-once"})

    with ThreadPoolExecutor(8) as users:
        answers = list(users.map(submit, range(8)))

    assert len({answer.expect(201)["task_id"] for answer in answers}) == 1


def test_a_key_that_was_used_for_something_else_is_a_conflict(client: Client) -> None:
    first = client.submit("one thing", workload=NOOP, idempotency_key="used")
    again = client.submit("one thing", workload=NOOP, idempotency_key="used")
    other = client.post("/v1/tasks", {"description": "another thing", "idempotency_key": "used"})

    assert again["task_id"] == first["task_id"]
    assert other.expect(409)["details"]["task_id"] == first["task_id"]


def test_of_many_who_use_one_key_for_different_things_one_wins_and_the_others_are_told(server: Server) -> None:
    client, together = server.client, threading.Barrier(6)

    def submit(number: int) -> int:
        together.wait()
        document = {"description": f"thing {number} " * (1 + 300 * number), "idempotency_key": "contested"}
        return client.post("/v1/tasks", document).status

    with ThreadPoolExecutor(6) as users:
        statuses = sorted(users.map(submit, range(6)))

    assert statuses == [201] + [409] * 5
    assert client.get("/health").status == 200


def test_a_watcher_sees_history_then_output_and_every_transition_once(client: Client, gate: Gate) -> None:
    task = client.command("sh", "-c", gate.script)
    with client.events(task["task_id"]) as events:
        seen = []
        for name, data in events:
            seen.append((name, data))
            if name == "output" and "begun" in data["text"]:
                gate.open()

    assert [data["state"] for name, data in seen if name == "state"] == ROAD
    assert "".join(data["text"] for name, data in seen if name == "output") == "begun\ndone\n"
    assert seen[-1][1]["state"] == "succeeded"


def test_many_watchers_see_the_same_and_one_who_reads_nothing_holds_nobody_up(client: Client, gate: Gate) -> None:
    lines = 4000
    task = client.command("sh", "-c", f"{gate.script}; seq {lines}", limits={"output_bytes": 2**24})

    def watch(_: int) -> list[str]:
        with client.events(task["task_id"]) as events:
            return [data["state"] for name, data in events if name == "state"]

    with client.events(task["task_id"]) as asleep, ThreadPoolExecutor(4) as watchers:
        futures = [watchers.submit(watch, number) for number in range(4)]
        gate.open()
        assert client.settled(task)["state"] == "succeeded"
        assert [future.result() for future in futures] == [ROAD] * 4
        assert [data["state"] for name, data in asleep if name == "state"] == ROAD


def test_events_of_a_settled_task_end_at_once_and_are_json_if_that_is_asked_for(client: Client) -> None:
    task = client.settled(client.submit(workload=NOOP))
    path = f"/v1/tasks/{task['task_id']}/events"

    with client.events(task["task_id"]) as events:
        assert [data["state"] for _, data in events] == ROAD
    as_json = client.get(path, headers={"Accept": "application/json"}).expect(200)
    assert [event["state"] for event in as_json["events"]] == ROAD
    assert client.get(f"{path}?follow=false").expect(200) == as_json


def test_a_running_task_is_cancelled_with_all_of_its_processes(client: Client, gate: Gate) -> None:
    task = client.command("sh", "-c", gate.script)
    eventually(lambda: state_of(client, task) == "running", "it runs")

    cancelled = client.post(f"/v1/tasks/{task['task_id']}/cancel?reason=enough").expect(200)

    assert (cancelled["state"], cancelled["outcome"]["ending"]) == ("cancelled", "cancelled")
    events = client.get(f"/v1/tasks/{task['task_id']}/events?follow=false").expect(200)["events"]
    assert events[-1]["detail"]["reason"] == "enough"


def test_a_settled_task_cannot_be_cancelled(client: Client) -> None:
    for task in (client.submit("only decide"), client.settled(client.submit(workload=NOOP))):
        refused = client.post(f"/v1/tasks/{task['task_id']}/cancel").expect(409)
        assert refused["details"]["state"] == task["state"]


def test_a_task_that_waits_says_why_and_can_be_cancelled(make_server: MakeServer, gate: Gate) -> None:
    client = make_server(executor__workers=1).start().client
    first = client.command("sh", "-c", gate.script)
    eventually(lambda: state_of(client, first) == "running", "it runs")

    waiting = client.command("true")
    second = client.get(f"/v1/tasks/{waiting['task_id']}").expect(200)

    assert second["state"] == "queued"
    assert second["pending_because"]["sentence"]
    assert second["pending_because"]["reasons"][0]["code"]
    assert client.post(f"/v1/tasks/{waiting['task_id']}/cancel").expect(200)["state"] == "cancelled"
    assert state_of(client, first) == "running"


def test_a_task_that_waits_for_its_next_attempt_says_so_and_can_be_cancelled(make_server: MakeServer) -> None:
    client = make_server(retry__first_delay_s=60, retry__max_delay_s=60).start().client
    task = client.command("sh", "-c", "exit 3")
    path = f"/v1/tasks/{task['task_id']}"
    waiting = eventually(
        lambda: (found := client.get(path).json)["state"] == "queued" and found["attempt"] == 1 and found,
        "it waits for its next attempt",
    )

    assert "attempt" in json.dumps(waiting["pending_because"])
    assert client.post(f"{path}/cancel").expect(200)["state"] == "cancelled"


def test_cancelling_at_any_moment_ends_a_task_that_would_be_repeated(client: Client) -> None:
    for number in range(12):
        task = client.command("sh", "-c", f"sleep 0.0{number % 6}; exit 1", max_retries=50)
        answer = client.post(f"/v1/tasks/{task['task_id']}/cancel")
        assert answer.expect(200)["state"] == "cancelled"


def test_a_full_queue_refuses_with_a_time_to_retry_and_goes_on(make_server: MakeServer, gate: Gate) -> None:
    client = make_server(queue__depth=2, executor__workers=1).start().client
    running = client.command("sh", "-c", gate.script)
    eventually(lambda: state_of(client, running) == "running", "it runs")
    waiting = [client.command("true") for _ in range(2)]

    refused = client.post(
        "/v1/tasks", {"description": "one too many", "workload": {"kind": "command", "spec": {"command": ["true"]}}}
    )

    assert refused.expect(503)["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    gate.open()
    assert [client.settled(task)["state"] for task in [running, *waiting]] == ["succeeded"] * 3
    assert client.settled(client.command("true"))["state"] == "succeeded"


def test_a_failed_task_is_repeated_and_then_dead_with_its_whole_story(client: Client) -> None:
    task = client.settled(client.command("sh", "-c", "echo no >&2; exit 3", max_retries=2))

    assert (task["state"], task["attempt"], task["outcome"]["exit_code"]) == ("dead", 3, 3)
    assert task["outcome"]["stderr_tail"] == "no\n"
    events = client.get(f"/v1/tasks/{task['task_id']}/events?follow=false").expect(200)["events"]
    assert [event["state"] for event in events].count("running") == 3
    again = client.post(f"/v1/tasks/{task['task_id']}/repeat").expect(201)
    assert again["metadata"]["repeats"] == task["task_id"]


def test_a_listing_goes_on_where_it_ended_and_can_be_filtered(make_server: MakeServer) -> None:
    client = make_server().start().client
    made = [client.submit(f"count 100% of the sheep, part {n}", user_id=f"user{n % 2}")["task_id"] for n in range(5)]

    first = client.get("/v1/tasks?limit=3").expect(200)
    rest = client.get(f"/v1/tasks?limit=3&before={first['next_before']}").expect(200)

    assert [task["task_id"] for task in first["tasks"] + rest["tasks"]] == made[::-1]
    assert rest["next_before"] is None
    assert len(client.get("/v1/tasks?user_id=user1").json["tasks"]) == 2
    assert len(client.get("/v1/tasks?text=part%203").json["tasks"]) == 1
    assert len(client.get("/v1/tasks?text=0%25").json["tasks"]) == 5
    assert client.get("/v1/tasks?state=running").json["tasks"] == []


def test_settings_change_by_request_and_by_file_while_the_server_runs(make_server: MakeServer, tmp_path: Path) -> None:
    file = tmp_path / "conductor.yaml"
    file.write_text("queue:\n  depth: 500\n")
    server = make_server("--config", str(file)).start()
    client = server.client

    def depth() -> Any:
        rows = client.get("/v1/settings").expect(200)["settings"]
        return next(row["value"] for row in rows if row["name"] == "queue.depth")

    assert depth() == 500
    file.write_text("queue:\n  depth: 77\n")
    eventually(lambda: depth() == 77, "the file is read again")
    file.write_text("queue:\n  dept: 78\n")
    eventually(lambda: "settings_not_taken" in server.log.read_text(), "the mistake is reported")
    assert depth() == 77
    file.write_text("queue:\n  depth: 77\n")

    changes = client.request("PUT", "/v1/settings/queue.depth", {"value": 5}).expect(200)["changes"]
    assert [(change["name"], change["old"], change["new"]) for change in changes] == [("queue.depth", 77, 5)]
    assert depth() == 5
    assert "queue.depth" in client.request("PUT", "/v1/settings/queue.dept", {"value": 5}).expect(422)["detail"]
    assert client.request("PUT", "/v1/settings/queue.depth", {"value": 0}).status == 422
    client.request("DELETE", "/v1/settings/queue.depth").expect(200)
    assert depth() == 77
    assert client.request("DELETE", "/v1/settings/queue.depth").status == 404


def test_a_changed_depth_counts_at_once(make_server: MakeServer, gate: Gate) -> None:
    client = make_server(executor__workers=1).start().client
    running = client.command("sh", "-c", gate.script)
    eventually(lambda: state_of(client, running) == "running", "it runs")
    client.request("PUT", "/v1/settings/queue.depth", {"value": 1}).expect(200)

    statuses = [
        client.post("/v1/tasks", {"description": "a", "workload": {"kind": "command", "spec": {"command": ["true"]}}})
        for _ in range(2)
    ]

    assert [answer.status for answer in statuses] == [201, 503]


def test_logs_carry_the_trace_that_the_answer_names(make_server: MakeServer) -> None:
    server = make_server().start()
    trace = "0af7651916cd43dd8448eb211c80319c"

    own = server.client.get("/health").headers["traceparent"]
    given = server.client.get("/v1/nodes", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}).headers

    assert given["traceparent"].split("-")[1] == trace
    logged = {line.get("path"): line for line in map(json.loads, server.log.read_text().splitlines())}
    assert logged["/health"]["trace_id"] == own.split("-")[1]
    assert logged["/health"]["span_id"] == own.split("-")[2]
    assert logged["/v1/nodes"]["trace_id"] == trace
    assert server.client.key is not None
    assert server.client.key not in server.log.read_text()


def test_a_decision_without_work_is_recorded_and_proven(client: Client) -> None:
    document = {"description": "transcode a film", "idempotency_key": "decide-once"}
    decision = client.post("/v1/decisions", document).expect(201)

    assert client.post("/v1/decisions", document).expect(201)["task_id"] == decision["task_id"]
    assert client.get(f"/v1/decisions/{decision['task_id']}").expect(200) == decision
    receipt = client.get(f"/v1/tasks/{decision['task_id']}/receipt?kind=decision").expect(200)
    assert decision["task_id"] in json.dumps(receipt)
    assert client.get(f"/v1/tasks/{decision['task_id']}/receipt").expect(404)["field"] == "kind"
