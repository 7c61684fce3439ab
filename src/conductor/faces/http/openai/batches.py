"""`/v1/batches`: have a file of requests answered in the background."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from conductor.app.serving.batch import Batch
from conductor.app.serving.batches import Batches
from conductor.faces.http.openai.errors import ERRORS, OpenAIRoute
from conductor.faces.http.openai.paging import page
from conductor.faces.http.openai.requests import Lenient


class BatchIn(Lenient):
    """`POST /v1/batches`."""

    input_file_id: str = Field(min_length=1, max_length=200)
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
    completion_window: Literal["24h"]
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        None, max_length=16
    )


def routes(batches: Batches) -> APIRouter:
    """The routes below `/v1/batches`."""
    router = APIRouter(prefix="/v1/batches", tags=["openai"], responses=ERRORS, route_class=OpenAIRoute)

    @router.post("")
    async def create(body: BatchIn) -> dict[str, Any]:
        """Begin a batch over a file that was sent with the purpose `batch`."""
        batch = await batches.create(
            input_file_id=body.input_file_id, endpoint=body.endpoint, metadata=body.metadata or {}
        )
        return view(batch)

    @router.get("")
    async def listing(
        limit: Annotated[int, Query(ge=1, le=100)] = 20, after: Annotated[str | None, Query(max_length=200)] = None
    ) -> dict[str, Any]:
        """Batches, newest first."""
        return page([view(batch) for batch in batches.newest()], after=after, limit=limit)

    @router.get("/{batch_id}")
    async def one(batch_id: str) -> dict[str, Any]:
        """One batch."""
        return view(batches.get(batch_id))

    @router.post("/{batch_id}/cancel")
    async def cancel(batch_id: str) -> dict[str, Any]:
        """Answer no more of its lines."""
        return view(await batches.cancel(batch_id))

    return router


def view(batch: Batch) -> dict[str, Any]:
    """The batch as the protocol has it."""
    times = ("in_progress", "expires", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    return {
        "id": batch.batch_id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": batch.output_file_id if batch.has_output else None,
        "error_file_id": batch.error_file_id if batch.has_errors else None,
        "created_at": batch.created_at,
        **{f"{name}_at": getattr(batch, f"{name}_at") for name in times},
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata or None,
    }
