"""Orders: show a plan, do it when it was confirmed, or say why none can be made.

A deed leaves here only as the answer to a yes, for the plan that this conversation shows.
"""

from dataclasses import replace

from conductor.decisions.converse import about_tasks, mentions, plans, wording
from conductor.decisions.converse.plans import Plan
from conductor.decisions.converse.snapshot import Snapshot
from conductor.decisions.converse.turn import State, Turn, Wanted, meant, spoken_of, which
from conductor.domain.decision import Decision
from conductor.domain.intent import Intent
from conductor.domain.units import format_duration


def confirmed(state: State, snapshot: Snapshot, preview: Decision | None, *, nonce: str, now_s: float) -> Turn:
    """Do what the waiting plan says, or say why it is not done: none waits, it is too old, the fleet has changed."""
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
    again = shown_plan(state, now, preview, nonce, now_s)
    return replace(again, text=f"The fleet has changed since I showed you the plan, so here it is again.\n{again.text}")


def instead_of_a_plan(state: State, text: str, asked: Wanted, snapshot: Snapshot) -> Turn | None:
    """An order that cannot become a plan: a command that nobody closed, an earlier task to be run again."""
    line = wording.shown(mentions.command_line_in(text))
    if line and not asked.command:
        said = (
            f"I cannot plan that: a quotation mark of the command “{line}” is not closed. Close it, and say it again."
        )
        return Turn(state=state, text=said, echoes=(line,))
    found = meant(state, text, snapshot, snapshot.tasks) if mentions.says_again(text) and not asked.command else []
    if not found or found[0].submission.workload is None:
        return None
    said = about_tasks.repeat_answer(found[0])
    return Turn(state=spoken_of(state, found[0]), text=said, tasks=(found[0],))


def shown_plan(state: State, plan: Plan, preview: Decision, nonce: str, now_s: float) -> Turn:
    """The plan in words, and the question that a yes answers."""
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


def cancel(state: State, text: str, snapshot: Snapshot, *, nonce: str, now_s: float) -> Turn:
    """A plan to cancel the task that is meant, or the question which one."""
    unsettled = snapshot.unsettled()
    found = meant(state, text, snapshot, unsettled)
    if not found and len(unsettled) == 1 and mentions.is_all_common(text):
        found = [unsettled[0]]
    if len(found) != 1:
        return which(state, snapshot, found, "Which task do you mean? I cancel one at a time; tell me its id:")
    task = found[0]
    if task.is_settled:
        said = f"Task {wording.titled(task)} is {task.state} already, so there is nothing to cancel."
        return Turn(state=spoken_of(state, task), text=said, tasks=(task,))
    plan = plans.plan_to_cancel(task)
    said = f"I would cancel task {wording.titled(task)}, which is {task.state}. Shall I?"
    waiting = plans.pending(plan, nonce=nonce, now_s=now_s)
    return Turn(state=replace(spoken_of(state, task), pending=waiting), text=said, tasks=(task,))
