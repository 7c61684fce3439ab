"""One turn of a conversation: what is remembered, what is answered, and which tasks an utterance means."""

from dataclasses import dataclass, replace
from enum import StrEnum

from conductor.decisions.converse import mentions, wording
from conductor.decisions.converse.plans import Pending, Plan
from conductor.decisions.converse.snapshot import Snapshot
from conductor.domain.decision import Decision
from conductor.domain.intent import Intent
from conductor.domain.task import Task

#: Of tasks that are named in one answer.
MOST_CHOICES = 5


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


def spoken_of(state: State, task: Task) -> State:
    """The state after a task was spoken of."""
    return replace(state, task_id=task.task_id, decision=task.decision or state.decision)


def meant(state: State, text: str, snapshot: Snapshot, among: tuple[Task, ...]) -> list[Task]:
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


def which(state: State, snapshot: Snapshot, found: list[Task], question: str) -> Turn:
    """Ask which of several tasks is meant; they are listed."""
    choices = tuple((found or list(snapshot.unsettled()))[:MOST_CHOICES])
    if not choices:
        return Turn(state=state, text="No task is waiting or running, so there is nothing to cancel.")
    lines = [f"- {wording.titled(task)}: {task.state}" for task in choices]
    return Turn(state=state, text="\n".join([question, *lines]), tasks=choices)
