"""What surrounds every request, as plain ASGI: trace, bound, gate, last net, headers, metrics and log.

Nothing is buffered: what the application sends goes out as it is sent, only the head is completed on its way. A request is
counted and logged when its head is ready, before it is sent: a stream that lasts for hours is in the log when it begins, and
whoever has an answer finds it there. A request that nobody answers, because its client left first, is not counted; one that
is relayed well is logged with the other calls to models instead.
"""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conductor.app.conductor import Conductor
from conductor.app.tracing import traced
from conductor.domain.errors import ConductorError
from conductor.faces.http import attachments, refusals
from conductor.faces.http.gate import Gate
from conductor.faces.http.openai import files

#: Descriptions are at most 100,000 characters; a workload may carry texts to embed.
MOST_BODY_BYTES: Final = 8 * 1024 * 1024
#: What to do about a body that is larger. A task names files; what is said to a model must be in the request.
_SMALLER_TASK: Final = "put large data into files on the server's machine"
_SMALLER: Final[Mapping[str, str]] = {
    "/v1/chat/completions": "send pictures smaller, or as http(s) addresses that whoever runs the model fetches, and long "
    "texts in parts",
    "/v1/completions": "send long texts in parts",
    "/v1/embeddings": "send the texts in several requests",
    "/generate": "send long texts in parts",
    "/generate/stream": "send long texts in parts",
}
#: What a form adds to the file in it: boundaries, heads of parts, the other fields.
_AROUND_A_FILE_BYTES: Final = 64 * 1024
#: Keys of the scope. Who calls, for limits and accounts; the trace to go on with; the route's pattern, where the
#: application's router does not tell it.
CALLER: Final = "conductor.caller"
TRACEPARENT: Final = "conductor.traceparent"
ROUTE: Final = "conductor.route"

log = structlog.get_logger(__name__)


class Around:
    """ASGI middleware around the application."""

    def __init__(self, app: ASGIApp, *, conductor: Conductor, gate: Gate) -> None:
        self._app, self._conductor, self._gate = app, conductor, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = first_headers(scope)
        with traced(headers.get("traceparent")) as traceparent:
            scope[TRACEPARENT] = traceparent
            answer = _Answer(self._conductor, scope, send, traceparent)
            try:
                await self._let_in(scope, headers, receive, answer)
            except ConductorError as error:
                await answer.instead(refusals.of_error(scope["path"], error), receive)
            except Exception:  # whatever a request did, the server goes on
                log.exception("request_failed", method=scope["method"], path=scope["path"])
                await answer.instead(refusals.unforeseen(scope["path"]), receive)

    async def _let_in(self, scope: Scope, headers: dict[str, str], receive: Receive, answer: "_Answer") -> None:
        refused = self._too_large(scope["path"], headers)
        if refused is None:
            admission = self._gate.check(scope, headers)
            refused, scope[CALLER] = admission.answer, admission.caller
            answer.more_headers.extend(admission.headers)
        await (self._app if refused is None else refused)(scope, receive, answer.send)

    def _too_large(self, path: str, headers: dict[str, str]) -> Response | None:
        if "transfer-encoding" in headers:
            return refusals.refused(
                path,
                HTTPStatus.LENGTH_REQUIRED,
                "announce the length of the body with Content-Length",
                code="input.length",
            )
        most_bytes, remedy = MOST_BODY_BYTES, _SMALLER.get(path, _SMALLER_TASK)
        if path == attachments.PATH:
            most_bytes = self._conductor.attachments.most_bytes
            remedy = "make the file smaller, name it in the command instead, or raise the setting attachments.max_bytes"
        elif path == files.PATH:
            most_bytes, remedy = self._conductor.files.largest_bytes + _AROUND_A_FILE_BYTES, "split the file"
        if int(headers.get("content-length", "0")) <= most_bytes:  # the parser let only digits pass
            return None
        return refusals.refused(
            path,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"a request body may have {most_bytes:,} bytes here; {remedy}",
            code="input.too_large",
        )


class _Answer:
    """Completes the head of one answer, and counts and logs it."""

    def __init__(self, conductor: Conductor, scope: Scope, send: Send, traceparent: str) -> None:
        self._conductor, self._scope, self._send = conductor, scope, send
        self._started_s = time.perf_counter()
        self._begun = False
        self.more_headers = [(b"traceparent", traceparent.encode()), (b"x-content-type-options", b"nosniff")]

    async def send(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self._note(message["status"])
            ours = [name for name, _ in self.more_headers]
            kept = [header for header in message.get("headers", ()) if header[0] not in ours]
            message = {**message, "headers": [*kept, *self.more_headers]}
        await self._send(message)

    async def instead(self, response: Response, receive: Receive) -> None:
        """Answer with this, unless the answer has begun: then it stays half, and the server breaks the connection."""
        if not self._begun:
            await response(self._scope, receive, self.send)

    def _note(self, status: int) -> None:
        """Count and log."""
        self._begun = True
        taken_s = time.perf_counter() - self._started_s
        scope = self._scope
        relayed = scope.get(ROUTE)
        route = str(relayed or getattr(scope.get("route"), "path", "unmatched"))
        self._conductor.metrics.request(scope["method"], route, status, taken_s)
        if relayed and status < HTTPStatus.BAD_REQUEST:
            return  # told as a call, in groups and when it is over: a line here would cost a tenth of what relaying costs
        log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            duration_ms=round(taken_s * 1000, 1),
        )


def first_headers(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name; the first of several counts."""
    raw: list[tuple[bytes, bytes]] = scope["headers"]
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(raw)}
