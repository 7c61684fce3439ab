"""Ask every GET route of a server once, by its OpenAPI document, with things that are made for it.

A route counts as served when it answers 200. What has no thing to show yet is given one: a task that ran and was corrected,
an attachment, a file, a batch; a model must stand in the server's `SETTINGS.md`. Not covered: routes that write.
"""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from benchmarks.harness import CannotRun, WrongResult

_SETTLED_WITHIN_S: Final = 30.0
_LINES: Final = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {
    "model": "auto", "messages": [{"role": "user", "content": "hello"}],
}}  # fmt: skip
#: Queries that have no default.
_QUERIES: Final = {"/v1/ledger/proofs/inclusion": "index=0", "/v1/ledger/proofs/consistency": "old_size=1"}
#: One that does not wait for more to happen.
_OPTIONS: Final = {"/v1/tasks/{task_id}/events": "follow=false"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a key, on one connection that is kept."""

    connection: http.client.HTTPConnection
    key: str

    def ask(
        self, method: str, path: str, body: bytes | None = None, media_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body."""
        headers = {"Authorization": f"Bearer {self.key}"} | ({"Content-Type": media_type} if body is not None else {})
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def document(self, method: str, path: str, body: Any = None, media_type: str = "application/json") -> Any:
        """The JSON of an answer that must be a success.

        Raises:
            WrongResult: it is none.
        """
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        status, answer = self.ask(method, path, sent, media_type)
        if status >= 300:
            raise WrongResult(f"{method} {path} answered {status}: {answer[:300]!r}")
        return json.loads(answer)


def statuses(url: str, key: str) -> dict[str, int]:
    """The status of every GET route, `{"/v1/tasks/{task_id}": 200, …}`.

    Raises:
        WrongResult: something that is needed for a route could not be made.
        CannotRun: a task did not end in time.
    """
    with _caller(url, key) as caller:
        paths: Mapping[str, Mapping[str, Any]] = caller.document("GET", "/openapi.json")["paths"]
        made = _made(caller)
        return {path: caller.ask("GET", _filled(path, made))[0] for path in paths if "get" in paths[path]}


def things(url: str, key: str) -> dict[str, str]:
    """An identifier for each parameter of a path, of something that is made for it; errors as `statuses`."""
    with _caller(url, key) as caller:
        return _made(caller)


@contextmanager
def _caller(url: str, key: str) -> Iterator[Caller]:
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)) as connection:
        yield Caller(connection, key)


def _filled(path: str, made: Mapping[str, str]) -> str:
    filled = path
    for name, thing in made.items():
        filled = filled.replace(f"{{{name}}}", quote(thing, safe=""))
    query = _QUERIES.get(path) or _OPTIONS.get(path)
    return f"{filled}?{query}" if query else filled


def _made(caller: Caller) -> dict[str, str]:
    workload = {"kind": "command", "spec": {"command": ["echo", "hello"]}}
    task = caller.document("POST", "/v1/tasks", {"description": "say hello", "workload": workload})
    attached = caller.document("POST", "/v1/attachments?name=note", b"a note\n", "text/plain")
    lines = _form({"purpose": "batch"}, "in.jsonl", json.dumps(_LINES).encode() + b"\n")
    kept = caller.document("POST", "/v1/files", *lines)
    asked = {"input_file_id": kept["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = caller.document("POST", "/v1/batches", asked)
    caller.document("PUT", f"/v1/tasks/{task['task_id']}/correction", {"priority": 2})
    _settle(caller, task["task_id"])
    return {
        "task_id": task["task_id"],
        "stream": "stdout",
        "attachment_id": attached["attachment_id"],
        "node_id": caller.document("GET", "/v1/nodes")["nodes"][0]["node_id"],
        "file_id": kept["id"],
        "batch_id": batch["id"],
        "name": next((row["category"] for row in caller.document("GET", "/models")["models"]), "none"),
    }


def _settle(caller: Caller, task_id: str) -> None:
    """Wait until a task is over and its outcome is sealed, so that there is a receipt."""
    until_s = time.monotonic() + _SETTLED_WITHIN_S
    while caller.ask("GET", f"/v1/tasks/{task_id}/receipt")[0] != 200:
        if time.monotonic() > until_s:
            raise CannotRun(f"task {task_id} has no receipt after {_SETTLED_WITHIN_S:g} s")
        time.sleep(0.01)


def _form(fields: Mapping[str, str], name: str, content: bytes) -> tuple[bytes, str]:
    """A form with a file in it (RFC 7578), and its media type."""
    boundary = "a-boundary-that-is-nowhere-else"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = "".join([*parts, head]).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"
