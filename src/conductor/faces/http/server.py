"""The HTTP application: routes, gate, problems, traces and metrics around one opened `Conductor`."""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from conductor import __version__
from conductor.app.conductor import Conductor
from conductor.app.tracing import traced
from conductor.faces.http import attachments, contract, mind, observe, problems, talk, tasks
from conductor.faces.http.gate import Gate

#: Descriptions are at most 100,000 characters; a workload may carry texts to embed.
MOST_BODY_BYTES: Final = 8 * 1024 * 1024

log = structlog.get_logger(__name__)


def create_app(conductor: Conductor, *, hosts: frozenset[str]) -> FastAPI:
    """The application; `hosts` are the names it answers for besides those in the settings."""
    app = FastAPI(
        title="Conductor",
        version=__version__,
        description="Tell your machines in plain words what to do; see where it runs, why, and prove it afterwards.",
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    app.include_router(tasks.routes(conductor))
    app.include_router(attachments.routes(conductor))
    app.include_router(observe.routes(conductor))
    app.include_router(talk.routes(conductor))
    app.include_router(mind.routes(conductor))
    contract.install(app)

    page = (files("conductor.faces.http") / "page.html").read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def overview() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-store"})

    gate = Gate(conductor.access, hosts=lambda: hosts | conductor.allowed_hosts(), origins=conductor.allowed_origins)

    @app.middleware("http")
    async def around(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        return await _around(conductor, gate, request, proceed)

    return app


#: The page is one file of our own; nothing else may run in it, and nobody may frame it.
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


async def _around(
    conductor: Conductor, gate: Gate, request: Request, proceed: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Trace, bound, check, answer, count and log one request."""
    started_s = time.perf_counter()
    with traced(request.headers.get("traceparent")) as traceparent:
        response = _too_large(request, conductor.attachments.most_bytes) or await problems.guarded(
            request, lambda r: gate.check(r, proceed)
        )
        response.headers["traceparent"] = traceparent
        response.headers["X-Content-Type-Options"] = "nosniff"
        taken_s = time.perf_counter() - started_s
        route = getattr(request.scope.get("route"), "path", "unmatched")
        conductor.metrics.request(request.method, route, response.status_code, taken_s)
        log.info(
            "request",
            method=request.method,
            path=request.url.path,
            status=response.status_code,
            duration_ms=round(taken_s * 1000, 1),
        )
    return response


def _too_large(request: Request, most_attached_bytes: int) -> Response | None:
    if "transfer-encoding" in request.headers:
        return problems.problem(
            HTTPStatus.LENGTH_REQUIRED, "announce the length of the body with Content-Length", code="input.length"
        )
    most_bytes = most_attached_bytes if request.url.path == attachments.PATH else MOST_BODY_BYTES
    if int(request.headers.get("content-length", "0")) <= most_bytes:  # the parser let only digits pass
        return None
    return problems.problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"a request body may have {most_bytes:,} bytes here; put large data into files on the server's machine",
        code="input.too_large",
    )
