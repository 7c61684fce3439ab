"""The use case of talking: who says what in which conversation, what is known now, and what is done after a yes.

The rules are in `decisions.converse`; here the world is asked (reader of intents, tasks, roster, queue), confirmed plans
go through the same use cases as everything else, and every reply passes `traceable` before it leaves.

Covered: many conversations at once, each with one utterance at a time; forgotten after an hour, or when there are too
many. Not covered: conversations that outlive the process; a language model that phrases replies.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from conductor.app.snapshots import Snapshots
from conductor.app.tasks import Tasks
from conductor.decisions.converse import dialogue
from conductor.decisions.converse.intents import choose_intent
from conductor.decisions.converse.known import facts_of_turn
from conductor.decisions.converse.mentions import task_ids
from conductor.decisions.converse.plans import Plan
from conductor.decisions.converse.ports import IntentReader
from conductor.decisions.converse.traceable import Facts, keep_traceable
from conductor.decisions.converse.turn import Heard, State, Wanted
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, Conflict, Exhausted, InvalidInput, NotFound
from conductor.domain.intent import Intent
from conductor.domain.json import JsonObject
from conductor.domain.plain_data import check_text
from conductor.domain.task import LOCAL_USER, Submission, Task, UserId
from conductor.domain.workload import Limits, Workload

MOST_CHARACTERS: Final = 10_000
_CONVERSATIONS: Final = 1000
_KEPT_S: Final = 3600.0
_NOTHING_LEFT: Final = "I have no figures to answer that with."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPlan:
    """A plan that waits for a yes; send `token` back as the confirmation."""

    action: Intent
    description: str
    command: tuple[str, ...]
    task_id: str
    device: str
    node: str
    priority: int | None
    duration_s: float | None
    token: str
    expires_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer.

    Args:
        facts: the figures that could be said, by dimension; every number of `text` is among them.
        dropped: sentences that were withheld, because a number in them could not be traced.
        task_id: the task that a confirmed plan made or ended.
    """

    text: str
    intent: Intent | None
    conversation_id: str
    plan: ShownPlan | None
    task_id: str | None
    facts: JsonObject
    dropped: tuple[str, ...]


@dataclass
class _Conversation:
    conversation_id: str
    user_id: UserId
    touched_s: float
    state: State = field(default_factory=State)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Talk:
    """Every conversation of one installation.

    Args:
        reader: tells the intents apart; blocking, called in a thread.
        check_workload: refuses what the caller may not have executed.
        limits: the slice of a task that asks for none.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        tasks: Tasks,
        snapshots: Snapshots,
        reader: IntentReader,
        check_workload: Callable[[Workload | None], None],
        limits: Callable[[], Limits],
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._snapshots = snapshots
        self._reader = reader
        self._check_workload = check_workload
        self._limits = limits
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()

    async def say(
        self,
        text: str,
        *,
        conversation_id: str | None = None,
        confirm_token: str | None = None,
        user_id: str = LOCAL_USER,
    ) -> Reply:
        """Answer one utterance, and do what a yes confirms.

        Args:
            conversation_id: from an earlier reply of the same user; None begins a conversation.
            confirm_token: of the plan shown last; confirms it whatever the text.

        Raises:
            InvalidInput: the text is empty, too long or no text.
            NotFound: this user has no such conversation (any more).
            Conflict: the token belongs to another plan.
            StorageError: the reader of intents, or the database, cannot be used.
        """
        _check(text, confirm_token)
        conversation = self._conversation(conversation_id, UserId(user_id))
        async with conversation.lock:
            return await self._answer(conversation, text, confirm_token)

    async def _answer(self, conversation: _Conversation, text: str, token: str | None) -> Reply:
        state = conversation.state
        if token is not None and (state.pending is None or not state.pending.is_confirmed_by(token)):
            raise Conflict(
                "this confirmation belongs to no plan that waits in this conversation; nothing was done. Ask again, and "
                "confirm the plan that is shown then",
                field="confirm_token",
            )
        heard = dialogue.hear(state, text, token)
        intent = await self._intent(state, text) if heard is Heard.OTHER else state.intent or Intent.OFF_TOPIC
        also = [*task_ids(text), *([state.task_id] if state.task_id else [])]
        also += [state.pending.plan.task_id] if state.pending and state.pending.plan.task_id else []
        wanted, preview = dialogue.wanted(state, text, heard, intent), None
        try:
            if wanted is not None:
                preview = await self._tasks.preview(self._submission(wanted, conversation.user_id))
        except (InvalidInput, Exhausted) as refused:
            conversation.state = replace(state, pending=None, intent=intent)
            said = _refusal(refused)
            return self._reply(conversation, said, Facts(passages=frozenset({said})), intent=intent)
        snapshot = await self._snapshots.take(also)
        turn = dialogue.respond(
            state,
            text,
            heard,
            intent,
            snapshot,
            preview,
            nonce=secrets.token_hex(16),
            now_s=self._clock.monotonic_s(),
        )
        conversation.state = turn.state  # before the deed: a plan is confirmed at most once, whatever comes of it
        done_id = None
        if turn.deed is not None:
            task = await self._do(turn.deed, conversation.user_id)
            turn, done_id = dialogue.done(turn.state, turn.deed, task), task.task_id
            conversation.state = turn.state
        facts = await asyncio.to_thread(facts_of_turn, snapshot, turn)
        return self._reply(conversation, turn.text, facts, intent=intent, task_id=done_id)

    async def _do(self, plan: Plan, user_id: UserId) -> Task:
        """Execute a confirmed plan through the use cases that everybody uses."""
        log.info("plan_confirmed", action=plan.action.value, digest=plan.digest(), user_id=user_id)
        if plan.action is Intent.CANCEL_TASK:
            return await self._tasks.cancel(
                (await self._tasks.get_exact(plan.task_id)).task_id, reason="asked for in talk"
            )
        wanted = Wanted(description=plan.description, command=plan.command)
        return await self._tasks.submit(self._submission(wanted, user_id))

    def _submission(self, wanted: Wanted, user_id: UserId) -> Submission:
        workload = None
        if wanted.command:
            workload = Workload(kind="command", spec={"command": list(wanted.command)}, limits=self._limits())
            self._check_workload(workload)
        return Submission(description=wanted.description, workload=workload, user_id=user_id)

    async def _intent(self, state: State, text: str) -> Intent:
        shares = (await asyncio.to_thread(self._reader.read, [text]))[0]
        return choose_intent(text, shares, decision_spoken_of=state.decision is not None)

    def _conversation(self, conversation_id: str | None, user_id: UserId) -> _Conversation:
        now_s = self._clock.monotonic_s()
        while self._conversations:
            oldest = next(iter(self._conversations.values()))
            if len(self._conversations) < _CONVERSATIONS and now_s - oldest.touched_s <= _KEPT_S:
                break
            del self._conversations[oldest.conversation_id]
        if conversation_id is None:
            found = _Conversation(secrets.token_hex(16), user_id, now_s)
        else:
            known = self._conversations.get(conversation_id)
            if known is None or known.user_id != user_id:
                raise NotFound(
                    "there is no such conversation, or it has ended; begin a new one by leaving conversation_id out",
                    field="conversation_id",
                )
            found = known
        found.touched_s = now_s
        self._conversations[found.conversation_id] = found
        self._conversations.move_to_end(found.conversation_id)
        return found

    def _reply(
        self, conversation: _Conversation, text: str, facts: Facts, *, intent: Intent | None, task_id: str | None = None
    ) -> Reply:
        checked = keep_traceable(text, facts)
        if checked.dropped:
            log.warning("sentences_withheld", intent=intent, sentences=list(checked.dropped))
        waiting = conversation.state.pending
        return Reply(
            text=checked.text or _NOTHING_LEFT,
            intent=intent,
            conversation_id=conversation.conversation_id,
            plan=None
            if waiting is None
            else ShownPlan(
                action=waiting.plan.action,
                description=waiting.plan.description,
                command=waiting.plan.command,
                task_id=waiting.plan.task_id,
                device=waiting.plan.device or "",
                node=waiting.plan.node,
                priority=waiting.plan.priority,
                duration_s=waiting.plan.duration_s.value if waiting.plan.duration_s else None,
                token=waiting.token,
                expires_in_s=max(0.0, waiting.expires_at_s - self._clock.monotonic_s()),
            ),
            task_id=task_id,
            facts=_as_json(facts),
            dropped=checked.dropped,
        )


def _refusal(error: ConductorError) -> str:
    return f"I cannot plan that. {error.message[:1].upper()}{error.message[1:]}."


def _check(text: str, token: str | None) -> None:
    """See that what was said is text of a sensible length."""
    if not text.strip() and token is None:
        raise InvalidInput("text is empty; say what you want to know or have done", field="text")
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(
            f"text has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read in talk: submit long descriptions "
            "with `conductor run`",
            field="text",
        )
    if any(ch < " " and ch not in "\t\n\r" for ch in text):
        raise InvalidInput("text contains control characters, as binary data does; send text", field="text")
    check_text(text, field="text")


def _as_json(facts: Facts) -> JsonObject:
    """The numbers among the facts, sorted; texts are left out."""
    dimensions = ("counts", "shares", "celsius", "seconds", "byte_counts")
    return {name: sorted(getattr(facts, name)) for name in dimensions}
