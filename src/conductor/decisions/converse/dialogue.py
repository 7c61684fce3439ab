"""Lead a conversation: from what was said before, an utterance and what is known now, to a reply and at most one deed.

Pure: the caller reads the intent, takes the snapshot, previews the decision that `wanted` asks for, executes what the
turn allows, and checks every reply with `traceable`. A deed leaves here only as the answer to a yes, for the plan that
this conversation shows; whatever a text says, it can at most have a plan shown.

Covered: following on (last task, last decision), one plan at a time; a plan is set aside by whatever is said instead
of yes or no. Not covered: several tasks in one plan.
"""

from dataclasses import replace

from conductor.decisions.converse import (
    about_fleet,
    about_tasks,
    mentions,
    orders,
    plans,
    questions,
    small_talk,
    wording,
)
from conductor.decisions.converse.plans import Plan
from conductor.decisions.converse.snapshot import Snapshot
from conductor.decisions.converse.turn import Heard, State, Turn, Wanted
from conductor.domain.decision import Decision
from conductor.domain.intent import Intent
from conductor.domain.task import Task

_ABOUT_TASKS = frozenset({Intent.STATUS, Intent.EXPLAIN_DECISION, Intent.CANCEL_TASK, Intent.PERFORMANCE_ANALYSIS})


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
        return orders.confirmed(state, snapshot, preview, nonce=nonce, now_s=now_s)
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
            instead = orders.instead_of_a_plan(state, text, asked, snapshot)
            return instead or orders.shown_plan(
                state, plans.plan_to_schedule(asked.description, asked.command, preview), preview, nonce, now_s
            )
        case Intent.DEVICE_ADVICE if preview is not None:
            subject = mentions.subject_in(text)
            said = about_tasks.device_answer(subject, preview)
            return Turn(state=replace(state, decision=preview), text=said, echoes=(wording.shown(subject),))
        case Intent.CANCEL_TASK:
            return orders.cancel(state, text, snapshot, nonce=nonce, now_s=now_s)
        case Intent.EXPLAIN_DECISION:
            return questions.explain(state, text, snapshot)
        case Intent.STATUS:
            return questions.status(state, text, snapshot)
        case Intent.PERFORMANCE_ANALYSIS:
            return questions.speed(state, text, snapshot)
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
