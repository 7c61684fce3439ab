"""A real server in a process of its own, and a client without opinions: what the tests of this folder are made of."""

import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

#: Generous, because the machine may be busy with everything else; nothing waits so long when all is well.
PATIENCE_S = 60.0
COMMAND = [sys.executable, "-m", "conductor.faces.http"]


def environment(home: Path, **settings: object) -> dict[str, str]:
    """A server's environment: none of ours, and settings as `queue__depth=5`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CONDUCTOR_", "XDG_"))}
    given = {f"CONDUCTOR_{name.upper()}": str(value) for name, value in settings.items()}
    return ours | {"HOME": str(home)} | given


def eventually(holds: Callable[[], Any], what: str, *, within_s: float = PATIENCE_S) -> Any:
    """Ask until the answer is true; for what happens in other processes, which tell nobody."""
    until_s = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < until_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def expect(self, status: int) -> Any:
        """The document, if the status is this one; a problem document where an error is expected."""
        assert self.status == status, f"{self.status} instead of {status}: {self.body[:600]!r}"
        wanted = "application/problem+json" if status >= 400 else "application/json"
        assert self.headers["content-type"] == wanted
        return self.json


@dataclass(frozen=True)
class Client:
    """One connection per request; `key` None sends none."""

    url: str
    key: str | None

    def request(
        self, method: str, path: str, document: Any = None, *, body: bytes | None = None, headers: Any = ()
    ) -> Answer:
        with self._asked(method, path, document, body, dict(headers)) as response:
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, document: Any = None, **options: Any) -> Answer:
        return self.request("POST", path, document, **options)

    def submit(self, description: str = "say that all is well", **fields: Any) -> Any:
        """A task that must be accepted."""
        return self.post("/v1/tasks", {"description": description} | fields).expect(201)

    def command(self, *argv: str, limits: Any = None, **fields: Any) -> Any:
        workload = {"kind": "command", "spec": {"command": list(argv)}, "limits": limits or {}}
        return self.submit(f"run {argv[0]}", workload=workload, **fields)

    def settled(self, task: Any) -> Any:
        """The task once it is settled."""
        return eventually(lambda: self._if_settled(task["task_id"]), f"{task['task_id']} is settled")

    def _if_settled(self, task_id: str) -> Any:
        task = self.get(f"/v1/tasks/{task_id}").expect(200)
        return task if task["settled"] else None

    @contextlib.contextmanager
    def events(self, task_id: str) -> Iterator[Iterator[tuple[str, Any]]]:
        """The stream of a task's events, as (name, data)."""
        path = f"/v1/tasks/{task_id}/events"
        with self._asked("GET", path, None, None, {"Accept": "text/event-stream"}) as response:
            assert response.status == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield _events(response)

    @contextlib.contextmanager
    def _asked(
        self, method: str, path: str, document: Any, body: bytes | None, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)
        if self.key is not None:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        if document is not None:
            body = json.dumps(document).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, quote(path, safe="/?&=%"), body=body, headers=headers)
            yield connection.getresponse()
        finally:
            connection.close()


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    name = ""
    for raw in response:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


@dataclass
class Server:
    """A server on a data folder; may be started again and again. What it logs is in `log`."""

    data_dir: Path
    options: tuple[str, ...] = ()
    settings: dict[str, object] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    url: str = ""
    login_url: str = ""
    command: Sequence[str] = tuple(COMMAND)

    @property
    def log(self) -> Path:
        return self.data_dir.with_suffix(".log")

    @property
    def client(self) -> Client:
        return Client(self.url, (self.data_dir / "key").read_text().strip())

    @property
    def stranger(self) -> Client:
        """Somebody who has no key."""
        return Client(self.url, None)

    def begin(self) -> Self:
        """Start the process; it does not listen yet."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "--data-dir", str(self.data_dir), "--port", "0", *self.options],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(self.data_dir.parent, **self.settings),
                cwd=self.data_dir.parent,
            )
        return self

    def await_ready(self) -> Self:
        process = self.process
        assert process is not None
        assert process.stdout is not None
        until_s, said = time.monotonic() + PATIENCE_S, b""
        while said.count(b"\n") < 1 + ("--no-key" not in self.options):
            assert select.select([process.stdout], [], [], max(0.0, until_s - time.monotonic()))[0], (
                self.log.read_text()
            )
            piece = os.read(process.stdout.fileno(), 4096)
            assert piece, f"the server ended with {process.wait()}: {self.log.read_text()[-3000:]}"
            said += piece
        words = said.decode().split()
        self.url = words[2]
        self.login_url = words[-1]
        return self

    def start(self) -> Self:
        return self.begin().await_ready()

    def refusal(self) -> tuple[int, str]:
        """Exit code and standard error of a start that must fail."""
        ended = subprocess.run(
            [*self.command, "--data-dir", str(self.data_dir), "--port", "0", *self.options],
            capture_output=True,
            env=environment(self.data_dir.parent, **self.settings),
            cwd=self.data_dir.parent,
            timeout=PATIENCE_S,
        )
        return ended.returncode, ended.stderr.decode()

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process = self.process
        if process is None:
            return 0
        assert process.stdout is not None
        process.send_signal(number)
        code = process.wait(PATIENCE_S)  # one that does not end stays ours, to be killed at the end of the test
        process.stdout.close()
        self.process = None
        return code


def processes_with(marker: str) -> list[int]:
    """Processes that live (are no zombies) and have this text in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile
            if marker.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found
