"""Who hears of what: transitions of tasks, changed settings, and gauges that are read when somebody looks."""

import asyncio
from functools import partial

from conductor.app.compose.execution import Execution, queue_rules, retry_policy
from conductor.app.compose.parts import Parts
from conductor.app.conductor import Conductor
from conductor.app.logs import configure_logging
from conductor.app.settings.model import Settings
from conductor.domain.event import TaskEvent
from conductor.domain.node import NodeId
from conductor.domain.task import FINAL, Task, TaskState
from conductor.fleet.performance import PerformanceBook


def listen(parts: Parts, conductor: Conductor) -> None:
    """Connect everything that hears of others; the order of listeners is the order in which they hear."""
    transitions, ends = parts.execution.transitions, FINAL | {TaskState.DECIDED}
    transitions.listen(parts.record.keeper.on_transition, ends)
    transitions.listen(conductor.tasks.on_transition, ends)
    transitions.listen(parts.execution.live.on_transition)
    transitions.listen(conductor.metrics.on_transition)
    transitions.listen(partial(_observe_performance, parts.fleet.performance), FINAL | {TaskState.QUEUED})
    parts.serving.journal.listen(conductor.metrics.calls.on_calls)
    parts.serving.relayed.listen(conductor.metrics.calls.on_group)
    if parts.serving.cache is not None:
        conductor.metrics.count_answers(parts.serving.cache.levels)
    conductor.metrics.count_ahead(parts.serving.lifetimes.ahead.tallies)
    _offer_gauges(parts, conductor)
    parts.foundation.configuration.on_change(partial(_apply, parts.execution))


def _observe_performance(book: PerformanceBook, task: Task, event: TaskEvent) -> None:
    """Every attempt that ended tells something about its node, unless it took no time."""
    # A task that goes back to the queue tells how its attempt ended; one that a restart puts there ran no attempt.
    ended = event.state in FINAL or (event.state is TaskState.QUEUED and "ending" in event.detail)
    if ended and task.outcome is not None and task.outcome.duration_s and task.decision is not None:
        book.observe(
            NodeId(task.outcome.node_id),
            task.outcome.ending,
            duration_s=task.outcome.duration_s,
            predicted_duration_s=task.decision.duration_s.value,
        )


def _offer_gauges(parts: Parts, conductor: Conductor) -> None:
    gauge, dispatcher = conductor.metrics.gauge, parts.execution.dispatcher
    committer, ledger = parts.foundation.committer, parts.record.keeper.ledger
    gauge("conductor_queue_depth", "Tasks that wait", lambda: dispatcher.waiting)
    gauge("conductor_tasks_running", "Attempts under way", lambda: dispatcher.running)
    gauge("conductor_store_commits", "Group commits since the start", lambda: committer.commits)
    gauge("conductor_ledger_entries", "Entries of the ledger", lambda: ledger.next_index)
    gauge("conductor_ledger_pending", "Entries not sealed yet", lambda: ledger.pending)
    loop = asyncio.get_running_loop()
    gauge("conductor_event_loop_tasks", "Tasks of the server's event loop", lambda: len(asyncio.all_tasks(loop)))


def _apply(execution: Execution, changed: Settings) -> None:
    """Bring changed settings into effect where they are more than a value that is asked for each time."""
    configure_logging(changed)
    execution.queue.rules = queue_rules(changed)
    execution.dispatcher.retry = retry_policy(changed)
