"""A task, its life as a pure state machine, and its four priority levels."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, NewType, Self

from conductor.domain.attachment import MOST_ATTACHMENTS, Attachment
from conductor.domain.decision import Decision
from conductor.domain.errors import InvalidInput, InvalidTransition
from conductor.domain.json import JsonObject
from conductor.domain.outcome import Outcome
from conductor.domain.plain_data import check_name, check_plain, check_text
from conductor.domain.workload import Workload

TaskId = NewType("TaskId", str)
UserId = NewType("UserId", str)

MAX_DESCRIPTION_CHARACTERS: Final = 100_000
LOCAL_USER: Final = UserId("local")


class TaskState(StrEnum):
    """Where a task is on its road."""

    __hash__ = str.__hash__  # an enumeration's own is written in Python, and every transition asks for it ten times

    SUBMITTED = "submitted"
    DECIDED = "decided"
    QUEUED = "queued"
    PLACED = "placed"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"


#: `failed` ends a task whose failure a retry cannot change; `dead` ends one whose retries are used up.
FINAL: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.DEAD})

#: What may follow what. A running or placed task goes back to `queued` when an attempt is to be repeated.
TRANSITIONS: Final = MappingProxyType(
    {
        TaskState.SUBMITTED: frozenset({TaskState.DECIDED, TaskState.FAILED, TaskState.CANCELLED}),
        TaskState.DECIDED: frozenset({TaskState.QUEUED, TaskState.FAILED, TaskState.CANCELLED}),
        TaskState.QUEUED: frozenset({TaskState.PLACED, TaskState.FAILED, TaskState.CANCELLED, TaskState.DEAD}),
        TaskState.PLACED: frozenset(
            {TaskState.RUNNING, TaskState.QUEUED, TaskState.FAILED, TaskState.CANCELLED, TaskState.DEAD}
        ),
        TaskState.RUNNING: frozenset(
            {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.DEAD, TaskState.QUEUED}
        ),
        TaskState.SUCCEEDED: frozenset(),
        TaskState.FAILED: frozenset(),
        TaskState.CANCELLED: frozenset(),
        TaskState.DEAD: frozenset(),
    }
)


class Level(IntEnum):
    """The four scheduling levels; a smaller number is served with more weight."""

    CRITICAL = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3

    @classmethod
    def of_priority(cls, priority: int) -> "Level":
        """Map priority 1–5 to a level: 1 critical, 2 high, 3 medium, 4 and 5 low."""
        if not 1 <= priority <= 5:
            raise InvalidInput(f"priority is {priority}; it must be 1 (critical) to 5 (low)", field="priority")
        return cls(min(priority - 1, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a user asks for.

    Args:
        description: the work in plain words, 1 to 100,000 characters.
        workload: what to execute; without one the task is decided and goes no further.
        metadata: free facts about the task; `priority` (1–5 or a level's name), `node` (pin to one), `deadline_unix_s`
            and `quantity` are understood, everything else is kept as it is.
        user_id: on whose account it runs.
        idempotency_key: the same key from the same user always names the same task.
        max_retries: further attempts after the first; None takes the setting.
        attachments: files it carries, each name once; at most 16.
    """

    description: str
    workload: Workload | None = None
    metadata: JsonObject = field(default_factory=dict)
    user_id: UserId = LOCAL_USER
    idempotency_key: str | None = None
    max_retries: int | None = None
    attachments: tuple[Attachment, ...] = ()

    def __post_init__(self) -> None:
        text = self.description
        if not text.strip():
            raise InvalidInput("description is empty; say in a few words what the task does", field="description")
        if len(text) > MAX_DESCRIPTION_CHARACTERS:
            raise InvalidInput(
                f"description has {len(text):,} characters; at most {MAX_DESCRIPTION_CHARACTERS:,} are taken: "
                "put the data into the workload and describe the work in a sentence or two",
                field="description",
            )
        if not text.isprintable() and any(ch < " " and ch not in "\t\n\r" for ch in text):
            raise InvalidInput(
                "description contains control characters, as binary data does; send text", field="description"
            )
        check_text(text, field="description")
        check_plain(self.metadata, field="metadata")
        check_name(self.user_id, field="user_id", longest=200)
        if self.idempotency_key is not None:
            check_name(self.idempotency_key, field="idempotency_key", longest=255)
        if self.max_retries is not None and self.max_retries < 0:
            raise InvalidInput(f"max_retries is {self.max_retries}; it must be 0 or more", field="max_retries")
        if self.attachments:
            _check_attachments(self.attachments)


def _check_attachments(attachments: tuple[Attachment, ...]) -> None:
    if len(attachments) > MOST_ATTACHMENTS:
        raise InvalidInput(
            f"{len(attachments)} files are attached; at most {MOST_ATTACHMENTS} are taken: put them into one archive",
            field="attachments",
        )
    names = [attachment.name for attachment in attachments]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f"two attachments are called {twice!r}; give each a name of its own", field="attachments")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One request and where it stands; changes only through `advance`."""

    task_id: TaskId
    submission: Submission
    state: TaskState
    submitted_at_unix_s: float
    updated_at_unix_s: float
    attempt: int = 0
    decision: Decision | None = None
    outcome: Outcome | None = None
    node_id: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen: a final state, or decided with nothing to execute."""
        return self.state in FINAL or (self.state is TaskState.DECIDED and self.submission.workload is None)

    def advance(
        self,
        state: TaskState,
        *,
        at_unix_s: float,
        decision: Decision | None = None,
        outcome: Outcome | None = None,
        node_id: str | None = None,
    ) -> Self:
        """Return the task in its next state; entering `running` begins a new attempt.

        Time never runs backwards for a task: if the clock jumped back, the last known time is kept.

        Raises:
            InvalidTransition: `state` cannot follow the present one.
        """
        if state not in TRANSITIONS[self.state]:
            raise InvalidTransition(
                f"task {self.task_id} is {self.state} and cannot become {state}",
                details={"task_id": self.task_id, "from": self.state, "to": state},
            )
        return type(self)(  # `replace` would cost three times as much, on the hottest path there is
            task_id=self.task_id,
            submission=self.submission,
            state=state,
            submitted_at_unix_s=self.submitted_at_unix_s,
            updated_at_unix_s=max(at_unix_s, self.updated_at_unix_s),
            attempt=self.attempt + (state is TaskState.RUNNING),
            decision=decision or self.decision,
            outcome=outcome or self.outcome,
            node_id=node_id or self.node_id,
        )
