"""The page for browsers: one document, and the style and scripts it names; files of our own, served as they lie there.

What is on the page comes from the same routes as everything else; the page itself knows nothing. It is behind the gate too.
"""

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response

from conductor.domain.errors import NotFound

_MEDIA_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
#: Nothing but our own files may style it or run in it, and nobody may frame it.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def routes() -> APIRouter:
    """The page at `/`, its parts below `/page/`."""
    folder = files("conductor.faces.http") / "page"
    parts = {part.name: part.read_bytes() for part in folder.iterdir() if part.name.rpartition(".")[2] in _MEDIA_TYPES}
    router = APIRouter(include_in_schema=False)

    def response(name: str) -> Response:
        return Response(
            parts[name],
            media_type=_MEDIA_TYPES[name.rpartition(".")[2]],
            headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"},
        )

    @router.get("/")
    async def overview() -> Response:
        return response("index.html")

    @router.get("/page/{name}")
    async def part(name: str) -> Response:
        if name not in parts:
            raise NotFound(f"the page has no part {name[:100]!r}")
        return response(name)

    return router
