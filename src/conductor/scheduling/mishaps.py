"""Outcomes of attempts that did not end by themselves: cancelled by someone, or broken by a fault of their executor.

Pure: what happened goes in, the record of it comes out. Whether a broken attempt is repeated is `retry`'s. Not covered:
outcomes that an executor reports, failures included.
"""

from conductor.domain.errors import InvalidInput
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Task


def cancelled(task: Task, *, started_at_unix_s: float, now_unix_s: float) -> Outcome:
    """What is recorded of an attempt that was cancelled and has ended."""
    return Outcome(
        ending=Ending.CANCELLED,
        message="cancelled while it was running; all of its processes have ended",
        node_id=NodeId(task.node_id or ""),
        started_at_unix_s=started_at_unix_s,
        duration_s=max(0.0, now_unix_s - started_at_unix_s),
    )


def broken(task: Task, error: Exception, *, started_at_unix_s: float, now_unix_s: float) -> Outcome:
    """What is recorded of an attempt whose executor raised an error instead of reporting an outcome.

    Input that cannot be used (a kind that is no longer installed) would be refused again and is not retryable.
    """
    refused = isinstance(error, InvalidInput)
    kind = task.submission.workload.kind if task.submission.workload is not None else ""
    fault = f"the workload kind {kind!r} failed by a fault of its own: {type(error).__name__}: {error}; see the log"
    return Outcome(
        ending=Ending.CANNOT_START if refused else Ending.EXCEPTION,
        message=str(error) if refused else fault,
        node_id=NodeId(task.node_id or ""),
        started_at_unix_s=started_at_unix_s,
        duration_s=max(0.0, now_unix_s - started_at_unix_s),
    )
