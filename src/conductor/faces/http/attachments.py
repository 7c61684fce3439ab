"""Routes about attached files: send one in, look at what it was found to be."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from conductor.app.conductor import Conductor
from conductor.domain.attachment import Attachment
from conductor.domain.errors import InvalidInput
from conductor.domain.task import UserId
from conductor.faces.http.contract import PROBLEMS

PATH: Final = "/v1/attachments"

#: What FastAPI cannot tell from a route that reads the body itself.
_RAW_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        # Any other media type is taken as well. `*/*` would say so, but generators then serialise a text in some format.
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "minLength": 1}}},
    }
}
_User = Annotated[str, Query(min_length=1, max_length=200, description="whose file it is")]


def routes(conductor: Conductor) -> APIRouter:
    """The routes below `/v1/attachments`."""
    router = APIRouter(prefix=PATH, tags=["attachments"], responses=PROBLEMS)

    @router.post("", status_code=201, openapi_extra=_RAW_BODY)
    async def add(
        request: Request,
        name: Annotated[
            str, Query(min_length=1, max_length=200, description="what it is called in the task's folder")
        ] = "file",
        user_id: _User = "local",
    ) -> Attachment:
        """Send a file as the body; its id is its SHA-256, to be named in `attachments` of a task of the same user."""
        claimed = request.headers.get("content-type", "")
        if claimed.lower().startswith("multipart/"):
            raise InvalidInput(
                "the file came wrapped in a form; send its bytes as the body (`curl --data-binary @FILE`)",
                field="content-type",
            )
        return await conductor.attachments.add(request.stream(), name=name, user_id=UserId(user_id), claimed=claimed)

    @router.get("/{attachment_id}")
    async def one(attachment_id: str, user_id: _User = "local") -> Attachment:
        """What a file of this user was found to be."""
        return (await conductor.attachments.find([attachment_id], UserId(user_id)))[0]

    return router
