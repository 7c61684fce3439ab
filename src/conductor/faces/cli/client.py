"""Talk to a Conductor server: requests with the key, problems as our own errors, server-sent events as an iterator.

The standard library's HTTP client is used on purpose: it loads in a tenth of the time of the alternatives, and every
command that calls pays for that. `--help` and completion load this module too, so even it is imported at the first call.
"""

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote, urlencode, urlsplit

from conductor.domain.errors import (
    ConductorError,
    Conflict,
    Forbidden,
    InvalidInput,
    LedgerError,
    ModelError,
    NotFound,
    Overloaded,
    StorageError,
    Unauthenticated,
)

if TYPE_CHECKING:
    from http.client import HTTPResponse

_ERRORS: Final[dict[int, type[ConductorError]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: InvalidInput,
    507: StorageError,
}
_CHUNK_BYTES: Final = 64 * 1024


class Unreachable(ConductorError):
    """No server answers where one should be."""

    code = "server.unreachable"


@dataclass(frozen=True, slots=True)
class Client:
    """One server and the key to it; every call opens its own connection."""

    url: str
    key: str | None
    timeout_s: float = 60.0

    def get(self, path: str, **query: Any) -> Any:
        """GET, decoded from JSON; None values of the query are left out."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """POST a JSON body."""
        return self._call("POST", path, body=body, query=query)

    def upload(self, path: str, file: BinaryIO, **query: Any) -> Any:
        """POST a file as it is, in pieces."""
        length = file.seek(0, io.SEEK_END)
        file.seek(0)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        with self._open("POST", path, file, headers, urlencode(query)) as response:
            return json.loads(response.read())

    def put(self, path: str, body: Any) -> Any:
        """PUT a JSON body."""
        return self._call("PUT", path, body=body)

    def delete(self, path: str) -> Any:
        """DELETE."""
        return self._call("DELETE", path)

    def copy(self, path: str, out: BinaryIO) -> None:
        """GET, the bytes as they are, in pieces: outputs of tasks can be large."""
        with self._open("GET", path, None, {}) as response:
            while chunk := response.read(_CHUNK_BYTES):
                out.write(chunk)

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Server-sent events as (name, data) until the server ends the stream."""
        with self._open("GET", path, None, {"Accept": "text/event-stream"}) as response:
            name, data = "message", ""
            for raw in response:
                line = raw.decode("utf-8").rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    data += line[6:]
                elif not line and data:
                    yield name, json.loads(data)
                    name, data = "message", ""

    def _call(self, method: str, path: str, *, body: Any = None, query: dict[str, Any] | None = None) -> Any:
        wanted = {name: value for name, value in (query or {}).items() if value is not None}
        with self._open(method, path, body, {}, urlencode(wanted, doseq=True)) as response:
            content = response.read()
        return json.loads(content) if content else None

    @contextlib.contextmanager
    def _open(
        self, method: str, path: str, body: Any, headers: dict[str, str], query: str = ""
    ) -> Iterator["HTTPResponse"]:
        """The response while it is read; a failing connection is `Unreachable` at whatever point it fails."""
        from http.client import HTTPConnection

        address = urlsplit(self.url)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=self.timeout_s)
        headers = headers | {"Connection": "close"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        content = body
        if body is not None and not isinstance(body, io.BufferedIOBase):
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        target = quote(path) + (f"?{query}" if query else "")  # a task's id is what the user typed
        with contextlib.closing(connection), self._reaching():
            connection.request(method, target, content, headers)
            with connection.getresponse() as response:
                if response.status >= 400:
                    raise _error(response)
                yield response

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        from http.client import HTTPException

        try:
            yield
        except BrokenPipeError:  # our own standard output closed while the response was being copied to it
            raise
        except ConnectionRefusedError as error:
            raise Unreachable(f"no server answers at {self.url}; start one with `conductor serve`") from error
        except TimeoutError as error:
            raise Unreachable(
                f"the server at {self.url} has not answered for {self.timeout_s:.0f} s; `conductor status` tells how it is"
            ) from error
        except (ConnectionError, HTTPException) as error:
            raise Unreachable(
                f"the server at {self.url} ended the connection; accepted tasks are kept, and go on at its next start"
            ) from error


def _error(response: "HTTPResponse") -> ConductorError:
    """The problem document of a response as the error it was made from."""
    content = response.read()
    try:
        problem = json.loads(content)
    except ValueError:
        problem = {"detail": content.decode("utf-8", "replace")[:500], "code": f"http.{response.status}"}
    message, details = problem.get("detail", ""), problem.get("details", {})
    if response.status == 503 and "retry_after_s" in details:
        return Overloaded(message, retry_after_s=float(details["retry_after_s"]), field=problem.get("field"))
    code = problem.get("code", "")
    kind = _kind(response.status, code)
    error = kind(message, field=problem.get("field"), details=details)
    error.code = code
    return error


def _kind(status: int, code: str) -> type[ConductorError]:
    """Statuses that several of our errors share are told apart by the code."""
    if code.startswith("ledger"):
        return LedgerError
    if status == 503 and code.partition(".")[0] == ModelError.code:
        return ModelError
    return _ERRORS.get(status, ConductorError)
