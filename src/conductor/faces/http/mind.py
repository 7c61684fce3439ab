"""Routes that teach the decision maker: corrections of tasks, tuning, versions, going back."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from conductor.app.conductor import Conductor
from conductor.domain.correction import Correction
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.task import LOCAL_USER, TaskId, UserId
from conductor.faces.http.contract import PROBLEMS


class CorrectionIn(BaseModel):
    """What would have been right for a task: at least one of device, kind of work and priority."""

    model_config = ConfigDict(extra="forbid")

    device: DeviceType | None = None
    task_kind: TaskKind | None = None
    priority: int | None = Field(None, ge=1, le=5, strict=True)
    user_id: str = Field(LOCAL_USER, min_length=1, max_length=200)


class RollbackIn(BaseModel):
    """Which version to use; 0 is the shipped mind, absent the one that the present version replaced."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int | None = Field(None, ge=0, le=999_999)


class TuneOut(BaseModel):
    """How the last fit stands: idle, running, kept, not_kept, too_little or failed.

    `done` of `total` texts are read; `because` says why it ended so, `next_step` what can be done now; `labels` counts by
    source; `judgement` holds the figures before and after.
    """

    state: str
    done: int
    total: int
    because: str
    next_step: str
    version: int | None
    labels: dict[str, int]
    judgement: dict[str, Any] | None


def routes(conductor: Conductor) -> APIRouter:
    """`/v1/mind` and the corrections below `/v1/tasks`."""
    router = APIRouter(tags=["mind"], responses=PROBLEMS)
    tuning, correcting, access = conductor.tuning, conductor.correcting, conductor.access

    @router.put("/v1/tasks/{task_id}/correction")
    async def correct(task_id: str, body: CorrectionIn) -> Correction:
        """Say what would have been right for a task; parts that are absent or null stay as they were said before.

        A priority counts at once for such work; device and kind of work are learned by `mind/tune`.
        """
        access.check_may_tune()
        return await correcting.correct(
            TaskId(task_id),
            device=body.device,
            task_kind=body.task_kind,
            priority=body.priority,
            by=UserId(body.user_id),
        )

    @router.get("/v1/tasks/{task_id}/correction")
    async def correction(task_id: str) -> Correction:
        """What was said last about a task."""
        return await correcting.of_task(TaskId(task_id))

    @router.delete("/v1/tasks/{task_id}/correction")
    async def withdraw(task_id: str) -> Correction:
        """Take back what was said about a task; answers with what that was."""
        access.check_may_tune()
        return await correcting.withdraw(TaskId(task_id))

    @router.post("/v1/mind/tune", status_code=202)
    async def tune() -> TuneOut:
        """Begin to fit a version to this installation's history, in the background."""
        access.check_may_tune()
        return TuneOut(**asdict(tuning.start()))

    @router.get("/v1/mind/tune")
    async def tuned() -> TuneOut:
        """How the last fit stands."""
        return TuneOut(**asdict(tuning.job))

    @router.get("/v1/mind/versions")
    async def versions() -> dict[str, Any]:
        """Every version with its card; the shipped mind is number 0."""
        return {"versions": await tuning.listing(), "problem": tuning.problem}

    @router.post("/v1/mind/rollback")
    async def rollback(body: RollbackIn) -> dict[str, Any]:
        """Use another version at once."""
        access.check_may_tune()
        return {"version": await tuning.roll_back(body.version)}

    return router
