"""Answers of tools as forms: what a model needs to know of a task, a decision, a node, in few words and bounded length.

The HTTP face tells everything; a model that reads an answer pays for each word of it. Nothing here is computed: the views
are cut from what the use cases return. Secrets in addresses are masked.
"""

from collections.abc import Mapping
from typing import Any, Final

from typing_extensions import TypedDict

from conductor.domain.decision import Decision, Estimate
from conductor.domain.outcome import Outcome
from conductor.domain.redaction import without_secrets
from conductor.domain.task import Task
from conductor.scheduling.pending import Pending

_DESCRIPTION_CHARACTERS: Final = 500
_COMMAND_WORDS: Final = 100
_WORD_CHARACTERS: Final = 500
_RESULT_CHARACTERS: Final = 20_000


class EstimateView(TypedDict):
    """A predicted quantity with the interval that holds it with 80 % probability."""

    value: float
    low: float
    high: float


class ChosenNode(TypedDict):
    """Where a node stands in a decision."""

    node_id: str
    score: float
    remark: str


class DecisionView(TypedDict):
    """Where and how a task runs, and why. Priority is 1 (critical) to 5 (low), confidence 0 to 1."""

    device: str
    available_device: str
    kind: str
    priority: int
    confidence: float
    duration_s: EstimateView
    compute_units: EstimateView
    nodes: list[ChosenNode]
    reasoning: str


class OutcomeView(TypedDict):
    """How an attempt ended, with the end of what it printed."""

    ending: str
    message: str
    node_id: str
    duration_s: float
    peak_memory_bytes: int
    exit_code: int | None
    result: Any
    stdout_tail: str
    stderr_tail: str
    output_bytes: int


class TaskSummary(TypedDict):
    """A task in a listing; long descriptions are cut."""

    task_id: str
    state: str
    settled: bool
    description: str
    submitted_at_unix_s: float
    node_id: str | None
    message: str


class TaskView(TaskSummary):
    """A task as it stands now. `waits_because` says why it does not run yet."""

    workload_kind: str | None
    command: list[str]
    attempt: int
    decision: DecisionView | None
    outcome: OutcomeView | None
    waits_because: str


def summary_of(task: Task) -> TaskSummary:
    """The view of a task in a listing."""
    return TaskSummary(
        task_id=task.task_id,
        state=task.state.value,
        settled=task.is_settled,
        description=_cut(without_secrets(task.submission.description), _DESCRIPTION_CHARACTERS),
        submitted_at_unix_s=task.submitted_at_unix_s,
        node_id=task.node_id,
        message="" if task.outcome is None else task.outcome.message,
    )


def view_of(task: Task, pending: Pending | None) -> TaskView:
    """The view of one task; `pending` says why it waits."""
    workload = task.submission.workload
    return TaskView(
        **summary_of(task),
        workload_kind=None if workload is None else workload.kind,
        command=[] if workload is None else _command(workload.spec),
        attempt=task.attempt,
        decision=None if task.decision is None else decision_view(task.decision),
        outcome=None if task.outcome is None else _outcome_view(task.outcome),
        waits_because="" if pending is None else pending.sentence,
    )


def decision_view(decision: Decision) -> DecisionView:
    """The view of a decision."""
    return DecisionView(
        device=decision.device.value,
        available_device=decision.available_device.value,
        kind=decision.task_kind.value,
        priority=decision.priority,
        confidence=_rounded(decision.confidence),
        duration_s=_estimate(decision.duration_s),
        compute_units=_estimate(decision.compute_units),
        nodes=[ChosenNode(node_id=node.node_id, score=node.score, remark=node.remark) for node in decision.nodes],
        reasoning=decision.reasoning,
    )


def _outcome_view(outcome: Outcome) -> OutcomeView:
    result = outcome.result
    if len(repr(result)) > _RESULT_CHARACTERS:
        result = f"larger than {_RESULT_CHARACTERS:,} characters; GET /v1/tasks/TASK_ID has it"
    return OutcomeView(
        ending=outcome.ending.value,
        message=outcome.message,
        node_id=outcome.node_id,
        duration_s=outcome.duration_s,
        peak_memory_bytes=outcome.peak_memory_bytes,
        exit_code=outcome.exit_code,
        result=result,
        stdout_tail=outcome.stdout_tail,
        stderr_tail=outcome.stderr_tail,
        output_bytes=outcome.output_bytes,
    )


def _estimate(estimate: Estimate) -> EstimateView:
    return EstimateView(value=_rounded(estimate.value), low=_rounded(estimate.low), high=_rounded(estimate.high))


def _rounded(value: float) -> float:
    """To four significant digits: an estimate knows no more, and each digit costs."""
    return float(f"{value:.4g}")


def _command(spec: Mapping[str, Any]) -> list[str]:
    words = spec.get("command")
    if not isinstance(words, list | tuple):
        return []
    return [_cut(without_secrets(str(word)), _WORD_CHARACTERS) for word in words[:_COMMAND_WORDS]]


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"
