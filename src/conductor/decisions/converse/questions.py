"""Questions about tasks: why one went where it went, how they are, and why something is slow."""

from dataclasses import replace

from conductor.decisions.converse import about_fleet, about_speed, about_tasks, mentions, wording
from conductor.decisions.converse.intents import asks_about_the_other, is_bare_why, negates
from conductor.decisions.converse.snapshot import DAY_S, FAILURES, HOUR_S, Snapshot
from conductor.decisions.converse.turn import MOST_CHOICES, State, Turn, meant, spoken_of, which
from conductor.domain.task import Task


def explain(state: State, text: str, snapshot: Snapshot) -> Turn:
    """Why a task, or the decision spoken of, went where it went."""
    asked, about_the_other = mentions.devices_named(text), asks_about_the_other(text)
    if state.decision is not None and not mentions.names_a_task(text):
        if about_the_other:
            return Turn(state=state, text=about_tasks.runner_up_answer(state.decision, asked))
        if is_bare_why(text):
            return Turn(state=state, text=about_tasks.decision_answer(state.decision))
    decided = tuple(task for task in snapshot.tasks if task.decision is not None)
    found = meant(state, text, snapshot, decided) or list(decided[:1])
    if not found:
        return Turn(
            state=state,
            text="No task has been decided yet, so there is nothing to explain. Ask which device suits some work.",
        )
    if len(found) > 1 and mentions.names_a_task(text):
        return which(state, snapshot, found, "Several tasks are called so; which do you mean?")
    task = found[0]
    state = replace(state, task_id=task.task_id, decision=task.decision)
    if about_the_other and task.decision is not None:
        said = f"About task {wording.titled(task)}:\n{about_tasks.runner_up_answer(task.decision, asked)}"
    else:
        said = about_tasks.explain_answer(task, () if negates(text) else asked)
    return Turn(state=state, text=said, tasks=(task,))


def speed(state: State, text: str, snapshot: Snapshot) -> Turn:
    """What makes things slow, by the metrics; of a named task also how it is."""
    named = tuple(meant(state, text, snapshot, ())[:1])
    lines = [*(about_tasks.task_answer(snapshot, task) for task in named), about_speed.speed_answer(snapshot, text)]
    return Turn(state=state, text="\n".join(lines), tasks=named)


def status(state: State, text: str, snapshot: Snapshot) -> Turn:
    """How the tasks or nodes that are meant are; how everything is when none is."""
    failed = tuple(task for task in snapshot.tasks if task.state in FAILURES)[:MOST_CHOICES]
    if mentions.says_failed(text) and not mentions.names_a_task(text) and not mentions.says_last(text):
        return Turn(state=state, text=about_tasks.failures_answer(failed), tasks=failed)
    said_to_have_failed = mentions.says_last(text) and mentions.says_mishap(text)
    found = meant(state, text, snapshot, failed if said_to_have_failed and failed else snapshot.tasks)
    node = mentions.node_named(text, snapshot)
    if mentions.asks_for_heat(text) and not mentions.tasks_named(text, snapshot.tasks) and node is None:
        found = []  # “how hot is it?” is not about the task spoken of
    if found and (node is None or mentions.names_a_task(text)):
        return _task_status(state, text, snapshot, tuple(found[:3]))
    if node is not None:
        return Turn(state=state, text=about_fleet.node_answer(snapshot, node))
    if mentions.asks_for_a_list(text):
        latest = snapshot.tasks[:MOST_CHOICES]
        return Turn(state=state, text=about_tasks.tasks_answer(latest), tasks=latest)
    if mentions.asks_for_readings(text):
        return Turn(state=state, text=about_fleet.readings_answer(snapshot, heat=mentions.asks_for_heat(text)))
    said = about_tasks.status_answer(snapshot, window_s=DAY_S if mentions.says_day(text) else HOUR_S)
    return Turn(state=state, text=said, tasks=snapshot.unsettled()[:MOST_CHOICES])


def _task_status(state: State, text: str, snapshot: Snapshot, found: tuple[Task, ...]) -> Turn:
    if mentions.asks_for_output(text):
        return Turn(state=spoken_of(state, found[0]), text=about_tasks.output_answer(found[0]), tasks=found[:1])
    said = "\n".join(about_tasks.task_answer(snapshot, task) for task in found)
    return Turn(state=spoken_of(state, found[0]), text=said, tasks=found)
