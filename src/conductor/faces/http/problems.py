"""Our error tree as RFC 9457 problem documents; the only place where HTTP statuses are chosen."""

import json
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from conductor.app.malformed import field_of, sentence
from conductor.domain.errors import (
    ConductorError,
    Conflict,
    Exhausted,
    Forbidden,
    InvalidInput,
    InvalidTransition,
    LedgerError,
    ModelError,
    NotFound,
    Overloaded,
    StorageError,
    Unauthenticated,
)
from conductor.faces.http.again import again
from conductor.faces.http.any_json import UNREADABLE, could_not_be_read

#: The first class that fits counts.
_STATUS: Final[tuple[tuple[type[ConductorError], HTTPStatus], ...]] = (
    (Exhausted, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InvalidInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (InvalidTransition, HTTPStatus.CONFLICT),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (Overloaded, HTTPStatus.SERVICE_UNAVAILABLE),
    (StorageError, HTTPStatus.INSUFFICIENT_STORAGE),
    (LedgerError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (ModelError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ConductorError, HTTPStatus.INTERNAL_SERVER_ERROR),
)


class Problem(BaseModel):
    """A problem document (RFC 9457) with our stable `code`; `field` names the input at fault."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    details: dict[str, Any] = {}


class ProblemResponse(JSONResponse):
    """A problem document. In ASCII: it may quote input that is no valid Unicode."""

    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        """The document as bytes."""
        return json.dumps(content).encode()


def problem(
    status: HTTPStatus, detail: str, *, code: str, field: str | None = None, details: dict[str, Any] | None = None
) -> JSONResponse:
    """A problem as a response; `type` is a stable name, not an address that has to answer."""
    document = Problem(
        type=f"urn:conductor:problem:{code}",
        title=status.phrase,
        status=status,
        detail=detail,
        code=code,
        field=field,
        details=details or {},
    )
    headers = {"WWW-Authenticate": 'Bearer realm="conductor"'} if status is HTTPStatus.UNAUTHORIZED else {}
    return ProblemResponse(document.model_dump(), status_code=status, headers=headers)


def of_error(error: ConductorError) -> JSONResponse:
    """The problem that one of our errors is told as."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    response = problem(status, error.message, code=error.code, field=error.field, details=error.details)
    response.headers.update(again(error))
    return response


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem document."""

    @app.exception_handler(ConductorError)
    async def ours(_request: Request, error: ConductorError) -> JSONResponse:
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            sentence(found[0]),
            code="input",
            field=field_of(found[0]) or None,
            details={"errors": [{"field": ".".join(map(str, e["loc"])), "message": sentence(e)} for e in found]},
        )

    @app.exception_handler(HTTPException)
    async def standard(_request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        if could_not_be_read(error):
            return problem(status, UNREADABLE, code="input.json")
        response = problem(status, str(error.detail), code=f"http.{error.status_code}")
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def foreign(_request: Request, _error: Exception) -> JSONResponse:
        return unforeseen()  # whoever surrounds the application hears of it, too, and logs it


def unforeseen() -> JSONResponse:
    """What an error that nobody foresaw is told as: without its inner workings."""
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "the server met an error of its own; its log has the details under the trace id of this response",
        code="internal",
    )
