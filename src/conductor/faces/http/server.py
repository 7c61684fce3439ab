"""The HTTP application: routes, gate, problems, traces and metrics around one opened `Conductor`."""

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from conductor import __version__
from conductor.app.conductor import Conductor
from conductor.app.serving.gateway import Gateway
from conductor.faces.http import attachments, contract, generate, mind, observe, pages, problems, talk, tasks
from conductor.faces.http.around import Around
from conductor.faces.http.gate import Gate
from conductor.faces.http.openai import routes as openai
from conductor.faces.http.relay_routes import Relaying


class Application(FastAPI):
    """FastAPI with `Around` as its outermost layer, so that what is relayed passes through none of FastAPI's own."""

    _outermost: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await (self._outermost or super().__call__)(scope, receive, send)

    def surround(self, conductor: Conductor, gate: Gate, gateway: Gateway) -> None:
        """Put the gateway's routes before all others, and the gate before everything."""
        relaying = Relaying(gateway, otherwise=super().__call__)
        self._outermost = Around(relaying, conductor=conductor, gate=gate)


def create_app(
    conductor: Conductor, *, hosts: frozenset[str], beside: Mapping[str, ASGIApp] | None = None
) -> Application:
    """The application.

    Args:
        hosts: names it answers for besides those in the settings.
        beside: applications of other faces behind the same gate, by path.
    """
    app = Application(
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
    app.include_router(generate.routes(conductor.serving, conductor.gateway))
    for router in openai.routes(conductor.serving, conductor.files, conductor.batches):
        app.include_router(router)
    app.include_router(pages.routes())
    contract.install(app)
    for path, other in (beside or {}).items():
        app.router.routes.insert(0, Route(path, other))

    gate = Gate(conductor.access, hosts=lambda: hosts | conductor.allowed_hosts(), origins=conductor.allowed_origins)

    app.surround(conductor, gate, conductor.gateway)
    return app
