"""Errors that are told outside of routes, in the form of the caller's protocol: OpenAI's and MCP's on their paths, else
problems.

The gate, the bounds on bodies and the last net answer before any route is known; only the path tells who is asking.
"""

from http import HTTPStatus
from typing import Final

from starlette.responses import JSONResponse, Response

from conductor.domain.errors import ConductorError
from conductor.faces.http import problems
from conductor.faces.http.openai import errors as openai

_MCP: Final = "/mcp"
#: JSON-RPC's code for what is no valid request; the HTTP status tells more.
_INVALID_REQUEST: Final = -32600
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="conductor"'}


def refused(path: str, status: HTTPStatus, message: str, *, code: str) -> Response:
    """A refusal of the gate, or of the router, as a response."""
    if path == _MCP:
        error = {"code": _INVALID_REQUEST, "message": message, "data": {"code": code}}
        response: Response = JSONResponse({"jsonrpc": "2.0", "error": error}, status_code=status)
    elif openai.speaks(path):
        response = openai.refusal(status, message, code=code)
    else:
        return problems.problem(status, message, code=code)
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers.update(_CHALLENGE)
    return response


def of_error(path: str, error: ConductorError) -> Response:
    """One of our errors as a response."""
    return openai.error_response(error) if openai.speaks(path) else problems.of_error(error)


def unforeseen(path: str) -> Response:
    """What an error that nobody foresaw is told as."""
    return openai.unforeseen() if openai.speaks(path) else problems.unforeseen()
