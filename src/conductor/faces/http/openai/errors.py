"""Our error tree as OpenAI's error object `{"error": {message, type, param, code}}`, all four keys always there."""

import re
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from conductor.app.malformed import sentence
from conductor.domain.errors import (
    ConductorError,
    Conflict,
    Exhausted,
    Forbidden,
    InvalidInput,
    ModelError,
    NotFound,
    Overloaded,
    StorageError,
    Unauthenticated,
)
from conductor.faces.http.again import again
from conductor.faces.http.any_json import UNREADABLE, as_json, could_not_be_read
from conductor.faces.http.presence import GONE, ClientGone

_REQUEST: Final = "invalid_request_error"
_SERVER: Final = "server_error"
#: The first class that fits counts. Clients try again after 409, 429 and 5xx.
_KINDS: Final[tuple[tuple[type[ConductorError], HTTPStatus, str], ...]] = (
    (Exhausted, HTTPStatus.UNPROCESSABLE_ENTITY, _REQUEST),
    (InvalidInput, HTTPStatus.BAD_REQUEST, _REQUEST),
    (NotFound, HTTPStatus.NOT_FOUND, _REQUEST),
    (Conflict, HTTPStatus.CONFLICT, _REQUEST),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED, "authentication_error"),
    (Forbidden, HTTPStatus.FORBIDDEN, "permission_error"),
    (Overloaded, HTTPStatus.SERVICE_UNAVAILABLE, _SERVER),
    (ModelError, HTTPStatus.SERVICE_UNAVAILABLE, _SERVER),
    (StorageError, HTTPStatus.INSUFFICIENT_STORAGE, _SERVER),
    (ConductorError, HTTPStatus.INTERNAL_SERVER_ERROR, _SERVER),
)
#: Our codes in the protocol's words; those it has no word for keep ours.
_CODES: Final[Mapping[str, str]] = {
    "input": "invalid_value",
    "input.context": "context_length_exceeded",
    "access.key": "invalid_api_key",
}
#: Names of the domain in the protocol's words.
_PARAMETERS: Final[Mapping[str, str]] = {
    "form": "response_format",
    "category": "model",
    "sampling.top_scores": "logprobs",
}
_MISSING: Final = "missing_required_parameter"
_OFFERED: Final = ("chat/completions", "completions", "embeddings", "models", "files", "batches")
#: Clients of the protocol ask for these too; nothing is there, and they are told so in its form.
_NOT_OFFERED: Final = (
    "responses",
    "conversations",
    "moderations",
    "images",
    "audio",
    "assistants",
    "threads",
    "uploads",
)
#: Where the protocol is spoken: these paths, and those below them.
_PATHS: Final = tuple(f"/v1/{name}" for name in (*_OFFERED, *_NOT_OFFERED))
#: Kinds of what is refused before a route hears of it; all other refusals of 4xx are about the request.
_REFUSALS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}

#: How pydantic names the kind that it tried, amid the place of an error in a field that may be of several kinds.
_BRANCH: Final = re.compile(r"str|constrained-str|(list|dict)\[.*\]")

log = structlog.get_logger(__name__)


class ErrorOut(BaseModel):
    """What went wrong; `param` names the input at fault, `code` tells programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(BaseModel):
    """OpenAI's error object."""

    error: ErrorOut


ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {"model": ErrorDocument, "description": "What went wrong, in the protocol's own form"}
}


class Refused(InvalidInput):
    """A request that the protocol allows and we do not take, or one that it does not allow; with the protocol's code."""

    def __init__(self, message: str, *, param: str | None, code: str = "invalid_value") -> None:
        super().__init__(message, field=param)
        self.protocol_code = code


def error_document(error: ConductorError) -> tuple[int, dict[str, Any]]:
    """Status and error object for one of our errors."""
    status, kind = next((status, kind) for known, status, kind in _KINDS if isinstance(error, known))
    code = error.protocol_code if isinstance(error, Refused) else _CODES.get(error.code, error.code)
    if isinstance(error, NotFound) and error.field in ("model", "category"):
        code = "model_not_found"
    param = None if error.field is None else _PARAMETERS.get(error.field, error.field)
    return int(status), _object(error.message, kind, param, code)


def internal_error() -> tuple[int, dict[str, Any]]:
    """For an error that nobody foresaw; its inner workings are in the log only."""
    return 500, _object("the server met an error of its own; its log has the details", _SERVER, None, "internal")


def error_response(error: ConductorError) -> Response:
    """The error as a response."""
    status, document = error_document(error)
    response = _response(status, document)
    response.headers.update(again(error))
    return response


def unforeseen() -> Response:
    """`internal_error` as a response."""
    return _response(*internal_error())


def speaks(path: str) -> bool:
    """Whether clients of this path expect the protocol's own errors, whoever answers them."""
    return any(path == known or path.startswith(f"{known}/") for known in _PATHS)


def refusal(status: int, message: str, *, code: str) -> Response:
    """What is refused before one of our errors could be raised: at the gate, or because no route fits.

    Args:
        code: ours; told in the protocol's word where it has one.
    """
    kind = _SERVER if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _REFUSALS.get(status, _REQUEST)
    return _response(status, _object(message, kind, None, _CODES.get(code, code)))


def malformed(errors: list[Any]) -> Refused:
    """What the reading of a body stopped at.

    A field that may be of several kinds has an error for each: the one that got furthest is about the kind that was meant.
    """
    where = _place(errors[0])
    kin = [error for error in errors if _place(error)[: len(where)] == where]
    fault = max(kin, key=lambda error: (len(_place(error)), not error["type"].endswith("_type")))
    others = [error for error in kin if error is not fault and _place(error) == where == _place(fault)]
    path = parameter(_place(fault)) if fault["type"] != "json_invalid" else ""
    code = (
        _MISSING
        if fault["type"] == "missing"
        else "invalid_json"
        if fault["type"] == "json_invalid"
        else "invalid_value"
    )
    if fault["type"].endswith("_type"):
        code = "invalid_type"
    said = sentence(fault, name=path, others=others if code == "invalid_type" else ())
    return Refused(said, param=path or None, code=code)


def _place(error: Mapping[str, Any]) -> list[Any]:
    """Where in the body an error is, without the kinds that were tried."""
    return [part for part in error["loc"] if part != "body" and not _BRANCH.fullmatch(str(part))]


def parameter(path: list[Any]) -> str:
    """`messages[0].role`."""
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return named.removeprefix(".")


class OpenAIRoute(APIRoute):
    """A route whose errors are OpenAI's; a body is JSON whatever the client calls it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the net around it."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(as_json(request))
            except ConductorError as error:
                return error_response(error)
            except RequestValidationError as error:
                return error_response(malformed(list(error.errors())))
            except HTTPException as error:
                if could_not_be_read(error):
                    return error_response(Refused(UNREADABLE, param=None, code="invalid_json"))
                return refusal(error.status_code, str(error.detail), code=f"http.{error.status_code}")
            except ClientGone:
                return Response(status_code=GONE)
            except Exception:  # whatever a request did, the server goes on
                log.exception("request_failed", method=request.method, path=request.url.path)
                return unforeseen()

        return answered


def _object(message: str, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    named = None if param is None else _unicode(param)
    return {"error": {"message": _unicode(message), "type": kind, "param": named, "code": code}}


def _unicode(text: str) -> str:
    """The text as it can be sent: errors may quote input that is no valid Unicode."""
    return text.encode("utf-8", "replace").decode()


def _response(status: int, document: dict[str, Any]) -> Response:
    return Response(orjson.dumps(document), status_code=status, media_type="application/json")
