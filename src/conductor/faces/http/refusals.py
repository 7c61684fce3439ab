"""Errors that are told outside of routes, in the form that the caller's protocol has: OpenAI's on its paths, else problems.

The gate, the bounds on bodies and the last net answer before any route is known; only the path tells who is asking.
"""

from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from conductor.domain.errors import ConductorError
from conductor.faces.http import problems
from conductor.faces.http.openai import errors as openai

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="conductor"'}


def refused(path: str, status: HTTPStatus, message: str, *, code: str) -> Response:
    """A refusal of the gate, or of the router, as a response."""
    if not openai.speaks(path):
        return problems.problem(status, message, code=code)
    response = openai.refusal(status, message, code=code)
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers.update(_CHALLENGE)
    return response


def of_error(path: str, error: ConductorError) -> Response:
    """One of our errors as a response."""
    return openai.error_response(error) if openai.speaks(path) else problems.of_error(error)


def unforeseen(path: str) -> Response:
    """What an error that nobody foresaw is told as."""
    return openai.unforeseen() if openai.speaks(path) else problems.unforeseen()
