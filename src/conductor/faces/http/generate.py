"""Routes about generation: have an engine answer, whole or as a stream; which models there are; what was served so far.

Errors are problems as everywhere; once a stream has begun they come as its event `error`. A stream's events are `decision`
(who answers, and why), `piece` (text, as it is written), `answer` (checked, with facts, notes and usage) and `error`.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final

import orjson
import structlog
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.calls import CallDecision
from conductor.app.serving.gateway import Gateway
from conductor.app.serving.open_call import Call, whole
from conductor.app.serving.serve import Serving
from conductor.app.whole_numbers import WHOLE
from conductor.domain.errors import ConductorError, InvalidInput, NotFound
from conductor.domain.generation import Piece
from conductor.domain.model import ModelState, Precision, ServedModel
from conductor.faces.http.any_json import AnyJsonRoute
from conductor.faces.http.contract import PROBLEMS
from conductor.faces.http.presence import GONE, Begun, ClientGone, Stream, while_connected

#: Of `Sampling`, under the same names.
_SAMPLING: Final = ("max_tokens", "temperature", "top_p", "repetition_penalty", "seed")
_AS_STREAM: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/event-stream": {}}}}

log = structlog.get_logger(__name__)


class GenerateIn(BaseModel):
    """What to write, and by whom; what is left out is chosen by Conductor or by the category's engine."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str = Field("", max_length=4_000_000, examples=["Explain quantum computing"])
    category: str | None = Field(
        None, min_length=1, max_length=300, description="what it is for; `auto`, or nothing, lets Conductor choose"
    )
    model: str | None = Field(
        None, min_length=1, max_length=1000, description="a model of the table, in place of a category"
    )
    max_tokens: Annotated[int, Field(ge=1, le=2**31), WHOLE] | None = None
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    repetition_penalty: float | None = Field(None, gt=0, le=10, allow_inf_nan=False)
    seed: Annotated[int, Field(ge=0, lt=2**63), WHOLE] | None = None
    stop: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(default_factory=list, max_length=4)
    stream: bool = Field(False, description="answer as /generate/stream does")
    options: dict[str, Any] = Field(
        default_factory=dict, description="of the category's engine, by name; GET /models lists them"
    )

    @property
    def wanted(self) -> str:
        """Category, model or `auto`.

        Raises:
            InvalidInput: both are named.
        """
        if self.category is not None and self.model is not None:
            raise InvalidInput("category and model exclude each other; name one of them", field="model")
        return self.category or self.model or "auto"

    def said(self) -> dict[str, Any]:
        """What the caller says about sampling."""
        said = {name: value for name in _SAMPLING if (value := getattr(self, name)) is not None}
        return said | ({"stop": tuple(self.stop)} if self.stop else {})


class UsageOut(BaseModel):
    """Tokens; `cached_tokens` of the prompt's were still known from before."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


class GeneratedOut(BaseModel):
    """An answer: for people in `text`, for programs in `facts`; `notes` say what could not be done or checked."""

    call_id: str
    category: str
    model: str
    title: str
    why: str
    text: str
    facts: dict[str, Any]
    notes: list[str]
    finish: str
    usage: UsageOut


class ModelOut(BaseModel):
    """A row of the model table, and what has become of its model.

    `estimated_bytes` is what loading is expected to take, `memory_bytes` what it took. Context, `computed_precision` and
    `notes` (what is otherwise than the row asks for) are of the last time it was loaded. `failing` says how many of its last
    calls failed, whoever asked, where these are too many; it is not `healthy` then.
    """

    category: str
    title: str
    model: str
    purpose: str
    options: list[str]
    precision: Precision
    stay_loaded: bool
    expected_bytes: int | None
    state: ModelState
    since_unix_s: float | None
    reason: str
    backend: str
    device: str
    context_tokens: int | None
    computed_precision: Precision | None
    estimated_bytes: int | None
    memory_bytes: int | None
    load_s: float | None
    healthy: bool | None
    last_used_unix_s: float | None
    generations: int
    errors: int
    last_error: str
    failing: str
    notes: list[str]


class ModelsOut(BaseModel):
    """The model table in force; decisions name its digest."""

    models: list[ModelOut]
    table_digest: str


class ModelChoice(BaseModel):
    """A category or a model of the table."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(min_length=1, max_length=1000)


class Forgotten(BaseModel):
    """Whose kept answers are forgotten: a category or a model of the table; of all models without one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = Field(None, min_length=1, max_length=1000)


class ForgottenOut(BaseModel):
    """How many answers were in memory. What lies on the disk is not given out any more, and is removed behind this."""

    model: str | None
    answers: int


def routes(serving: Serving, gateway: Gateway) -> APIRouter:
    """`/generate`, `/generate/stream`, `/models`, `/stats`."""
    router = APIRouter(tags=["generation"], responses=PROBLEMS, route_class=AnyJsonRoute)

    @router.post("/generate", response_model=GeneratedOut, responses=_AS_STREAM)
    async def generate(body: GenerateIn, request: Request) -> Any:
        """Have a language model write; category and model are chosen where none is named."""
        cache = CacheUse.of(request.headers.get("cache-control", ""))
        call = await _asked(serving, body, cache)
        if body.stream:
            return await _streamed(call, request, cache)
        try:
            answer = await while_connected(request.receive, whole(call))
        except ClientGone:
            return Response(status_code=GONE)
        document = _decision_view(call.decision) | _answer_view(answer)
        return Response(orjson.dumps(document), media_type="application/json", headers=cache.headers())

    @router.post("/generate/stream", response_class=Response, responses=_AS_STREAM)
    async def stream(body: GenerateIn, request: Request) -> Response:
        """The same as server-sent events, piece by piece; closing the connection ends the generation."""
        cache = CacheUse.of(request.headers.get("cache-control", ""))
        return await _streamed(await _asked(serving, body, cache), request, cache)

    @router.get("/models")
    async def models() -> ModelsOut:
        """Which model serves which category, and what has become of it."""
        views = [_model_view(serving, row) for row, _state in serving.models()]
        return ModelsOut(models=views, table_digest=serving.digest)

    @router.get("/models/{name:path}")
    async def model(name: Annotated[str, Path(min_length=1, max_length=1000)]) -> ModelOut:
        """One of them, by category, title or technical name; the first of several."""
        return _model_view(serving, serving.row(name))

    @router.post("/models/load")
    async def load(body: ModelChoice) -> ModelOut:
        """Load a model ahead of its use; answers when it is in memory."""
        return _model_view(serving, await serving.load(body.model))

    @router.post("/models/unload")
    async def unload(body: ModelChoice) -> ModelOut:
        """Give a model's memory back once nobody uses it."""
        return _model_view(serving, await serving.unload(body.model))

    @router.post("/models/forget")
    async def forget(body: Forgotten) -> ForgottenOut:
        """Forget the kept answers of a model, or all of them."""
        return ForgottenOut(model=body.model, answers=serving.forget(body.model))

    @router.get("/stats")
    async def stats() -> dict[str, Any]:
        """Calls, errors, latency and tokens by engine and model, memory by model, kept answers, what was passed on."""
        return {**serving.statistics(), "gateway": gateway.stats()}

    return router


async def _asked(serving: Serving, body: GenerateIn, cache: CacheUse) -> Call[Any]:
    try:
        return await serving.work(
            body.wanted, body.prompt, options=body.options, said=body.said(), owner="local", cache=cache
        )
    except NotFound as unserved:
        if body.category is None:
            raise
        raise NotFound(unserved.message, field="category") from unserved


async def _streamed(call: Call[Any], request: Request, cache: CacheUse) -> Response:
    """A response that begins with the first piece, so that what fails before it is answered by a problem."""
    parts = Begun(call.parts)
    try:
        await while_connected(request.receive, parts.begin())
    except ClientGone:
        return Response(status_code=GONE)
    return Stream(_events(call, parts), cache.headers(), parts=parts)


async def _events(call: Call[Any], parts: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    told: CallDecision | None = None
    try:
        async with aclosing(parts):
            async for part in parts:
                if told is None:
                    told = call.decision
                    yield _event(b"decision", _decision_view(told))
                if not isinstance(part, Piece):
                    yield _event(b"answer", _answer_view(part))
                elif part.text:
                    yield _event(b"piece", {"text": part.text})
    except ConductorError as error:
        yield _event(b"error", _error_view(error.code, error.message, error.field))
    except Exception:  # the answer has begun: the stream is the only place to say it
        log.exception("stream_failed")
        yield _event(b"error", _error_view("internal", "the server met an error of its own; its log has the details"))


def _event(name: bytes, document: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, orjson.dumps(document))


def _error_view(code: str, detail: str, field: str | None = None) -> dict[str, Any]:
    return {"code": code, "detail": detail, "field": field}


def _decision_view(decision: CallDecision) -> dict[str, Any]:
    return {
        "call_id": decision.call_id,
        "category": decision.category,
        "model": decision.model,
        "title": decision.title,
        "why": decision.why,
    }


def _answer_view(answer: Any) -> dict[str, Any]:
    usage = answer.usage
    return {
        "text": answer.text,
        "facts": dict(answer.facts),
        "notes": list(answer.notes),
        "finish": answer.finish.value,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cached_tokens": usage.cached_tokens,
        },
    }


def _model_view(serving: Serving, row: ServedModel) -> ModelOut:
    record = serving.record_of(row)
    facts = None if record is None else record.facts
    failing = serving.failing().get(row.name, "")
    return ModelOut(
        category=row.category,
        title=row.title,
        model=row.name,
        purpose=serving.categories().get(row.category, ""),
        options=list(serving.options_of(row.category)),
        precision=row.precision,
        stay_loaded=row.stay_loaded,
        expected_bytes=row.memory_bytes,
        state=ModelState.ABSENT if record is None else record.state,
        since_unix_s=None if record is None else record.since_unix_s,
        reason="" if record is None else record.reason,
        backend="" if record is None else record.backend,
        device="" if facts is None else facts.device,
        context_tokens=None if facts is None else facts.context_tokens,
        computed_precision=None if facts is None else facts.precision,
        estimated_bytes=None if record is None else record.estimated_bytes,
        memory_bytes=None if record is None else record.measured_bytes,
        load_s=None if record is None else record.load_s,
        healthy=False if failing else None if record is None else record.healthy,
        last_used_unix_s=None if record is None else record.last_used_unix_s,
        generations=0 if record is None else record.generations,
        errors=0 if record is None else record.errors,
        last_error="" if record is None else record.last_error,
        failing=failing,
        notes=[] if facts is None else list(facts.notes),
    )
