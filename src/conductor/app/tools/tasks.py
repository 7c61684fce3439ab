"""Tools about tasks: decide, run, look, list, explain, cancel."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from conductor.app.conductor import Conductor
from conductor.app.tools.confirmation import VALID_S, Confirmations
from conductor.app.tools.offered import Arguments, OfferedTool, Report
from conductor.app.tools.views import DecisionView, TaskSummary, TaskView, decision_view, summary_of, view_of
from conductor.app.whole_numbers import WHOLE
from conductor.domain.errors import Conflict, InvalidInput
from conductor.domain.task import Submission, Task, TaskId, TaskState
from conductor.domain.workload import Limits, Workload

#: A call that waits longer than this keeps connections and clients' patience; the task itself may take as long as it likes.
LONGEST_WAIT_S: Final = 300.0
#: So often whoever waits for a task is told how it stands.
_TELL_EVERY_S: Final = 1.0

_Description = Annotated[str, Field(max_length=100_000, description="the work in plain words, a sentence or two")]
_TaskId = Annotated[
    str, Field(min_length=1, max_length=100, description="id of the task; `last` names the one submitted last")
]
_StateName = Literal[
    "submitted", "decided", "queued", "placed", "running", "succeeded", "failed", "cancelled", "dead"
]  # fmt: skip


class DecideArguments(Arguments):
    """Of `decide`."""

    description: _Description
    priority: Annotated[
        int | None, Field(ge=1, le=5, description="1 critical to 5 low; decided from the text if absent"), WHOLE
    ] = None


class LimitArguments(Arguments):
    """The slice that a task may use; what is left out takes the installation's setting."""

    memory_bytes: Annotated[int | None, Field(gt=0, le=2**50), WHOLE] = None
    wall_time_s: Annotated[float | None, Field(gt=0, le=31_536_000, allow_inf_nan=False)] = None
    network: Annotated[bool | None, Field(description="whether the task may use the network; it may not otherwise")] = (
        None
    )


class RunArguments(DecideArguments):
    """Of `run_task`."""

    command: Annotated[
        list[Annotated[str, Field(max_length=100_000)]],
        Field(min_length=1, max_length=1000, description="program and arguments, one word an item; no shell reads it"),
    ]
    limits: LimitArguments = LimitArguments()
    wait_s: Annotated[
        float,
        Field(
            ge=0, le=LONGEST_WAIT_S, allow_inf_nan=False, description="how long to wait for its end; 0 returns at once"
        ),
    ] = 0.0
    idempotency_key: Annotated[
        str | None, Field(min_length=1, max_length=255, description="the same key always names the same task")
    ] = None


class OneTask(Arguments):
    """For tools about one task."""

    task_id: _TaskId


class ListArguments(Arguments):
    """Of `list_tasks`."""

    state: Annotated[
        list[_StateName] | None, Field(min_length=1, max_length=9, description="only tasks in these states")
    ] = None
    text: Annotated[str | None, Field(max_length=1000, description="part of the description")] = None
    limit: Annotated[int, Field(ge=1, le=100), WHOLE] = 20
    cursor: Annotated[
        str | None, Field(max_length=100, pattern="^[!-~]+$", description="next_cursor of the page before")
    ] = None


class CancelArguments(OneTask):
    """Of `cancel_task`."""

    reason: Annotated[str, Field(max_length=500)] = "asked for by the user"
    confirm_token: Annotated[
        str | None, Field(min_length=1, max_length=200, description="from the preview; without it nothing is cancelled")
    ] = None


class TaskPage(TypedDict):
    """Tasks, newest first."""

    tasks: list[TaskSummary]
    next_cursor: str | None


class Cancellation(TypedDict):
    """What would be cancelled, with the token that confirms it; or the task after it was."""

    done: bool
    task: TaskSummary
    confirm_token: str | None
    expires_in_s: float | None


class Explanation(TypedDict):
    """Why a task was decided as it was."""

    task_id: str
    text: str


def task_tools(
    conductor: Conductor, confirmations: Confirmations, now_s: Callable[[], float]
) -> list[OfferedTool[Any]]:
    """The tools about tasks.

    Args:
        now_s: monotonic seconds.
    """
    desk = _TaskDesk(conductor, confirmations, now_s)
    return [
        OfferedTool(
            name="cancel_task",
            title="Cancel a task",
            description="End a task that waits or runs. The first call only shows what would end and returns a "
            "confirm_token; call again with it, after the user agreed, to cancel.",
            arguments=CancelArguments,
            answer=Cancellation,
            act=desk.cancel,
            reads_only=False,
            destroys=True,
        ),
        OfferedTool(
            name="decide",
            title="Decide where work should run",
            description="Decide device, node, priority, duration and compute units for work described in plain words. "
            "Use it to plan, and before `run_task`. Nothing runs and nothing is recorded.",
            arguments=DecideArguments,
            answer=DecisionView,
            act=desk.decide,
        ),
        OfferedTool(
            name="explain_decision",
            title="Explain a decision",
            description="The full reasons behind the decision about a task: what was read, what past tasks say, how the "
            "nodes compare, and what came of it. Use it when somebody asks why a task ran where it did.",
            arguments=OneTask,
            answer=Explanation,
            act=desk.explain,
            spoken="text",
        ),
        OfferedTool(
            name="get_task",
            title="Look at a task",
            description="One task as it stands now: state, decision, result, the end of its output, why it waits. Use it "
            "after `run_task` until `settled` is true.",
            arguments=OneTask,
            answer=TaskView,
            act=desk.get,
        ),
        OfferedTool(
            name="list_tasks",
            title="List tasks",
            description="Tasks, newest first, in pages. Use it to find a task's id, or what failed; filter by state or by "
            "part of the description.",
            arguments=ListArguments,
            answer=TaskPage,
            act=desk.list,
        ),
        OfferedTool(
            name="run_task",
            title="Run a command as a task",
            description="Run a program on the best machine, confined to a slice of it, and record it. Use `decide` first to "
            "see where it would run. With wait_s the answer holds the result if it ends in time; else ask `get_task`. An "
            "accepted task goes on when this call is given up; `cancel_task` ends it.",
            arguments=RunArguments,
            answer=TaskView,
            act=desk.run,
            reports=True,
            reads_only=False,
            destroys=True,
            repeatable=False,
            reaches_out=True,
        ),
    ]


class _TaskDesk:
    """What these tools do."""

    def __init__(self, conductor: Conductor, confirmations: Confirmations, now_s: Callable[[], float]) -> None:
        self._conductor = conductor
        self._confirmations = confirmations
        self._now_s = now_s

    async def decide(self, given: DecideArguments) -> Mapping[str, Any]:
        submission = Submission(description=given.description, metadata=_metadata(given))
        return decision_view(await self._conductor.tasks.preview(submission))

    async def run(self, given: RunArguments, report: Report) -> Mapping[str, Any]:
        asked = {name: value for name, value in given.limits.model_dump().items() if value is not None}
        limits: Limits = replace(self._conductor.default_limits(), **asked)
        workload = Workload(kind="command", spec={"command": list(given.command)}, limits=limits)
        self._conductor.access.check_workload(workload)
        submission = Submission(
            description=given.description,
            workload=workload,
            metadata=_metadata(given),
            idempotency_key=given.idempotency_key,
        )
        task = await self._conductor.tasks.submit(submission)
        return self._view(await self._awaited(task, given.wait_s, report))

    async def _awaited(self, task: Task, wait_s: float, report: Report) -> Task:
        """The task when it is settled, or as it stands after `wait_s`; how it stands is told meanwhile."""
        tasks, told = self._conductor.tasks, ""
        until_s = self._now_s() + wait_s
        while (rest_s := until_s - self._now_s()) > 0:
            standing = self._standing(task)
            report(round(wait_s - rest_s, 3), f"{task.task_id} {standing}", detail=standing == told)
            told = standing
            try:
                return await tasks.wait(task.task_id, timeout_s=min(rest_s, _TELL_EVERY_S))
            except TimeoutError:
                task = await tasks.get(task.task_id)
        return task

    def _standing(self, task: Task) -> str:
        """How a task stands, in a few words."""
        if task.state is TaskState.RUNNING:
            return f"is running on {task.node_id}"
        pending = self._conductor.tasks.pending_because(task)
        return f"is {task.state.value}" if pending is None else f"is {task.state.value}: {pending.sentence}"

    async def get(self, given: OneTask) -> Mapping[str, Any]:
        return self._view(await self._task(given.task_id))

    async def list(self, given: ListArguments) -> Mapping[str, Any]:
        found = await self._conductor.tasks.list(
            states=None if given.state is None else frozenset(map(TaskState, given.state)),
            text=given.text,
            before=None if given.cursor is None else TaskId(given.cursor),
            limit=given.limit + 1,
        )
        page = found[: given.limit]
        return TaskPage(
            tasks=[summary_of(task) for task in page],
            next_cursor=page[-1].task_id if len(found) > given.limit else None,
        )

    async def explain(self, given: OneTask) -> Mapping[str, Any]:
        task = await self._task(given.task_id)
        return Explanation(task_id=task.task_id, text=await self._conductor.explain_decision(task.task_id))

    async def cancel(self, given: CancelArguments) -> Mapping[str, Any]:
        task = await self._task(given.task_id)
        if task.is_settled:
            raise Conflict(f"task {task.task_id} has ended ({task.state}) and cannot be cancelled", field="task_id")
        if given.confirm_token is None:
            token = self._confirmations.issue("cancel_task", task.task_id)
            return Cancellation(done=False, task=summary_of(task), confirm_token=token, expires_in_s=float(VALID_S))
        self._confirmations.check(given.confirm_token, "cancel_task", task.task_id)
        task = await self._conductor.tasks.cancel(task.task_id, reason=given.reason)
        return Cancellation(done=True, task=summary_of(task), confirm_token=None, expires_in_s=None)

    async def _task(self, task_id: str) -> Task:
        if not task_id.isprintable():
            raise InvalidInput("task_id holds characters that no id has", field="task_id")
        return await self._conductor.tasks.get(TaskId(task_id))

    def _view(self, task: Task) -> Mapping[str, Any]:
        return view_of(task, self._conductor.tasks.pending_because(task))


def _metadata(given: DecideArguments) -> dict[str, int]:
    return {} if given.priority is None else {"priority": given.priority}
