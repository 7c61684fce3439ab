"""All routes of the OpenAI API over one `Serving`, and the same answers for the lines of batches."""

from typing import Any, Final

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError

from conductor.app.serving.batch_work import Performed
from conductor.app.serving.batches import Batches
from conductor.app.serving.files import ServingFiles
from conductor.app.serving.serve import Serving
from conductor.domain.errors import ConductorError
from conductor.faces.http.again import is_in_vain
from conductor.faces.http.openai import batches as batch_routes
from conductor.faces.http.openai import files as file_routes
from conductor.faces.http.openai import models
from conductor.faces.http.openai.chat import Chat
from conductor.faces.http.openai.completions import Completions
from conductor.faces.http.openai.embeddings import Embeddings
from conductor.faces.http.openai.errors import ERRORS, OpenAIRoute, Refused, error_document, internal_error, malformed
from conductor.faces.http.openai.requests import ChatIn, CompletionIn, EmbeddingsIn

#: What may be over when a line of a batch is asked again: too much to do, a model that fails.
_PASSING: Final = frozenset({429, 503})
#: What FastAPI cannot tell: a stream, where one is asked for.
_AS_STREAM: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/event-stream": {}}}}

log = structlog.get_logger(__name__)


class ModelView(BaseModel, extra="allow"):
    """A name that may stand in `model`."""

    id: str
    object: str
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All such names."""

    object: str
    data: list[ModelView]


class OpenAI:
    """The API; `routes` mounts it, `perform` answers the lines of batches."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._chat, self._completions, self._embeddings = Chat(serving), Completions(serving), Embeddings(serving)

    def routes(self) -> APIRouter:
        """Chat completions, completions, embeddings and models."""
        router = APIRouter(prefix="/v1", tags=["openai"], responses=ERRORS, route_class=OpenAIRoute)

        @router.post("/chat/completions", response_model=dict[str, Any], responses=_AS_STREAM)
        async def chat(body: ChatIn, request: Request) -> Response:
            """Go on with a conversation, whole or as server-sent events; `model` may be `auto`."""
            return await self._chat.respond(body, request)

        @router.post("/completions", response_model=dict[str, Any], responses=_AS_STREAM)
        async def completions(body: CompletionIn, request: Request) -> Response:
            """Go on with texts, or fill them in."""
            return await self._completions.respond(body, request)

        @router.post("/embeddings", response_model=dict[str, Any])
        async def embeddings(body: EmbeddingsIn, request: Request) -> Response:
            """Texts as unit vectors."""
            return await self._embeddings.respond(body, request)

        @router.get("/models")
        async def listing() -> ModelList:
            """The names that `model` may have."""
            return ModelList(object="list", data=[ModelView(**view) for view in models.listed(self._serving)])

        @router.get("/models/{name:path}")
        async def one(name: str) -> ModelView:
            """One of them."""
            return ModelView(**models.one(self._serving, name))

        return router

    async def perform(self, path: str, body: dict[str, Any]) -> Performed:
        """The answer to a request that came in a batch; never raises but when cancelled."""
        try:
            return Performed(200, await self._document(path, body))
        except ConductorError as error:
            status, document = error_document(error)
            return Performed(status, document, again=status in _PASSING and not is_in_vain(error))
        except ValidationError as error:
            return Performed(*error_document(malformed(list(error.errors(include_url=False)))))
        except Exception:  # one line must not cost the batch the others
            log.exception("batch_line_failed", path=path)
            return Performed(*internal_error())

    async def _document(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/v1/chat/completions":
            return (await self._chat.document(ChatIn.model_validate(body)))[0]
        if path == "/v1/completions":
            return (await self._completions.document(CompletionIn.model_validate(body)))[0]
        if path == "/v1/embeddings":
            return (await self._embeddings.document(EmbeddingsIn.model_validate(body)))[0]
        raise Refused(f"{path[:100]} takes no batches", param="endpoint")


def routes(serving: Serving, files: ServingFiles, batches: Batches) -> list[APIRouter]:
    """Everything; the lines of batches are answered from now on."""
    api = OpenAI(serving)
    batches.answer_with(api.perform)
    return [api.routes(), file_routes.routes(files), batch_routes.routes(batches)]
