"""Turn a finished task into the experience that later decisions learn from.

Not every ending teaches something: a task that was cancelled, or whose program does not exist, says nothing about the
device it was meant for. Storing experiences is an adapter's business, weighing them is `evidence`'s.
"""

from typing import Final

from conductor.decisions.facts import Request
from conductor.decisions.ports import Experience
from conductor.domain.decision import Decision
from conductor.domain.device import DeviceType
from conductor.domain.outcome import Ending, Outcome

_NOTHING_LEARNED: Final = frozenset({Ending.CANCELLED, Ending.CANNOT_START})


def teaches(outcome: Outcome) -> bool:
    """Whether the ending says anything about how such work goes."""
    return outcome.ending not in _NOTHING_LEARNED


def experience_of(decision: Decision, outcome: Outcome, request: Request) -> Experience:
    """What is remembered of one attempt."""
    return Experience(
        task_id=decision.task_id,
        description=request.analysis.description,
        embedding=request.analysis.embedding,
        device=decision.device,
        available_device=decision.available_device,
        task_kind=decision.task_kind,
        signature=request.signature,
        sizes=request.sizes,
        node_id=outcome.node_id,
        succeeded=outcome.succeeded,
        duration_s=outcome.duration_s,
        compute_units=_compute_units(decision, outcome),
        predicted_duration_s=decision.duration_s.value,
        confidence=decision.confidence,
        at_unix_s=outcome.started_at_unix_s + outcome.duration_s,
    )


def _compute_units(decision: Decision, outcome: Outcome) -> float:
    """Cores kept busy, where the work ran on a processor; other devices do not tell, and the estimate stands."""
    if decision.available_device is DeviceType.CPU and outcome.cpu_time_s > 0 and outcome.duration_s > 0:
        return outcome.cpu_time_s / outcome.duration_s
    return decision.compute_units.value
