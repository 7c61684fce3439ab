"""Lead a conversation: from what was said before, an utterance and what is known now, to a reply and at most one deed.

Pure: the caller reads the intent, takes the snapshot, previews the decision that `wanted` asks for, executes what the
turn allows, and checks every reply with `traceable`. A deed leaves here only as the answer to a yes, for the plan that
this conversation shows; whatever a text says, it can at most have a plan shown.

Covered: following on (last task, last decision), one plan at a time; a plan is set aside by whatever is said instead
of yes or no. Not covered: several tasks in one plan.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from conductor.decisions.converse import (
    about_fleet,
    about_speed,
    about_tasks,
    mentions,
    plans,
    small_talk,
    wording,
)
from conductor.decisions.converse.intents import asks_about_the_other, is_bare_why, negates
from conductor.decisions.converse.plans import Pending, Plan
from conductor.decisions.converse.snapshot import DAY_S, FAILURES, HOUR_S, Snapshot
from conductor.domain.decision import Decision
from conductor.domain.intent import Intent
from conductor.domain.task import Task
from conductor.domain.units import format_duration

_MOST_CHOICES = 5
_ABOUT_TASKS = frozenset({Intent.STATUS, Intent.EXPLAIN_DECISION, Intent.CANCEL_TASK, Intent.PERFORMANCE_ANALYSIS})


class Heard(StrEnum):
    """How an utterance relates to the plan that waits."""

    YES = "yes"
    NO = "no"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a conversation remembers."""

    intent: Intent | None = None
    task_id: str | None = None
    decision: Decision | None = None
    pending: Pending | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A decision to be previewed: work in plain words and the command quoted for it (may be empty)."""

    description: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer.

    Args:
        state: what to remember.
        text: the reply, not yet checked.
        tasks: the tasks it speaks of; their figures may be said, and those of `state.decision` and the pending plan.
        echoes: words of the person that it repeats, as they stand between “ ”.
        deed: a confirmed plan, to be executed now; its result is told by `done`.
    """

    state: State
    text: str
    tasks: tuple[Task, ...] = ()
    echoes: tuple[str, ...] = ()
    deed: Plan | None = None


def hear(state: State, text: str, token: str | None) -> Heard:
    """Whether this is a yes or a no to what waits; a token that fits says yes whatever the text."""
    if token is not None and state.pending is not None and state.pending.is_confirmed_by(token):
        return Heard.YES
    if wording.says_yes(text):
        return Heard.YES
    return Heard.NO if wording.says_no(text) else Heard.OTHER


def wanted(state: State, text: str, heard: Heard, intent: Intent) -> Wanted | None:
    """The decision that has to be previewed before `respond` can answer."""
    if heard is Heard.YES:
        plan = state.pending.plan if state.pending else None
        scheduling = plan is not None and plan.action is Intent.SCHEDULE_TASK
        return Wanted(description=plan.description, command=plan.command) if plan and scheduling else None
    if heard is Heard.NO:
        return None
    if intent is Intent.SCHEDULE_TASK:
        return Wanted(description=mentions.work_in(text), command=mentions.command_in(text))
    return Wanted(description=mentions.subject_in(text)) if intent is Intent.DEVICE_ADVICE else None


def respond(
    state: State,
    text: str,
    heard: Heard,
    intent: Intent,
    snapshot: Snapshot,
    preview: Decision | None,
    *,
    nonce: str,
    now_s: float,
) -> Turn:
    """Answer one utterance.

    Args:
        preview: of what `wanted` asked for.
        nonce: random and new, for the token of a plan that this turn may show.
        now_s: monotonic.
    """
    if heard is Heard.YES:
        return _confirmed(state, snapshot, preview, nonce=nonce, now_s=now_s)
    if heard is Heard.NO:
        said = "All right, I leave it." if state.pending else "All right. Nothing was waiting for an answer."
        return Turn(state=replace(state, pending=None), text=said)
    state = replace(state, pending=None, intent=intent)
    unknown = mentions.name_of_no_task(text, snapshot.tasks) if intent in _ABOUT_TASKS else None
    if unknown is not None:
        said = about_tasks.no_such_task(snapshot, unknown)
        return Turn(state=state, text=said, echoes=(wording.shown(unknown),))
    match intent:
        case Intent.SCHEDULE_TASK if preview is not None:
            asked = wanted(state, text, heard, intent)
            assert asked is not None
            instead = _instead_of_a_plan(state, text, asked, snapshot)
            return instead or _shown(
                state, plans.plan_to_schedule(asked.description, asked.command, preview), preview, nonce, now_s
            )
        case Intent.DEVICE_ADVICE if preview is not None:
            subject = mentions.subject_in(text)
            said = about_tasks.device_answer(subject, preview)
            return Turn(state=replace(state, decision=preview), text=said, echoes=(wording.shown(subject),))
        case Intent.CANCEL_TASK:
            return _cancel(state, text, snapshot, nonce=nonce, now_s=now_s)
        case Intent.EXPLAIN_DECISION:
            return _explain(state, text, snapshot)
        case Intent.STATUS:
            return _status(state, text, snapshot)
        case Intent.PERFORMANCE_ANALYSIS:
            return _speed(state, text, snapshot)
        case Intent.LIST_NODES:
            return Turn(state=state, text=about_fleet.nodes_answer(snapshot))
        case Intent.LIST_MODELS:
            return Turn(state=state, text=about_fleet.models_answer(snapshot))
        case _:
            return Turn(state=state, text=small_talk.off_topic_answer(snapshot, text))


def done(state: State, plan: Plan, task: Task) -> Turn:
    """Tell what a confirmed plan led to."""
    state = replace(state, task_id=task.task_id, decision=task.decision or state.decision)
    if plan.action is Intent.CANCEL_TASK:
        said = f"Task {wording.titled(task)} is {task.state}."
    elif plan.command:
        said = f"Done: task {wording.titled(task)} is {task.state}. Ask me how it is doing, or follow it with "
        said += f"`conductor tasks watch {task.task_id}`."
    else:
        said = f"Task {wording.titled(task)} is decided and recorded. Nothing runs, as it has no command."
    return Turn(state=state, text=said, tasks=(task,))


def _confirmed(state: State, snapshot: Snapshot, preview: Decision | None, *, nonce: str, now_s: float) -> Turn:
    waiting, state = state.pending, replace(state, pending=None)
    if waiting is None:
        return Turn(state=state, text="There is nothing that waits for your confirmation. Tell me what to do first.")
    if now_s > waiting.expires_at_s:
        return Turn(state=state, text="That plan was shown too long ago, so nothing was done. Ask me again.")
    plan = waiting.plan
    if plan.action is Intent.CANCEL_TASK:
        task = snapshot.task(plan.task_id)
        if task is None or task.is_settled:
            ended = f"Task {plan.task_id} has ended meanwhile" + (f": it is {task.state}." if task else ".")
            return Turn(state=state, text=f"{ended} There is nothing left to cancel.", tasks=(task,) if task else ())
        return Turn(state=state, text="", tasks=(task,), deed=plan)
    assert preview is not None
    now = plans.plan_to_schedule(plan.description, plan.command, preview)
    if plans.still_holds(plan, now):
        return Turn(state=state, text="", deed=plan)
    again = _shown(state, now, preview, nonce, now_s)
    return replace(again, text=f"The fleet has changed since I showed you the plan, so here it is again.\n{again.text}")


def _instead_of_a_plan(state: State, text: str, asked: Wanted, snapshot: Snapshot) -> Turn | None:
    """An order that cannot become a plan: a command that nobody closed, an earlier task to be run again."""
    line = wording.shown(mentions.command_line_in(text))
    if line and not asked.command:
        said = (
            f"I cannot plan that: a quotation mark of the command “{line}” is not closed. Close it, and say it again."
        )
        return Turn(state=state, text=said, echoes=(line,))
    found = _meant(state, text, snapshot, snapshot.tasks) if mentions.says_again(text) and not asked.command else []
    if not found or found[0].submission.workload is None:
        return None
    said = about_tasks.repeat_answer(found[0])
    return Turn(state=_spoken_of(state, found[0]), text=said, tasks=(found[0],))


def _spoken_of(state: State, task: Task) -> State:
    return replace(state, task_id=task.task_id, decision=task.decision or state.decision)


def _shown(state: State, plan: Plan, preview: Decision, nonce: str, now_s: float) -> Turn:
    lines = ["Here is my plan:", f"- Work: “{wording.shown(plan.description)}” (a description, which is not executed)"]
    lines.append(
        f"- Command: “{plan.command_line}” (exactly this is executed)"
        if plan.command
        else "- Command: none, so nothing runs"
    )
    stand_in = "" if plan.runs_on is plan.device else f", with {plan.runs_on} standing in"
    lines.append(f"- Device: {plan.device}{stand_in}")
    lines.append(f"- Node: {plan.node or 'none can take it now, so it would wait'}")
    if plan.duration_s is not None:
        span = f"{format_duration(plan.duration_s.low)} to {format_duration(plan.duration_s.high)}"
        lines.append(f"- Duration: about {format_duration(plan.duration_s.value)} ({span})")
    lines.append(f"- Priority: {plan.priority}")
    if not plan.command:
        lines.append(
            "The task would be decided and recorded. To have something executed, put the command between backticks or "
            'behind two dashes (schedule … -- COMMAND), or use `conductor run "…" -- COMMAND`.'
        )
    lines.append("Shall I schedule this?")
    state = replace(state, pending=plans.pending(plan, nonce=nonce, now_s=now_s), decision=preview)
    return Turn(state=state, text="\n".join(lines))


def _cancel(state: State, text: str, snapshot: Snapshot, *, nonce: str, now_s: float) -> Turn:
    unsettled = snapshot.unsettled()
    found = _meant(state, text, snapshot, unsettled)
    if not found and len(unsettled) == 1 and mentions.is_all_common(text):
        found = [unsettled[0]]
    if len(found) != 1:
        return _which(state, snapshot, found, "Which task do you mean? I cancel one at a time; tell me its id:")
    task = found[0]
    if task.is_settled:
        said = f"Task {wording.titled(task)} is {task.state} already, so there is nothing to cancel."
        return Turn(state=_spoken_of(state, task), text=said, tasks=(task,))
    plan = plans.plan_to_cancel(task)
    said = f"I would cancel task {wording.titled(task)}, which is {task.state}. Shall I?"
    waiting = plans.pending(plan, nonce=nonce, now_s=now_s)
    return Turn(state=replace(_spoken_of(state, task), pending=waiting), text=said, tasks=(task,))


def _which(state: State, snapshot: Snapshot, found: list[Task], question: str) -> Turn:
    choices = tuple((found or list(snapshot.unsettled()))[:_MOST_CHOICES])
    if not choices:
        return Turn(state=state, text="No task is waiting or running, so there is nothing to cancel.")
    lines = [f"- {wording.titled(task)}: {task.state}" for task in choices]
    return Turn(state=state, text="\n".join([question, *lines]), tasks=choices)


def _explain(state: State, text: str, snapshot: Snapshot) -> Turn:
    asked, about_the_other = mentions.devices_named(text), asks_about_the_other(text)
    if state.decision is not None and not mentions.names_a_task(text):
        if about_the_other:
            return Turn(state=state, text=about_tasks.runner_up_answer(state.decision, asked))
        if is_bare_why(text):
            return Turn(state=state, text=about_tasks.decision_answer(state.decision))
    decided = tuple(task for task in snapshot.tasks if task.decision is not None)
    found = _meant(state, text, snapshot, decided) or list(decided[:1])
    if not found:
        return Turn(
            state=state,
            text="No task has been decided yet, so there is nothing to explain. Ask which device suits some work.",
        )
    if len(found) > 1 and mentions.names_a_task(text):
        return _which(state, snapshot, found, "Several tasks are called so; which do you mean?")
    task = found[0]
    state = replace(state, task_id=task.task_id, decision=task.decision)
    if about_the_other and task.decision is not None:
        said = f"About task {wording.titled(task)}:\n{about_tasks.runner_up_answer(task.decision, asked)}"
    else:
        said = about_tasks.explain_answer(task, () if negates(text) else asked)
    return Turn(state=state, text=said, tasks=(task,))


def _speed(state: State, text: str, snapshot: Snapshot) -> Turn:
    named = tuple(_meant(state, text, snapshot, ())[:1])
    lines = [*(about_tasks.task_answer(snapshot, task) for task in named), about_speed.speed_answer(snapshot, text)]
    return Turn(state=state, text="\n".join(lines), tasks=named)


def _status(state: State, text: str, snapshot: Snapshot) -> Turn:
    failed = tuple(task for task in snapshot.tasks if task.state in FAILURES)[:_MOST_CHOICES]
    if mentions.says_failed(text) and not mentions.names_a_task(text) and not mentions.says_last(text):
        return Turn(state=state, text=about_tasks.failures_answer(failed), tasks=failed)
    said_to_have_failed = mentions.says_last(text) and mentions.says_mishap(text)
    found = _meant(state, text, snapshot, failed if said_to_have_failed and failed else snapshot.tasks)
    node = mentions.node_named(text, snapshot)
    if mentions.asks_for_heat(text) and not mentions.tasks_named(text, snapshot.tasks) and node is None:
        found = []  # “how hot is it?” is not about the task spoken of
    if found and (node is None or mentions.names_a_task(text)):
        return _task_status(state, text, snapshot, tuple(found[:3]))
    if node is not None:
        return Turn(state=state, text=about_fleet.node_answer(snapshot, node))
    if mentions.asks_for_a_list(text):
        latest = snapshot.tasks[:_MOST_CHOICES]
        return Turn(state=state, text=about_tasks.tasks_answer(latest), tasks=latest)
    if mentions.asks_for_readings(text):
        return Turn(state=state, text=about_fleet.readings_answer(snapshot, heat=mentions.asks_for_heat(text)))
    said = about_tasks.status_answer(snapshot, window_s=DAY_S if mentions.says_day(text) else HOUR_S)
    return Turn(state=state, text=said, tasks=snapshot.unsettled()[:_MOST_CHOICES])


def _task_status(state: State, text: str, snapshot: Snapshot, found: tuple[Task, ...]) -> Turn:
    if mentions.asks_for_output(text):
        return Turn(state=_spoken_of(state, found[0]), text=about_tasks.output_answer(found[0]), tasks=found[:1])
    said = "\n".join(about_tasks.task_answer(snapshot, task) for task in found)
    return Turn(state=_spoken_of(state, found[0]), text=said, tasks=found)


def _meant(state: State, text: str, snapshot: Snapshot, among: tuple[Task, ...]) -> list[Task]:
    """The tasks an utterance means: by id (whatever their state), "the last one", words, or the one spoken of."""
    if mentions.names_a_task(text):
        return mentions.tasks_named(text, snapshot.tasks)
    if mentions.says_last(text):
        return list(among[:1])
    named = mentions.tasks_named(text, among)
    if named:
        return named
    spoken_of = snapshot.task(state.task_id) if state.task_id and mentions.says_it(text) else None
    return [spoken_of] if spoken_of else []
