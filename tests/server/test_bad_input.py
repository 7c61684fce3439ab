"""Everything that can be wrong is told clearly, and nothing is lost by it: input, installation, disk, and hostile tasks."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import MakeServer
from tests.server.serving import PATIENCE_S, Client, Server, environment, eventually, processes_with

NOOP = {"kind": "noop", "spec": {}}


@pytest.mark.parametrize(
    ("document", "field", "words"),
    [
        ({}, "description", "required"),
        ({"description": ""}, "description", "empty"),
        ({"description": " \n\t "}, "description", "empty"),
        ({"description": "x" * 100_001}, "description", "100,001 characters"),
        ({"description": "PNG\x00\x01\x02"}, "description", "control characters"),
        ({"description": "half \ud800 pair"}, "description", "unicode"),
        ({"description": "a", "surplus \ud800": 1}, "", "unicode"),
        ({"description": "a", "metadata": {"x": "\udfff"}}, "metadata.x", "surrogate"),
        ({"description": "a", "metadata": {"x": float("nan")}}, "metadata.x", "finite"),
        ({"description": "a", "metadata": {"priority": 9}}, "metadata.priority", "priority"),
        ({"description": "a", "metadata": {"quantity": -1}}, "metadata.quantity", "quantity"),
        ({"description": "a", "priority": 0}, "priority", "greater"),
        ({"description": "a", "user_id": "a\nb"}, "user_id", "printable"),
        ({"description": "a", "idempotency_key": "a\x00"}, "idempotency_key", "printable"),
        ({"description": "a", "workload": {"kind": "comand", "spec": {}}}, "workload.kind", "did you mean 'command'"),
        ({"description": "a", "workload": {"kind": "noop", "spec": {"valeu": 1}}}, "workload.valeu", "'value'"),
        ({"description": "a", "workload": {"kind": "command", "spec": {}}}, "workload.command", "command"),
        (
            {"description": "a", "workload": {"kind": "command", "spec": {"command": ["no-such-program"]}}},
            "workload.command",
            "no executable 'no-such-program'",
        ),
        (
            {"description": "a", "workload": {"kind": "command", "spec": {"command": ["a\x00b"]}}},
            "workload.command",
            "NUL",
        ),
        (
            {"description": "a", "workload": {"kind": "python", "spec": {"callable": "no_such_module:go"}}},
            "workload.callable",
            "no module 'no_such_module'",
        ),
        (
            {"description": "a", "workload": {"kind": "python", "spec": {"callable": "json:lods"}}},
            "workload.callable",
            "did you mean json:loads",
        ),
        (
            {"description": "a", "workload": {"kind": "embed", "spec": {"file": "/no/such/file.csv"}}},
            "workload.file",
            "/no/such/file.csv",
        ),
        (
            {
                "description": "a",
                "workload": {"kind": "command", "spec": {"command": ["true"]}, "limits": {"memory_bytes": 2**49}},
            },
            "",
            "memory",
        ),
        ({"description": "a", "workload": NOOP | {"limits": {"wall_time_s": 0}}}, "workload.limits.wall_time_s", "0"),
    ],
)
def test_input_that_cannot_be_used_is_refused_by_naming_the_field(
    client: Client, document: Any, field: str, words: str
) -> None:
    refused = client.post("/v1/tasks", document).expect(422)

    assert words in refused["detail"]
    assert (refused["field"] or "").startswith(field)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b'"text"', b"[" * 100_000, b'{"description": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut", "bytes", "list", "null", "text", "nested", "number"],
)
def test_a_body_that_is_no_submission_is_refused(client: Client, body: bytes) -> None:
    answer = client.post("/v1/tasks", body=body)

    assert answer.status in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "fields",
    [
        {"description": "ä" * 100_000},
        {"metadata": {"sizes": [2**63, -(2**64), 10**300], "deep": [[[[{}]]]], "nul": "\x00", "": None}},
        {"metadata": {"quantity": 1e308}},
        {"metadata": {"quantity": 10**400}},
        {"metadata": {"deadline_unix_s": 1e308}},
        {"user_id": "Zoë 🦉"},
        {"workload": {"kind": "noop", "spec": {"value": ["\x00", 1e-320, 2**70, "🦉"]}}},
    ],
    ids=["100k", "metadata", "much", "more", "late", "user", "value"],
)
def test_what_is_odd_but_allowed_is_accepted_or_refused_but_never_breaks_anything(
    client: Client, fields: dict[str, Any]
) -> None:
    answer = client.post("/v1/tasks", {"description": "count the odd things"} | fields)

    assert answer.status in (201, 422), answer.body
    if answer.status == 201:
        task = answer.json
        assert client.get(f"/v1/tasks/{task['task_id']}").expect(200)["settled"]
        assert client.get(f"/v1/tasks/{task['task_id']}/explanation").status == 200
        assert client.get(f"/v1/tasks/{task['task_id']}/receipt?kind=decision").status == 200
    assert client.get("/health").expect(200)["status"] == "ok"


ODD_RESULTS = {
    "surrogate": "def go(): return {'half': '\\ud800'}",
    "large": "def go(): return [2**80, -(10**400)]",
    "digits": "def go(): return int('1' + '0' * 4200)",
    "deep": "def go():\n    x = []\n    for _ in range(400): x = [x]\n    return x",
    "raises": "def go(): raise ValueError('half \\udfff pair')",
    "prints": "import sys\ndef go(): sys.stdout.buffer.write(bytes(range(256)) * 20); sys.stdout.flush()",
}


@pytest.mark.parametrize("name", ODD_RESULTS)
def test_odd_results_and_output_of_a_task_can_be_read_while_it_is_remembered_and_after_a_restart(
    server: Server, tmp_path: Path, name: str
) -> None:
    (tmp_path / "odd.py").write_text(ODD_RESULTS[name])
    client = server.client
    spec = {"callable": "odd:go", "directory": str(tmp_path)}

    task = client.submit(workload={"kind": "python", "spec": spec}, max_retries=0)

    with client.events(task["task_id"]) as events:
        assert [name for name, _ in events][-1] == "state"
    assert client.settled(task)["outcome"] is not None
    assert client.get(f"/v1/tasks/{task['task_id']}/receipt").status == 200
    assert client.get("/v1/tasks").status == 200


def test_two_servers_on_one_folder_are_refused_by_naming_the_first(make_server: MakeServer) -> None:
    first = make_server().start()
    assert first.process is not None

    code, said = Server(first.data_dir).refusal()

    assert code == 1
    assert f"pid {first.process.pid}" in said
    assert first.url in said
    assert "Traceback" not in said
    assert first.client.get("/health").status == 200


def test_a_second_server_on_the_same_port_and_folder_hears_about_the_folder(make_server: MakeServer) -> None:
    first = make_server().start()
    port = first.url.rpartition(":")[2]

    same = Server(first.data_dir, ("--port", port)).refusal()
    other = Server(first.data_dir.with_name("other"), ("--port", port)).refusal()

    assert "uses the data folder" in same[1]
    assert (other[0], "cannot listen on" in other[1]) == (2, True)


def damage(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"this is no database at all" * 1000),
        lambda path: damage(path, 0, b"\x00" * 100),
        lambda path: damage(path, 4096, os.urandom(4096 * 8)),
    ],
    ids=["text", "header", "pages"],
)
def test_a_corrupt_database_stops_the_start_with_a_remedy(
    make_server: MakeServer, spoil: Callable[[Path], object]
) -> None:
    server = make_server().start()
    server.client.submit(workload=NOOP)
    assert server.stop() == 0
    spoil(server.data_dir / "conductor.db")

    code, said = server.refusal()

    assert code == 1
    assert "backup" in said or "move it aside" in said
    assert "Traceback" not in said


def test_a_database_that_refuses_for_good_ends_the_server_with_a_clear_word(make_server: MakeServer) -> None:
    server = make_server(storage__patience_s=1).start()
    process = server.process
    assert process is not None
    with closing(sqlite3.connect(server.data_dir / "conductor.db")) as other:
        other.execute("CREATE TRIGGER no BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'this is foreign'); END")

    with contextlib.suppress(OSError, HTTPException):
        assert server.client.post("/v1/tasks", {"description": "a", "workload": NOOP}).status >= 500

    assert process.wait(PATIENCE_S) == 1
    said = server.log.read_text()
    assert "conductor: not stored: this is foreign" in said
    assert "Traceback" not in said


def test_a_database_that_another_program_locks_delays_and_loses_nothing(make_server: MakeServer) -> None:
    server = make_server(storage__patience_s=1).start()
    with closing(sqlite3.connect(server.data_dir / "conductor.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = server.client.post(
            "/v1/tasks", {"description": "wait", "workload": NOOP, "idempotency_key": "k"}
        ).expect(507)
        assert "locked" in refused["detail"]
        assert server.client.get("/health").expect(200)["status"] == "failing"
        other.rollback()

    eventually(lambda: server.client.get("/health").json["status"] == "ok", "the database works again")
    task = server.client.submit("wait", workload=NOOP, idempotency_key="k")
    assert server.client.settled(task)["state"] == "succeeded"
    assert len(server.client.get("/v1/tasks").json["tasks"]) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_refuses_work_and_when_space_is_freed_everything_goes_on(
    make_server: MakeServer, small_disk: Path
) -> None:
    server = make_server(data_dir=small_disk / "data", storage__patience_s=1).start()
    client, fill = server.client, small_disk / "fill"
    accepted = [client.submit("before", workload=NOOP)]
    fill_up(fill)

    refused = None
    for number in range(200):  # what SQLite has reserved takes a few more
        answer = client.post("/v1/tasks", {"description": f"task {number}", "workload": NOOP})
        if answer.status != 201:
            refused = answer.expect(507)
            break
        accepted.append(answer.json)
    assert refused is not None
    assert "disk is full" in refused["detail"]
    assert client.get("/health").expect(200)["status"] == "failing"

    fill.unlink()
    eventually(lambda: client.get("/health").json["status"] == "ok", "the server recovers")
    accepted.append(client.submit("after", workload=NOOP))
    assert {client.settled(task)["state"] for task in accepted} == {"succeeded"}
    assert client.post("/v1/ledger/verification").expect(200)["ok"]
    assert server.stop() == 0


def test_a_disk_that_is_full_at_the_end_leaves_a_clear_word_and_a_sound_record(
    make_server: MakeServer, small_disk: Path
) -> None:
    server = make_server(data_dir=small_disk / "data", storage__patience_s=1).start()
    accepted = [server.client.submit(workload=NOOP)]
    fill_up(small_disk / "fill")
    answer = server.client.post("/v1/tasks", {"description": "x" * 90_000, "workload": NOOP})
    accepted += [answer.json] if answer.status == 201 else []

    code = server.stop()

    said = server.log.read_text() if server.log.exists() else ""
    assert "Traceback" not in said
    assert code in (0, 1)
    (small_disk / "fill").unlink()
    server.start()
    assert [server.client.settled(task)["state"] for task in accepted] == ["succeeded"] * len(accepted)
    assert server.client.post("/v1/ledger/verification").expect(200)["ok"]


def test_a_task_whose_workload_was_taken_out_meanwhile_fails_alone(make_server: MakeServer) -> None:
    server = make_server(retry__first_delay_s=0.01, retry__max_delay_s=0.01).start()
    task = server.client.command("sleep", "60")
    server.kill()
    with closing(sqlite3.connect(server.data_dir / "conductor.db")) as database, database:
        database.execute("""UPDATE tasks SET submission = replace(submission, '"command"', '"gone"')""")

    server.start()

    assert "no workload kind 'gone'" in server.client.settled(task)["outcome"]["message"]
    assert server.client.settled(server.client.submit(workload=NOOP))["state"] == "succeeded"


def filled_ledger(server: Server) -> Path:
    """Some entries in several blocks; the server is stopped."""
    server.start()
    for _ in range(3):
        server.client.settled(server.client.submit(workload=NOOP))
        server.client.get("/v1/tasks/last/receipt").expect(200)
    assert server.stop() == 0
    return server.data_dir / "ledger.jsonl"


def verdict(data_dir: Path) -> tuple[int, str]:
    """Exit code and words of `conductor ledger verify`."""
    ended = subprocess.run(
        [sys.executable, "-m", "conductor.faces.cli.main", "--data-dir", str(data_dir), "ledger", "verify"],
        capture_output=True,
        text=True,
        env=environment(data_dir.parent),
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_a_changed_byte_in_the_ledger_is_found_and_located(make_server: MakeServer) -> None:
    server = make_server()
    ledger = filled_ledger(server)
    lines = ledger.read_bytes().splitlines(keepends=True)
    assert verdict(server.data_dir)[0] == 0
    target = 1  # the second line
    damage(ledger, len(lines[0]) + len(lines[target]) // 2, b"#")

    code, said = verdict(server.data_dir)

    assert code != 0
    assert "line 2" in said


def test_a_changed_byte_in_the_last_block_stops_the_start_and_says_where(make_server: MakeServer) -> None:
    server = make_server()
    ledger = filled_ledger(server)
    damage(ledger, ledger.stat().st_size - 30, b"#")

    code, said = server.refusal()

    assert code == 1
    assert "ledger" in said
    assert "Traceback" not in said


def test_an_unfinished_end_of_the_ledger_is_set_aside_and_told(make_server: MakeServer) -> None:
    server = make_server()
    ledger = filled_ledger(server)
    with ledger.open("ab") as file:
        file.write(ledger.read_bytes()[:40])  # the beginning of an entry, as a crash would leave it

    server.start()

    assert "ledger_end_set_aside" in server.log.read_text()
    assert server.client.post("/v1/ledger/verification").expect(200)["ok"]
    assert list(server.data_dir.glob("ledger.torn-*"))


@pytest.mark.parametrize("spoil", ["cut", "missing"])
def test_a_ledger_that_lost_sealed_entries_stops_the_start(make_server: MakeServer, spoil: str) -> None:
    server = make_server()
    ledger = filled_ledger(server)
    if spoil == "missing":
        ledger.unlink()
    else:
        os.truncate(ledger, ledger.stat().st_size // 2)

    code, said = server.refusal()

    assert code == 1
    assert "backup" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("script", "limits", "ending"),
    [
        ("trap '' TERM; sleep 600 & sleep 600", {"wall_time_s": 0.5}, "wall_time"),
        ("x=x; while :; do x=$x$x; done", {"memory_bytes": 64 * 2**20, "wall_time_s": 30}, "out_of_memory"),
        ("while :; do :; done", {"cpu_time_s": 1, "wall_time_s": 30}, "cpu_time"),
        ("head -c 1000000000 /dev/zero", {"output_bytes": 100_000, "wall_time_s": 30}, "output_limit"),
        ("kill -SEGV $$", {}, "signal"),
        ("exit 7", {}, "exit_code"),
    ],
    ids=["deaf", "memory", "processor", "output", "signal", "code"],
)
def test_a_hostile_task_is_ended_and_told_apart_while_the_server_goes_on(
    make_server: MakeServer, server: Server, tmp_path: Path, script: str, limits: dict[str, Any], ending: str
) -> None:
    marker = f"hostile-{tmp_path.name}"
    client = server.client

    task = client.command("sh", "-c", f"{script} # {marker}", limits=limits, max_retries=0)

    assert client.settled(task)["outcome"]["ending"] == ending
    assert processes_with(marker) == []
    assert client.get("/health").expect(200)["status"] == "ok"


def test_a_task_that_forks_without_end_stays_within_its_slice(server: Server, tmp_path: Path) -> None:
    marker = f"forks-{tmp_path.name}"
    client = server.client

    task = client.command(
        "sh",
        "-c",
        f"while :; do sh -c 'sleep 60 # {marker}' & done # {marker}",
        limits={"processes": 20, "wall_time_s": 1.5},
        max_retries=0,
    )

    assert client.settled(task)["state"] in ("failed", "dead")
    assert processes_with(marker) == []
    assert client.get("/health").expect(200)["status"] == "ok"
