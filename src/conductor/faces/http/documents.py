"""The JSON documents of the HTTP face: what is sent in, and views of the domain that go out."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from conductor.domain.attachment import MOST_ATTACHMENTS, Attachment
from conductor.domain.decision import Decision
from conductor.domain.errors import InvalidInput
from conductor.domain.event import TaskEvent, TaskOutput
from conductor.domain.outcome import Outcome
from conductor.domain.task import Submission, Task, TaskState, UserId
from conductor.domain.workload import Limits, Workload

#: Large enough for every description the domain takes; the domain tells what is too long.
_Text = Annotated[str, Field(max_length=1_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)  # JSON has types: `true` is no number


class LimitsIn(_Strict):
    """The slice a task may use; what is left out takes the settings' value."""

    memory_bytes: int | None = Field(None, gt=0, le=2**50)
    wall_time_s: float | None = Field(None, gt=0, le=31_536_000, allow_inf_nan=False)
    cpu_time_s: float | None = Field(None, gt=0, le=31_536_000, allow_inf_nan=False)
    output_bytes: int | None = Field(None, gt=0, le=2**40)
    processes: int | None = Field(None, gt=0, le=2**20)
    network: bool | None = None


class WorkloadIn(_Strict):
    """What to execute: a kind and its own specification."""

    kind: str = Field(max_length=100, examples=["command"])
    spec: dict[str, Any] = Field(default_factory=dict, examples=[{"command": ["ffmpeg", "-version"]}])
    limits: LimitsIn = Field(default_factory=LimitsIn)

    def to_domain(self, defaults: Limits) -> Workload:
        """The workload, with limits completed from the settings."""
        chosen = {name: value for name, value in self.limits.model_dump().items() if value is not None}
        complete = {name: chosen.get(name, getattr(defaults, name)) for name in Limits.__dataclass_fields__}
        return Workload(kind=self.kind, spec=self.spec, limits=Limits(**complete))


class SubmissionIn(_Strict):
    """A task in plain words, and what to execute for it."""

    description: _Text = Field(examples=["Encode this clip to H.264"])
    workload: WorkloadIn | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    priority: int | None = Field(None, ge=1, le=5, description="1 critical … 5 low; decided from the text if absent")
    user_id: str = Field("local", min_length=1, max_length=200)
    idempotency_key: str | None = Field(None, min_length=1, max_length=255)
    max_retries: int | None = Field(None, ge=0, le=100)
    attachments: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list,
        max_length=MOST_ATTACHMENTS,
        description="ids of files that this user sent with POST /v1/attachments",
    )

    def to_domain(
        self, defaults: Limits, idempotency_key: str | None = None, attachments: tuple[Attachment, ...] = ()
    ) -> Submission:
        """The submission as the application takes it.

        Raises:
            InvalidInput: two different idempotency keys, or a description that cannot be used.
        """
        if idempotency_key and self.idempotency_key and idempotency_key != self.idempotency_key:
            raise InvalidInput(
                "the header Idempotency-Key and the field idempotency_key differ; send one", field="idempotency_key"
            )
        metadata = dict(self.metadata)
        if self.priority is not None:
            metadata["priority"] = self.priority
        return Submission(
            description=self.description,
            workload=None if self.workload is None else self.workload.to_domain(defaults),
            metadata=metadata,
            user_id=UserId(self.user_id),
            idempotency_key=self.idempotency_key or idempotency_key,
            max_retries=self.max_retries,
            attachments=attachments,
        )


class TaskOut(BaseModel):
    """A task as it stands now."""

    task_id: str
    state: TaskState
    settled: bool
    description: str
    user_id: str
    workload: Workload | None
    metadata: dict[str, Any]
    submitted_at_unix_s: float
    updated_at_unix_s: float
    attempt: int
    node_id: str | None
    decision: Decision | None
    outcome: Outcome | None
    attachments: list[Attachment] = []
    pending_because: dict[str, Any] | None = None

    @classmethod
    def of(cls, task: Task, pending: dict[str, Any] | None = None) -> "TaskOut":
        """The view of one task; `pending` says why it waits."""
        submission = task.submission
        return cls.model_construct(
            task_id=task.task_id,
            state=task.state,
            settled=task.is_settled,
            description=submission.description,
            user_id=submission.user_id,
            workload=submission.workload,
            metadata=dict(submission.metadata),
            submitted_at_unix_s=task.submitted_at_unix_s,
            updated_at_unix_s=task.updated_at_unix_s,
            attempt=task.attempt,
            node_id=task.node_id,
            decision=task.decision,
            outcome=task.outcome,
            attachments=list(submission.attachments),
            pending_because=pending,
        )


class TaskList(BaseModel):
    """Tasks, newest first; `next_before` continues the listing."""

    tasks: list[TaskOut]
    next_before: str | None


class EventList(BaseModel):
    """All transitions of one task, oldest first."""

    events: list[TaskEvent]


def event_of(item: TaskEvent | TaskOutput) -> tuple[str, dict[str, Any]]:
    """Name and data of a server-sent event."""
    if isinstance(item, TaskOutput):
        return "output", {"stream": item.stream, "text": item.text}
    return "state", {"state": item.state, "at_unix_s": item.at_unix_s, "detail": dict(item.detail)}
