"""Answers about tasks: how they stand, and why they were decided as they were."""

from conductor.decisions.converse.about_fleet import fleet_sentence
from conductor.decisions.converse.advice import advice
from conductor.decisions.converse.snapshot import FAILURES, HOUR_S, Snapshot, figures
from conductor.decisions.converse.wording import kind_words, plural, shown, titled
from conductor.decisions.reasoning import article, percent
from conductor.domain.decision import Decision
from conductor.domain.task import Task, TaskState
from conductor.domain.units import format_duration

_LISTED = 5


def status_answer(snapshot: Snapshot) -> str:
    """The whole installation."""
    parts = [
        f"{'Everything works' if not snapshot.problems else 'Not everything works'}: {snapshot.running} running and "
        f"{snapshot.waiting} waiting. {fleet_sentence(snapshot)}"
    ]
    hour = figures(snapshot, HOUR_S).total
    if hour.ended:
        parts.append(f"In the last hour {plural(hour.ended, 'task')} ended, {hour.failed} of them in failure.")
    elif not snapshot.tasks:
        parts.append("There are no tasks yet.")
    else:
        parts.append("No task ended in the last hour.")
    busy = snapshot.unsettled()[:_LISTED]
    lines = [f"- {titled(task)}: {_where(task)}" for task in busy]
    advised = advice(snapshot)[:1]
    return "\n".join([" ".join(parts), *lines, *advised])


def failures_answer(failed: tuple[Task, ...]) -> str:
    """The latest tasks that failed, newest first, each with how it ended."""
    if not failed:
        return "Among the latest tasks none failed."
    return "\n".join(["These failed, the newest first:", *(f"- {_settled(task)}" for task in failed)])


def task_answer(snapshot: Snapshot, task: Task) -> str:
    """How one task stands, and why."""
    if task.is_settled:
        return _settled(task)
    reason = snapshot.pending.get(task.task_id)
    head = f"Task {titled(task)} is {_where(task)}."
    if reason and task.state is TaskState.QUEUED:
        return f"{head}\n{reason}"
    if task.decision is not None:
        return f"{head} I expected it to take {format_duration(task.decision.duration_s.value)}."
    return head


def explain_answer(task: Task) -> str:
    """Why a task was decided as it was."""
    decision = task.decision
    if decision is None:
        return f"Task {titled(task)} was not decided: it is {task.state}."
    lines = [f"About task {titled(task)}:", decision.reasoning, _sureness(decision)]
    if task.outcome is not None:
        lines.append(_settled(task))
    lines.append(f"`conductor explain {task.task_id}` shows the whole breakdown.")
    return "\n".join(lines)


def runner_up_answer(decision: Decision) -> str:
    """Why not the other device, and not the other node."""
    shares = dict(decision.device_probabilities)
    chosen, other = shares.get(decision.device), shares.get(decision.runner_up)
    sentences = []
    if chosen is not None and other is not None:
        sentences.append(
            f"The other candidate was {article(decision.runner_up)}: the description speaks for it with "
            f"{percent(other)}, and for {article(decision.device)} with {percent(chosen)}."
        )
    if decision.available_device is not decision.device:
        sentences.append(
            f"The fleet has no {decision.device} to give at the moment, so {article(decision.available_device)} stands in."
        )
    if len(decision.nodes) > 1:
        best, second = decision.nodes[:2]
        sentences.append(
            f"Among the nodes {second.node_id} came next: {second.score:.2f} against {best.score:.2f} for {best.node_id}."
        )
    elif decision.nodes:
        sentences.append(f"Among the nodes there was no other choice: only {decision.nodes[0].node_id} can take it.")
    return " ".join(sentences)


def device_answer(description: str, preview: Decision) -> str:
    """Which device is best for some work, going by what a decision about it would be."""
    shares = dict(preview.device_probabilities)
    sentences = [
        f"For “{shown(description)}” I would take {article(preview.device)} ({percent(shares[preview.device])}), and "
        f"{article(preview.runner_up)} next ({percent(shares[preview.runner_up])})."
    ]
    if preview.available_device is not preview.device:
        sentences.append(
            f"There is no {preview.device} in this fleet now; {article(preview.available_device)} is the best it has."
        )
    if preview.nodes:
        named = ", ".join(f"{node.node_id} (score {node.score:.2f})" for node in preview.nodes)
        sentences.append(f"It would fit best on {named}.")
    else:
        sentences.append("No node could take it now.")
    return "\n".join([" ".join([*sentences, _sureness(preview)]), preview.reasoning])


def _sureness(decision: Decision) -> str:
    parts = decision.parts
    return (
        f"My confidence is {percent(decision.confidence)} (similar tasks {percent(parts.similarity)}, success on this "
        f"device {percent(parts.device_success)}, nodes free {percent(parts.node_availability)}, resources free "
        f"{percent(parts.resource_availability)})."
    )


def _where(task: Task) -> str:
    on = f" on {task.node_id}" if task.node_id and task.state in (TaskState.PLACED, TaskState.RUNNING) else ""
    kind = f" ({kind_words(task.decision.task_kind)})" if task.decision else ""
    return f"{task.state}{on}{kind}"


def _settled(task: Task) -> str:
    outcome = task.outcome
    if task.state is TaskState.DECIDED:
        return f"Task {titled(task)} was decided only: it came with nothing to execute."
    if outcome is None:
        return f"Task {titled(task)} is {task.state}."
    if task.state is TaskState.SUCCEEDED:
        expected = (
            "" if task.decision is None else f", where {format_duration(task.decision.duration_s.value)} was expected"
        )
        return f"Task {titled(task)} succeeded on {outcome.node_id} in {format_duration(outcome.duration_s)}{expected}."
    word = "failed" if task.state in FAILURES else str(task.state)
    return f"Task {titled(task)} {word} after {format_duration(outcome.duration_s)}: “{shown(outcome.message)}”"
