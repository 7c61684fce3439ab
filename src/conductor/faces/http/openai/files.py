"""`/v1/files`: send files in, list them, read them back, delete them."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile

from conductor.app.serving.files import PURPOSES, ServingFiles, StoredFile
from conductor.faces.http.openai.errors import ERRORS, OpenAIRoute, Refused
from conductor.faces.http.openai.paging import page

PATH: Final = "/v1/files"
_PIECE_BYTES: Final = 1024 * 1024
_MISSING: Final = "missing_required_parameter"
_SHORTEST_S, _LONGEST_S = 3600, 2_592_000

#: What FastAPI cannot tell from a route that reads a form by itself.
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(PURPOSES)},
                        "expires_after[anchor]": {"type": "string", "const": "created_at"},
                        "expires_after[seconds]": {"type": "string", "pattern": "^[0-9]{4,7}$"},
                    },
                }
            }
        },
    }
}

_AS_BYTES: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"application/octet-stream": {}}}}


def routes(files: ServingFiles) -> APIRouter:
    """The routes below `/v1/files`."""
    router = APIRouter(prefix=PATH, tags=["openai"], responses=ERRORS, route_class=OpenAIRoute)

    @router.post("", openapi_extra=_FORM)
    async def add(request: Request) -> dict[str, Any]:
        """Send a file in, as a form with `file` and `purpose`."""
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise Refused("send the file as multipart/form-data, with the fields file and purpose", param="file")
        async with request.form(max_files=1, max_fields=10) as form:
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile):
                raise Refused("file is missing: send one as a part of the form", param="file", code=_MISSING)
            if not isinstance(purpose, str):
                raise Refused("purpose is missing; `batch` is what batches need", param="purpose", code=_MISSING)
            stored = await files.add(
                _pieces(file),
                name=file.filename or "file",
                purpose=purpose,
                expires_after_s=_expiry(form.get("expires_after[anchor]"), form.get("expires_after[seconds]")),
            )
        return _view(stored)

    @router.get("")
    async def listing(
        purpose: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        after: Annotated[str | None, Query(max_length=200)] = None,
        order: Literal["asc", "desc"] = "desc",
    ) -> dict[str, Any]:
        """Files, newest first."""
        found = [_view(file) for file in files.oldest(purpose)]
        return page(found if order == "asc" else found[::-1], after=after, limit=limit)

    @router.get("/{file_id}")
    async def one(file_id: str) -> dict[str, Any]:
        """One file."""
        return _view(files.get(file_id))

    @router.get("/{file_id}/content", response_class=FileResponse, responses=_AS_BYTES)
    async def content(file_id: str) -> FileResponse:
        """Its bytes."""
        return FileResponse(files.content(file_id), media_type="application/octet-stream")

    @router.delete("/{file_id}")
    async def remove(file_id: str) -> dict[str, Any]:
        """Delete it."""
        await files.remove(file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    return router


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(_PIECE_BYTES):
        yield piece


def _expiry(anchor: object, seconds: object) -> int | None:
    if anchor not in (None, "created_at"):
        raise Refused("expires_after.anchor must be created_at", param="expires_after")
    if seconds is None:
        return None
    if not isinstance(seconds, str) or not seconds.isdecimal() or not _SHORTEST_S <= int(seconds[:10]) <= _LONGEST_S:
        raise Refused(
            f"expires_after.seconds must be a whole number from {_SHORTEST_S} to {_LONGEST_S}", param="expires_after"
        )
    return int(seconds)


def _view(file: StoredFile) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": file.file_id,
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": file.created_at_unix_s,
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }
    return view if file.expires_at_unix_s is None else view | {"expires_at": file.expires_at_unix_s}
