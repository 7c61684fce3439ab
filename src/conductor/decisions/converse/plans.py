"""What waits for a person's yes: a plan exactly as it was shown, and the token that confirms this plan and no other.

The token carries the digest of the shown plan behind a random part, belongs to one conversation, works once and for
ten minutes. Saying yes in any words confirms the plan that the same conversation shows, never more. Whether a plan
still holds when the yes arrives is decided here too; if it does not, it is shown again.

Not covered: who may execute (the faces' gate and `app`), executing.
"""

import hashlib
import hmac
import json
import shlex
from dataclasses import dataclass
from typing import Final

from conductor.domain.decision import Decision, Estimate
from conductor.domain.device import DeviceType
from conductor.domain.intent import Intent
from conductor.domain.task import Task, TaskState

VALID_S: Final = 600.0
#: A prediction may drift this much, either way, between plan and yes before the plan counts as another one.
_DRIFT: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done, as shown.

    `action` is `schedule_task` or `cancel_task`. To schedule: description, command (empty: nothing can run, it is
    decided and recorded), device, node, priority, duration. To cancel: the task's id, description and state.
    """

    action: Intent
    description: str
    command: tuple[str, ...] = ()
    task_id: str = ""
    state: TaskState | None = None
    device: DeviceType | None = None
    runs_on: DeviceType | None = None
    node: str = ""
    priority: int | None = None
    duration_s: Estimate | None = None

    @property
    def command_line(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.command)

    def digest(self) -> str:
        """SHA-256 over every field, lowercase hex."""
        duration = self.duration_s and (self.duration_s.value, self.duration_s.low, self.duration_s.high)
        shown = [
            self.action, self.description, self.command, self.task_id, self.state, self.device, self.runs_on, self.node,
            self.priority, duration,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A plan that was shown and not answered yet."""

    plan: Plan
    token: str
    expires_at_s: float

    def is_confirmed_by(self, token: str) -> bool:
        """Whether this token was made for exactly this plan; compared in constant time."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode()) and token.endswith(
            self.plan.digest()
        )


def pending(plan: Plan, *, nonce: str, now_s: float) -> Pending:
    """Let a plan wait for its yes; `nonce` is random, `now_s` monotonic."""
    return Pending(plan=plan, token=f"{nonce}.{plan.digest()}", expires_at_s=now_s + VALID_S)


def plan_to_schedule(description: str, command: tuple[str, ...], preview: Decision) -> Plan:
    """The plan that a preview of the decision amounts to."""
    return Plan(
        action=Intent.SCHEDULE_TASK,
        description=description,
        command=command,
        device=preview.device,
        runs_on=preview.available_device,
        node=preview.nodes[0].node_id if preview.nodes else "",
        priority=preview.priority,
        duration_s=preview.duration_s,
    )


def plan_to_cancel(task: Task) -> Plan:
    """The plan to cancel one task."""
    return Plan(
        action=Intent.CANCEL_TASK,
        task_id=task.task_id,
        description=task.submission.description,
        state=task.state,
        node=task.node_id or "",
    )


def still_holds(shown: Plan, now: Plan) -> bool:
    """Whether what would happen now is what was shown."""
    if shown.action is Intent.CANCEL_TASK:
        return shown.task_id == now.task_id  # that it went from queued to running meanwhile changes nothing about it
    same = (shown.description, shown.command, shown.device, shown.runs_on, shown.node, shown.priority) == (
        now.description, now.command, now.device, now.runs_on, now.node, now.priority,
    )  # fmt: skip
    if shown.duration_s is None or now.duration_s is None:
        return same
    low, high = sorted((max(shown.duration_s.value, 1e-6), max(now.duration_s.value, 1e-6)))
    return same and high / low <= _DRIFT
