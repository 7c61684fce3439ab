"""Routes about tasks: submit, list, look, watch, cancel, repeat, explain, receipt."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from conductor.app.conductor import Conductor
from conductor.domain.errors import NotFound
from conductor.domain.event import TaskEvent, TaskOutput
from conductor.domain.task import Task, TaskId, TaskState, UserId
from conductor.faces.http.contract import PROBLEMS
from conductor.faces.http.documents import EventList, SubmissionIn, TaskList, TaskOut, event_of

#: A comment is sent this often, so that proxies and clients know the stream is alive.
_KEEPALIVE_S = 15.0

#: What FastAPI cannot tell from a route that answers with something else than a model.
_AS_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
_AS_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}


def routes(conductor: Conductor) -> APIRouter:
    """The routes below `/v1/tasks`."""
    router = APIRouter(prefix="/v1/tasks", tags=["tasks"], responses=PROBLEMS)
    tasks = conductor.tasks

    def view(task: Task) -> TaskOut:
        pending = tasks.pending_because(task)
        return TaskOut.of(task, None if pending is None else dict(pending.as_json()))

    @router.post("", status_code=201)
    async def submit(
        body: SubmissionIn,
        response: Response,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
    ) -> TaskOut:
        """Submit a task; it is accepted durably before this answers."""
        files = await conductor.attachments.find(body.attachments, UserId(body.user_id))
        submission = body.to_domain(conductor.default_limits(), idempotency_key, files)
        conductor.access.check_workload(submission.workload)
        task = await tasks.submit(submission)
        response.headers["Location"] = f"/v1/tasks/{task.task_id}"
        return view(task)

    @router.get("")
    async def listing(
        state: Annotated[list[TaskState] | None, Query()] = None,
        user_id: Annotated[str | None, Query(max_length=200)] = None,
        text: Annotated[str | None, Query(max_length=1000, description="part of the description")] = None,
        before: Annotated[str | None, Query(max_length=40)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> TaskList:
        """Tasks, newest first."""
        found = await tasks.list(
            states=None if state is None else frozenset(state),
            user_id=None if user_id is None else UserId(user_id),
            text=text,
            before=None if before is None else TaskId(before),
            limit=limit,
        )
        full = len(found) == limit
        return TaskList.model_construct(
            tasks=[view(task) for task in found], next_before=found[-1].task_id if full else None
        )

    @router.get("/{task_id}")
    async def one(task_id: str) -> TaskOut:
        """One task; `last` names the one submitted last."""
        return view(await tasks.get(TaskId(task_id)))

    @router.post("/{task_id}/cancel")
    async def cancel(task_id: str, reason: Annotated[str, Query(max_length=500)] = "asked for by the user") -> TaskOut:
        """Cancel a task at any state; answers when all of its processes have ended."""
        return view(await tasks.cancel(TaskId(task_id), reason=reason))

    @router.post("/{task_id}/repeat", status_code=201)
    async def repeat(task_id: str) -> TaskOut:
        """Submit the same work again as a new task; for tasks that failed or died."""
        task = await tasks.get(TaskId(task_id))
        conductor.access.check_workload(task.submission.workload)
        await conductor.attachments.check_kept(task)
        return view(await tasks.repeat(task))

    @router.get("/{task_id}/events", response_model=EventList, responses=_AS_STREAM)
    async def events(task_id: str, request: Request, follow: bool = True) -> Any:
        """Transitions and output as server-sent events until the task is settled; as JSON if that is asked for."""
        task = await tasks.get(TaskId(task_id))
        wants_json = "text/event-stream" not in request.headers.get("accept", "*/*") and "application/json" in (
            request.headers.get("accept", "")
        )
        if wants_json or not follow:
            return EventList(events=list(await tasks.events(task.task_id)))
        return StreamingResponse(
            _stream(conductor, task),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    @router.get("/{task_id}/explanation")
    async def explanation(task_id: str) -> dict[str, Any]:
        """The full breakdown of the decision, as sections and as text."""
        return await conductor.explanation(TaskId(task_id))

    @router.get("/{task_id}/receipt")
    async def receipt(task_id: str, kind: Annotated[str, Query(pattern="^(decision|outcome)$")] = "outcome") -> Any:
        """A receipt that verifies offline: the ledger entry, its inclusion proof and the signed head."""
        return await conductor.ledger.receipt_of_task(await tasks.get(TaskId(task_id)), kind)

    @router.get("/{task_id}/output/{stream}", response_class=FileResponse, responses=_AS_TEXT)
    async def output(task_id: str, stream: Literal["stdout", "stderr"]) -> FileResponse:
        """All that a task printed, up to its limit."""
        task = await tasks.get(TaskId(task_id))
        path = conductor.output_file(task.task_id, stream)
        if path is None:
            raise NotFound(f"task {task.task_id} printed nothing on {stream!r}", field="stream")
        return FileResponse(path, media_type="text/plain; charset=utf-8")

    return router


async def _stream(conductor: Conductor, task: Task) -> AsyncIterator[str]:
    """History first, then what happens, without a gap or a repetition between the two."""
    tasks = conductor.tasks
    with tasks.watching(task.task_id) as watch:
        past = list(await tasks.events(task.task_id))
        for event in past:
            yield _sse(event)
        if past and replace(task, state=past[-1].state).is_settled:  # not what became of it while we were sending
            return
        items = aiter(watch)
        following: asyncio.Future[TaskEvent | TaskOutput] = asyncio.ensure_future(anext(items))
        try:
            while True:
                done, _ = await asyncio.wait([following], timeout=_KEEPALIVE_S)
                if not done:
                    yield ": still here\n\n"
                    continue
                try:
                    item = following.result()
                except StopAsyncIteration:
                    return
                if not (isinstance(item, TaskEvent) and item in past):
                    yield _sse(item)
                following = asyncio.ensure_future(anext(items))
        finally:
            following.cancel()


def _sse(item: TaskEvent | TaskOutput) -> str:
    name, data = event_of(item)
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
