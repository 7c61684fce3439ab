"""Who gets in: nobody without the key, no page of a foreign site, no foreign host name, and each login once."""

import os
import subprocess
import sys
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

import pytest
from tests.server.conftest import MakeServer
from tests.server.serving import Answer, Client, Server, environment

TASK = {"description": "say hello", "workload": {"kind": "noop", "spec": {}}}
EVERYTHING = (
    "/",
    "/health",
    "/metrics",
    "/openapi.json",
    "/v1/tasks",
    "/v1/tasks/last/events",
    "/v1/tasks/last/output/stdout",
    "/v1/nodes",
    "/v1/ledger",
    "/v1/settings",
    "/nothing/here",
)


@pytest.mark.parametrize("path", EVERYTHING)
def test_without_the_key_nothing_is_told(server: Server, path: str) -> None:
    answer = server.stranger.get(path)

    assert answer.expect(401)["code"] == "access.key"
    assert answer.headers["www-authenticate"] == 'Bearer realm="conductor"'


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ck_wrong", "Basic {key}", "{key}", "Bearer {key}x", "Bearer \xff"]
)
def test_what_is_not_the_key_is_refused(server: Server, header: str) -> None:
    sent = header.format(key=server.client.key)

    assert server.stranger.get("/health", headers={"Authorization": sent}).status == 401


def test_the_key_is_readable_by_its_owner_alone(server: Server) -> None:
    assert (server.data_dir / "key").stat().st_mode & 0o777 == 0o600
    assert server.data_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_another_user_can_read_neither_the_key_nor_the_ledger_key(server: Server) -> None:
    for name in ("key", "ledger.key", "conductor.db"):
        tried = subprocess.run(["cat", str(server.data_dir / name)], user=65534, group=65534, capture_output=True)
        assert tried.returncode != 0
        assert b"Permission denied" in tried.stderr


def test_a_foreign_host_name_is_refused_even_with_the_key(client: Client) -> None:
    assert client.get("/health", headers={"Host": "evil.example"}).expect(421)["code"] == "access.host"
    assert client.get("/health", headers={"Host": "localhost:1"}).status == 200
    assert client.get("/health", headers={"Host": "[::1]:8000"}).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1"])
def test_a_page_of_another_origin_is_refused_even_with_the_key(client: Client, origin: str) -> None:
    refused = client.post("/v1/tasks", TASK, headers={"Origin": origin})

    assert refused.expect(403)["code"] == "access.origin"


def test_an_origin_named_in_the_settings_may_call(make_server: MakeServer) -> None:
    server = make_server(server__allowed_origins="https://team.example").start()

    origin = {"Origin": "https://team.example"}
    answer = server.client.get("/health", headers=origin)

    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://team.example")
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = server.stranger.request("OPTIONS", "/v1/tasks", headers=origin | asked)
    assert preflight.status == 204
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    assert server.stranger.post("/v1/tasks", TASK, headers=origin).status == 401
    assert server.client.get("/health", headers={"Origin": "https://team.example.evil"}).status == 403


def test_a_login_opens_one_session_and_only_once(server: Server) -> None:
    first, again = log_in(server), log_in(server, fresh=False)

    assert first.status == 303
    assert again.expect(401)["code"] == "access.login"
    cookie = SimpleCookie(first.headers["set-cookie"])["conductor_session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert server.stranger.get("/health", headers=session(first)).status == 200


def test_a_session_cannot_be_used_from_a_page_of_another_origin(server: Server) -> None:
    cookie = session(log_in(server))

    assert server.stranger.post("/v1/tasks", TASK, headers=cookie).status == 201
    foreign = cookie | {"Origin": "http://127.0.0.1:9"}  # the browser sends cookies to every port
    assert server.stranger.post("/v1/tasks", TASK, headers=foreign).expect(403)["code"] == "access.origin"


@pytest.mark.parametrize(
    "change", [lambda text: text[:-2], lambda text: "s1.9999999999.x." + text[-20:], lambda _: "é"]
)
def test_a_changed_session_is_none(server: Server, change: object) -> None:
    cookie = session(log_in(server))["Cookie"]
    name, _, value = cookie.partition("=")

    assert callable(change)
    assert server.stranger.get("/health", headers={"Cookie": f"{name}={change(value)}"}).status == 401


def test_a_session_ends_with_its_time(make_server: MakeServer) -> None:
    server = make_server(server__session_s=0.001).start()

    assert server.stranger.get("/health", headers=session(log_in(server))).status == 401


def test_a_login_address_is_given_only_to_those_who_have_the_key(server: Server) -> None:
    assert server.stranger.post("/v1/logins").status == 401


def test_a_body_that_is_too_large_or_of_unknown_length_is_refused_unread(client: Client) -> None:
    large = client.post("/v1/tasks", headers={"Content-Length": str(9 * 1024 * 1024)}, body=b"{")
    chunked = client.post("/v1/tasks", headers={"Transfer-Encoding": "chunked"}, body=b"2\r\n{}\r\n0\r\n\r\n")

    assert large.expect(413)["code"] == "input.too_large"
    assert chunked.expect(411)["code"] == "input.length"


@pytest.mark.parametrize("task", ["..", "../../key", "..%2F..%2Fkey", "%2e%2e", "x%00y", "t" * 3000])
def test_a_task_id_is_no_path(client: Client, task: str) -> None:
    for path in (f"/v1/tasks/{task}/output/stdout", f"/v1/tasks/{task}"):
        answer = client.get(path)
        assert answer.status in (404, 405)
        assert client.key is not None
        assert client.key.encode() not in answer.body


@pytest.mark.parametrize("stream", ["tmp", "..%2fstdout", "../../../key", "stdout%00"])
def test_only_the_two_streams_are_given_out(client: Client, stream: str) -> None:
    client.settled(client.command("echo", "hello"))

    assert client.get("/v1/tasks/last/output/stdout").body == b"hello\n"
    assert client.get(f"/v1/tasks/last/output/{stream}").status in (404, 422)


def test_without_a_key_only_loopback_is_served(make_server: MakeServer) -> None:
    code, said = make_server("--no-key", "--host", "0.0.0.0").refusal()

    assert code == 2
    assert "listen on 127.0.0.1 or require the key" in said
    assert "Traceback" not in said


def test_without_a_key_nothing_runs_code_touches_files_or_changes_settings(make_server: MakeServer) -> None:
    server = make_server("--no-key").start()
    anybody = server.stranger

    for kind, spec in (
        ("command", {"command": ["true"]}),
        ("python", {"callable": "platform:node"}),
        ("embed", {"file": "/etc/hostname"}),
        ("embed", {"texts": ["hello"], "output": "out.jsonl"}),
    ):
        refused = anybody.post("/v1/tasks", TASK | {"workload": {"kind": kind, "spec": spec}})
        assert refused.expect(403)["code"] == "access.forbidden"
    assert anybody.request("PUT", "/v1/settings/queue.depth", {"value": 1}).status == 403
    assert anybody.request("DELETE", "/v1/settings/queue.depth").status == 403
    assert anybody.settled(anybody.submit(workload={"kind": "noop", "spec": {}}))["state"] == "succeeded"
    assert anybody.settled(anybody.submit(workload={"kind": "embed", "spec": {"texts": ["a"]}}))["state"] == "succeeded"
    assert anybody.post("/v1/decisions", {"description": "sort a list"}).status == 201
    assert anybody.get("/health", headers={"Host": "evil.example"}).status == 421
    assert anybody.post("/v1/tasks", TASK, headers={"Origin": "https://evil.example"}).status == 403


def test_work_that_was_accepted_with_a_key_cannot_be_repeated_without_one(make_server: MakeServer) -> None:
    server = make_server().start()
    task = server.client.settled(server.client.command("true"))
    server.stop()
    open_server = make_server("--no-key").start()

    assert open_server.stranger.post(f"/v1/tasks/{task['task_id']}/repeat").status == 403


@pytest.mark.parametrize("name", ["key", "ledger.key"])
def test_a_key_file_that_others_can_read_stops_the_start_and_says_what_to_do(
    make_server: MakeServer, name: str
) -> None:
    server = make_server().start()
    server.stop()
    (server.data_dir / name).chmod(0o644)

    code, said = server.refusal()

    assert code != 0
    assert "chmod 600" in said
    assert "Traceback" not in said


def test_the_command_line_reads_no_key_that_others_can_read(make_server: MakeServer) -> None:
    server = make_server().start()
    (server.data_dir / "key").chmod(0o640)

    asked = subprocess.run(
        [sys.executable, "-m", "conductor.faces.cli.main", "--data-dir", str(server.data_dir), "tasks", "list"],
        capture_output=True,
        env=environment(server.data_dir.parent),
    )

    assert asked.returncode != 0
    assert b"chmod 600" in asked.stdout + asked.stderr


def log_in(server: Server, *, fresh: bool = True) -> Answer:
    """Follow a login address: a new one, or the last one again."""
    if fresh:
        server.login_url = server.client.post("/v1/logins").expect(201)["url"]
    parts = urlsplit(server.login_url)
    return server.stranger.get(f"{parts.path}?{parts.query}")


def session(answer: Answer) -> dict[str, str]:
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
