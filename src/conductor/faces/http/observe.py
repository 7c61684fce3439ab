"""Routes that look at the whole: nodes, decisions, ledger, settings, health, metrics."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from conductor.app.conductor import Conductor
from conductor.domain.decision import Decision
from conductor.domain.json import JsonObject
from conductor.domain.task import TaskId
from conductor.faces.http.contract import PROBLEMS
from conductor.faces.http.documents import SubmissionIn


class MindOut(BaseModel):
    """The language model that was chosen, and the one that takes part in decisions.

    `configured` is `mind.model` as set now, `in_effect` as it was when the server started; `state` is off, loading, ready,
    fails or withheld; `running` names the model that takes part and is empty where none does; `sha256` is that of its
    weights, empty where nobody can check them; `why` says what keeps the configured model away, `remedy` what to do.
    """

    configured: str
    in_effect: str
    state: str
    running: str
    sha256: str
    why: str
    remedy: str


class Health(BaseModel):
    """Whether the server does its work; `problems` is empty when all is well."""

    status: str
    version: str
    uptime_s: float
    tasks_waiting: int
    tasks_running: int
    problems: list[str]
    mind: MindOut


class SettingIn(BaseModel):
    """A new value for one setting."""

    value: Any


def routes(conductor: Conductor) -> APIRouter:
    """Everything but `/v1/tasks`."""
    router = APIRouter(responses=PROBLEMS)

    @router.get("/health", tags=["operation"])
    async def health() -> Health:
        """Whether the server works."""
        return Health(**conductor.health())

    @router.get("/metrics", tags=["operation"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus metrics."""
        text, media_type = conductor.metrics.render()
        return Response(text, media_type=media_type)

    @router.post("/v1/decisions", tags=["decisions"], status_code=201)
    async def decide(
        body: SubmissionIn,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
    ) -> Decision:
        """Decide without running, whatever workload is named; the decision is recorded like any other."""
        submission = replace(body.to_domain(conductor.default_limits(), idempotency_key), workload=None)
        task = await conductor.tasks.submit(submission)
        return await conductor.decision_of(task.task_id)

    @router.get("/v1/decisions/{task_id}", tags=["decisions"])
    async def decision(task_id: str) -> Decision:
        """The decision about one task."""
        return await conductor.decision_of(TaskId(task_id))

    @router.get("/v1/mind/report", tags=["decisions"])
    async def mind_report(since_s: Annotated[float | None, Query(gt=0, le=1e10)] = None) -> JsonObject:
        """How good past decisions were: calibration, accuracy and regret, over all time or the last seconds."""
        return await conductor.mind_history.report(since_s)

    @router.get("/v1/nodes", tags=["nodes"])
    async def nodes() -> dict[str, Any]:
        """The machines of the fleet with devices, latest reading and performance score."""
        return {"nodes": conductor.nodes()}

    @router.get("/v1/nodes/{node_id}", tags=["nodes"])
    async def node(node_id: str) -> dict[str, Any]:
        """One machine."""
        return conductor.node(node_id)

    @router.get("/v1/ledger", tags=["ledger"])
    async def ledger() -> dict[str, Any]:
        """The head of the ledger: size, root, signature, public key."""
        return conductor.ledger.head()

    @router.get("/v1/ledger/entries", tags=["ledger"])
    async def entries(
        start: Annotated[int | None, Query(ge=0, le=2**53)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> dict[str, Any]:
        """Sealed entries from `start` on; the latest ones by default."""
        return {"entries": await conductor.ledger.entries(start, limit)}

    @router.get("/v1/ledger/proofs/inclusion", tags=["ledger"])
    async def inclusion(index: Annotated[int, Query(ge=0, le=2**53)]) -> JsonObject:
        """A receipt for one entry."""
        return await conductor.ledger.receipt(index)

    @router.get("/v1/ledger/proofs/consistency", tags=["ledger"])
    async def consistency(
        old_size: Annotated[int, Query(ge=0, le=2**53)], new_size: Annotated[int | None, Query(ge=0, le=2**53)] = None
    ) -> JsonObject:
        """A proof that the ledger only grew between two sizes."""
        return await conductor.ledger.consistency(old_size, new_size)

    @router.post("/v1/ledger/verification", tags=["ledger"])
    async def verification() -> JsonObject:
        """Verify every byte of the ledger file now."""
        return await conductor.ledger.verify()

    @router.post("/v1/logins", tags=["operation"], status_code=201)
    async def login(request: Request) -> dict[str, Any]:
        """An address that logs a browser in once, within ten minutes."""
        token = conductor.access.issue_login()
        query = "" if token is None else f"login?token={token}"
        return {"url": f"{request.base_url}{query}"}

    @router.get("/v1/settings", tags=["settings"])
    async def settings() -> dict[str, Any]:
        """Every setting with its value, where it came from, and what it means; secrets are masked."""
        return {"settings": conductor.configuration.table()}

    @router.put("/v1/settings/{name}", tags=["settings"])
    async def set_one(name: str, body: SettingIn) -> dict[str, Any]:
        """Change one setting; it outlives restarts and wins over every other source."""
        conductor.access.check_may_change_settings()
        return {"changes": await conductor.configuration.change(name, body.value)}

    @router.delete("/v1/settings/{name}", tags=["settings"])
    async def unset_one(name: str) -> dict[str, Any]:
        """Forget a changed setting, so that environment, file or default counts again."""
        conductor.access.check_may_change_settings()
        return {"changes": await conductor.configuration.forget(name)}

    return router
