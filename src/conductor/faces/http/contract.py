"""The OpenAPI document: what FastAPI derives from the routes, and what it cannot know.

Every call needs the key. Every error is a problem document (RFC 9457), or has OpenAI's form where that protocol is spoken,
whoever answers: the route, the router or the gate. Routes declare `PROBLEMS` or `openai.errors.ERRORS`; where the schema of
the former stands in the document is put right here.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from conductor.faces.http.problems import Problem
from conductor.faces.http.refusals import refused

_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {"model": Problem, "description": "What went wrong, and what to do about it"}
}
#: Of an address that nothing answers, in the error about it.
_LONGEST_SHOWN: Final = 200


def install(app: FastAPI) -> None:
    """Serve the corrected document at `/openapi.json`."""
    document: dict[str, Any] = {}

    def described() -> dict[str, Any]:
        if not document:
            document.update(_corrected(get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )))  # fmt: skip
        return document

    app.openapi = described  # type: ignore[method-assign]  # the way FastAPI documents

    @app.exception_handler(HTTPStatus.METHOD_NOT_ALLOWED)
    async def not_allowed(request: Request, _error: HTTPException) -> Response:
        allowed = ", ".join(allowed_methods(described(), request.url.path)) or "GET"
        response = refused(
            request.url.path,
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"{request.method} is not offered here; {allowed} is",
            code="http.405",
        )
        response.headers["Allow"] = allowed
        return response

    @app.exception_handler(HTTPStatus.NOT_FOUND)
    async def no_route(request: Request, _error: HTTPException) -> Response:
        path = request.url.path
        said = f"nothing is at {path[:_LONGEST_SHOWN]}; /openapi.json lists what there is"
        return refused(path, HTTPStatus.NOT_FOUND, said, code="http.404")


def allowed_methods(document: Mapping[str, Any], path: str) -> list[str]:
    """Every method that some route offers for this path; the router itself would name those of one route only.

    A path that is written out counts before those it also fits: `/models/load` is no model.
    """
    templates = [path] if path in document["paths"] else document["paths"]
    return sorted(
        method.upper()
        for template in templates
        if compile_path(template)[0].match(path)
        for method in document["paths"][template]
    )


def _corrected(document: dict[str, Any]) -> dict[str, Any]:
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    for operations in document["paths"].values():
        for operation in operations.values():
            default = operation["responses"]["default"]
            if all(
                form == {"schema": _PROBLEM} for form in default["content"].values()
            ):  # other protocols have their own
                default["content"] = {"application/problem+json": {"schema": _PROBLEM}}
    return document
