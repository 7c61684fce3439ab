"""Routes that take a JSON body whatever the client says it is: `curl -d` calls everything a form.

That a page of another origin could send such a body without asking first is the gate's to prevent, by key and origin.
"""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

#: What is wrong with a body that is no JSON in a way that a parser does not name.
UNREADABLE: Final = (
    "the request cannot be read as JSON: it is no UTF-8, nested too deeply, or has a number of thousands of digits"
)
_JSON: Final = (b"content-type", b"application/json")


class AnyJsonRoute(APIRoute):
    """A route whose body is read as JSON, unless it is a form of parts."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the correction of the header."""
        handle = super().get_route_handler()

        async def corrected(request: Request) -> Response:
            return await handle(as_json(request))

        return corrected


def could_not_be_read(error: HTTPException) -> bool:
    """Whether this is how the framework tells of such a body."""
    return error.status_code == HTTPStatus.BAD_REQUEST and isinstance(error.__cause__, ValueError | RecursionError)


def as_json(request: Request) -> Request:
    """The request, said to be JSON."""
    said = request.headers.get("content-type", "")
    if said.startswith(("application/json", "multipart/")):
        return request
    headers = [header for header in request.scope["headers"] if header[0] != b"content-type"]
    return Request({**request.scope, "headers": [*headers, _JSON]}, request.receive)
