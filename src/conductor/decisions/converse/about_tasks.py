"""Answers about tasks: how they stand, and why they were decided as they were."""

from collections.abc import Sequence

from conductor.decisions.converse.about_fleet import fleet_sentence
from conductor.decisions.converse.advice import advice
from conductor.decisions.converse.snapshot import FAILURES, HOUR_S, Snapshot, figures
from conductor.decisions.converse.wording import kind_words, listing, plural, shown, titled
from conductor.decisions.reasoning import article, percent, share_words
from conductor.domain.decision import Decision
from conductor.domain.device import DeviceType
from conductor.domain.task import Task, TaskState
from conductor.domain.units import format_duration

_LISTED = 5


def status_answer(snapshot: Snapshot, *, window_s: float = HOUR_S) -> str:
    """The whole installation, and what ended within the last hour or day."""
    parts = [
        f"{'Everything works' if not snapshot.problems else 'Not everything works'}: {snapshot.running} running and "
        f"{snapshot.waiting} waiting. {fleet_sentence(snapshot)}"
    ]
    window, found = "hour" if window_s == HOUR_S else "day", figures(snapshot, window_s)
    if found.total.ended:
        told = (
            f"In the last {window} {plural(found.total.ended, 'task')} ended, {found.total.failed} of them in failure."
        )
        parts.append(told if found.complete else f"Of the latest tasks: {told[:1].lower()}{told[1:]}")
    elif not snapshot.tasks:
        parts.append("There are no tasks yet.")
    else:
        parts.append(f"No task ended in the last {window}.")
    busy = snapshot.unsettled()[:_LISTED]
    lines = [f"- {titled(task)}: {_where(task)}" for task in busy]
    advised = advice(snapshot)[:1]
    return "\n".join([" ".join(parts), *lines, *advised])


def tasks_answer(tasks: tuple[Task, ...]) -> str:
    """The latest tasks, newest first, each with how it stands or ended."""
    if not tasks:
        return "There are no tasks yet; `conductor run` submits one, and so does “schedule …” in `conductor chat`."
    lines = [f"- {_settled(task) if task.is_settled else f'Task {titled(task)} is {_where(task)}.'}" for task in tasks]
    return "\n".join(["The latest tasks, the newest first (`conductor tasks list` shows more):", *lines])


def output_answer(task: Task) -> str:
    """Where the output of a task is to be had; it is not repeated here, as nobody checked what it says."""
    return f"`conductor tasks output {task.task_id}` prints all that task {titled(task)} wrote."


def repeat_answer(task: Task) -> str:
    """How a task is run again."""
    return f"`conductor tasks repeat {task.task_id}` runs task {titled(task)} again, with the same command."


def no_such_task(snapshot: Snapshot, name: str) -> str:
    """That nothing here is called so, and how to find what is."""
    known = "the latest tasks" if snapshot.reaches_back_to_unix_s else "the tasks here"
    return (
        f"There is no task “{shown(name)}” among {known}. `conductor tasks list` shows the ids; the beginning of one is "
        "enough if no other task begins so."
    )


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


def explain_answer(task: Task, asked: Sequence[DeviceType] = ()) -> str:
    """Why a task was decided as it was; `asked` are the device types that the question takes for granted."""
    decision = task.decision
    if decision is None:
        return f"Task {titled(task)} was not decided: it is {task.state}."
    lines = [f"About task {titled(task)}:", decision_answer(decision, asked)]
    if task.outcome is not None:
        lines.append(_settled(task))
    lines.append(f"`conductor explain {task.task_id}` shows the whole breakdown.")
    return "\n".join(lines)


def decision_answer(decision: Decision, asked: Sequence[DeviceType] = ()) -> str:
    """Device, runner-up, node, reasoning and the parts of the confidence."""
    shares = dict(decision.device_probabilities)
    chosen = [
        f"{article(device)}{_in_brackets(shares.get(device))}" for device in (decision.device, decision.runner_up)
    ]
    stand_in = (
        ""
        if decision.available_device is decision.device
        else f", with {article(decision.available_device)} standing in"
    )
    lines = [f"I chose {chosen[0]}{stand_in}; the runner-up was {chosen[1]}."]
    lines[0] += f" Its priority is {decision.priority}."
    if asked and not {decision.device, decision.available_device} & set(asked):
        lines[0] = f"It was not given to {article(asked[0])}. {lines[0]}"
    if decision.nodes:
        best, *others = [f"{node.node_id} (score {node.score:.2f})" for node in decision.nodes]
        lines[0] += (
            f" The best node was {best}{f', before {listing(others)}' if others else ', the only one there was'}."
        )
    return "\n".join([*lines, decision.reasoning, _sureness(decision)])


def runner_up_answer(decision: Decision, asked: Sequence[DeviceType] = ()) -> str:
    """Why not the other device (or the one `asked` about), and not the other node."""
    shares = dict(decision.device_probabilities)
    named = [device for device in asked if device in shares and device is not decision.device]
    other = named[0] if named else decision.runner_up
    sentences = []
    if decision.device in shares and other in shares:
        candidate = "The other candidate was" if other is decision.runner_up else "Further behind was"
        sentences.append(
            f"{candidate} {article(other)}: the description speaks for it with {share_words(shares[other])}, and for "
            f"{article(decision.device)} with {share_words(shares[decision.device])}."
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
        f"For “{shown(description)}” I would take {article(preview.device)} ({share_words(shares[preview.device])}), and "
        f"{article(preview.runner_up)} next ({share_words(shares[preview.runner_up])})."
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


def _in_brackets(share: float | None) -> str:
    return "" if share is None else f" ({share_words(share)})"


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
