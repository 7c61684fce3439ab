"""Files sent over HTTP: described by content, attached to tasks of their sender, found by the command, bounded."""

import hashlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.attachments.making import image_file, photo_pixels, tone, wav_file
from tests.server.conftest import MakeServer
from tests.server.serving import Client, Server

from conductor import Conductor
from conductor.domain.errors import InvalidInput
from conductor.domain.task import TaskId
from conductor.domain.workload import Workload

QUIET = {"log.level": "error", "mind.model": "none"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Without a language model: what is attached is the encoder's matter."""
    server = Server(tmp_path_factory.mktemp("shared") / "data", settings={"mind__model": "none"}).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return server.client


def send(client: Client, content: bytes, query: str = "", media_type: str = "application/octet-stream") -> dict:
    sent = client.request(
        "POST", f"/v1/attachments?{query}", body=content, headers={"Content-Type": media_type}
    ).expect(201)
    assert sent["attachment_id"] == hashlib.sha256(content).hexdigest()
    return sent


def test_a_command_finds_what_was_attached_and_leaves_no_copy(server: Server, client: Client, tmp_path: Path) -> None:
    photo = image_file(tmp_path / "a.jpg", photo_pixels()).read_bytes()
    sent = send(client, photo, "name=holiday%20photo.jpg", "image/png")
    task = client.settled(
        client.command(
            "sh", "-c", 'sha256sum attachments/*; ls "$CONDUCTOR_ATTACHMENTS"', attachments=[sent["attachment_id"]]
        )
    )

    assert sent["notes"] == ["it was sent as image/png, but its content is image/jpeg"]
    assert task["state"] == "succeeded", task
    digest, name, again = task["outcome"]["stdout_tail"].replace("  ", "\n").splitlines()
    assert (digest, name, again) == (sent["attachment_id"], "attachments/holiday photo.jpg", "holiday photo.jpg")
    assert task["attachments"] == [sent]
    assert not (server.data_dir / "tasks" / task["task_id"] / "attachments").exists()
    assert "320×240" in task["decision"]["reasoning"]
    explained = client.get(f"/v1/tasks/{task['task_id']}/explanation").expect(200)
    assert "holiday photo.jpg: photo, image/jpeg" in explained["text"]
    assert client.get(f"/v1/attachments/{sent['attachment_id']}").expect(200) == sent


def test_a_task_cannot_change_what_is_stored(server: Server, client: Client) -> None:
    sent = send(client, b"as it was", "name=a.txt")
    client.settled(
        client.command(
            "sh",
            "-c",
            "chmod +w attachments/a.txt; echo changed > attachments/a.txt",
            attachments=[sent["attachment_id"]],
        )
    )
    task = client.settled(client.command("cat", "attachments/a.txt", attachments=[sent["attachment_id"]]))

    assert task["outcome"]["stdout_tail"] == "as it was"


def test_a_python_callable_is_told_where_they_are(client: Client, tmp_path: Path) -> None:
    (tmp_path / "reading.py").write_text(
        "import os, pathlib\n"
        "def read():\n    return (pathlib.Path(os.environ['CONDUCTOR_ATTACHMENTS']) / 'a.txt').read_text()\n"
    )
    sent = send(client, b"read me", "name=a.txt")
    workload = {"kind": "python", "spec": {"callable": "reading:read", "directory": str(tmp_path)}}
    task = client.settled(client.submit("read it", workload=workload, attachments=[sent["attachment_id"]]))

    assert task["outcome"]["result"] == "read me"


def test_what_another_user_sent_does_not_exist(client: Client) -> None:
    sent = send(client, b"of ana", "user_id=ana")
    document = {"description": "read it", "attachments": [sent["attachment_id"]]}

    for answer in (
        client.post("/v1/tasks", document | {"user_id": "ben"}),
        client.get(f"/v1/attachments/{sent['attachment_id']}?user_id=ben"),
        client.post("/v1/tasks", document | {"attachments": ["0" * 64]}),
        client.post("/v1/tasks", document | {"attachments": ["../../key"]}),
    ):
        problem = answer.expect(404)
        assert (problem["code"], problem["field"]) == ("not_found", "attachments")
    assert client.post("/v1/tasks", document | {"user_id": "ana"}).expect(201)["user_id"] == "ana"


@pytest.mark.parametrize("name", ["..%2Fkey", "%2Fetc%2Fpasswd", ".hidden", "a%0Ab", "a%5Cb"])
def test_names_that_are_paths_are_refused(client: Client, name: str) -> None:
    problem = client.request("POST", f"/v1/attachments?name={name}", body=b"x").expect(422)
    assert problem["field"] == "name"


def test_what_cannot_be_read_is_taken_and_told(client: Client) -> None:
    empty = client.request("POST", "/v1/attachments", body=b"").expect(422)
    truncated = send(client, b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00\x00\x00\x01\x00", "name=a.png")
    text = send(client, b"no picture", "name=photo.jpg", "image/jpeg")

    form = client.request("POST", "/v1/attachments", body=b"--x", headers={"Content-Type": "multipart/form-data"})

    assert "--data-binary" in form.expect(422)["detail"]
    assert "empty" in empty["detail"]
    assert truncated["sizes"] == {"pixels": 65_536.0}
    assert "was not measured" in truncated["notes"][0]
    assert (text["media_type"], text["medium"]) == ("text/plain", "other")


def test_a_file_over_the_limit_is_refused_before_it_is_read(make_server: MakeServer) -> None:
    server = make_server(attachments__max_bytes=2000, mind__model="none").start()
    answer = server.client.request("POST", "/v1/attachments", body=bytes(2001)).expect(413)
    assert answer["code"] == "input.too_large"
    assert "raise the setting attachments.max_bytes" in answer["detail"]
    assert server.client.request("POST", "/v1/attachments", body=bytes(2000)).expect(201)["size_bytes"] == 2000
    # Announces more than it may, and sends nothing: the answer does not wait for the rest.
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        head = f"POST /v1/attachments HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 99999999\r\n\r\n"
        connection.sendall(head.encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 413


def test_an_upload_that_breaks_off_leaves_nothing(make_server: MakeServer) -> None:
    server = make_server(mind__model="none").start()
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        head = (
            f"POST /v1/attachments HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {server.client.key}\r\n"
            "Content-Length: 100000\r\n\r\n"
        )
        connection.sendall(head.encode() + bytes(5000))
    server.client.get("/v1/health")
    assert server.stop() == 0
    assert not [path for path in (server.data_dir / "attachments").rglob("*") if path.is_file()]


def test_attachments_survive_a_restart(make_server: MakeServer) -> None:
    server = make_server(mind__model="none").start()
    sent = send(server.client, b"still here", "name=a.txt")
    server.kill()
    server.start()
    task = server.client.settled(server.client.command("cat", "attachments/a.txt", attachments=[sent["attachment_id"]]))
    assert task["outcome"]["stdout_tail"] == "still here"
    repeated = server.client.post(f"/v1/tasks/{task['task_id']}/repeat").expect(201)
    assert repeated["attachments"] == [sent]


@pytest.mark.anyio
async def test_the_python_api_takes_paths(tmp_path: Path) -> None:
    sound = wav_file(tmp_path / "talk.wav", tone(3.0))
    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        decision = await conductor.conduct_task(
            "clean this up",
            workload=Workload(kind="command", spec={"command": ["ls", "attachments"]}),
            attachments=[sound],
        )
        task = await conductor.tasks.wait(TaskId(decision.task_id), timeout_s=60)
        with pytest.raises(InvalidInput, match="no file"):
            await conductor.conduct_task("a", attachments=[tmp_path / "none.jpg"])
        with pytest.raises(InvalidInput, match="no file"):
            await conductor.conduct_task("a", attachments=[tmp_path])

    assert decision.device == "DSP"
    assert "attached audio recording (3.0 s)" in decision.reasoning
    assert task.outcome is not None
    assert task.outcome.stdout_tail == "talk.wav\n"


@pytest.mark.anyio
async def test_what_nobody_needs_is_removed_after_its_time(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    sleeping = Workload(kind="command", spec={"command": ["sleep", "30"]})
    settings = QUIET | {"attachments.kept_s": 0.001, "executor.drain_s": 0}
    async with Conductor.open(tmp_path / "data", settings=settings) as conductor:
        decision = await conductor.conduct_task("read", workload=sleeping, attachments=[tmp_path / "a.txt"])
        while_open = await conductor.attachments.sweep()
        await conductor.tasks.cancel(TaskId(decision.task_id), reason="enough")
        afterwards = await conductor.attachments.sweep()

    assert (while_open, afterwards) == (0, 1)
