"""Routes that take a JSON body whatever the client says it is: `curl -d` calls everything a form.

That a page of another origin could send such a body without asking first is the gate's to prevent, by key and origin.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

_JSON: Final = (b"content-type", b"application/json")


class AnyJsonRoute(APIRoute):
    """A route whose body is read as JSON, unless it is a form of parts."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the correction of the header."""
        handle = super().get_route_handler()

        async def corrected(request: Request) -> Response:
            return await handle(as_json(request))

        return corrected


def as_json(request: Request) -> Request:
    """The request, said to be JSON."""
    said = request.headers.get("content-type", "")
    if said.startswith(("application/json", "multipart/")):
        return request
    headers = [header for header in request.scope["headers"] if header[0] != b"content-type"]
    return Request({**request.scope, "headers": [*headers, _JSON]}, request.receive)
