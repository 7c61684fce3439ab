"""Keep of each interactive call the decision before it and the outcome after it; hand them on in groups, behind the answer.

Nothing here stands between a request and its first token: a record is put into a bounded row when its call has ended, and
`run` hands the row to the listeners (ledger, database) a few times a second. What listeners do with it is theirs.

Not covered: the texts. Prompts and answers are not kept, only what was decided about them and what they took.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelName

_MOST_WAITING: Final = 10_000
#: Of a group: what listeners do with it keeps everybody else waiting.
_MOST_AT_ONCE: Final = 50
_INTERVAL_S: Final = 0.25

log = structlog.get_logger(__name__)


class Ending(StrEnum):
    """How a call ended; `CANCELLED` by the caller, `REFUSED` because of what was asked."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDecision:
    """Who answers a call, and why.

    Args:
        asked_for: what the caller named: a category, a model, or `auto`.
        probability: of the category by the reading of the request; None where the caller named it.
        table_digest: of the model table that was in force.
        is_relayed: the gateway passes it on; its `call_id` is trace and span of the client's `traceparent`.
    """

    call_id: str
    asked_for: str
    category: Category
    model: ModelName
    title: str
    why: str
    probability: float | None
    table_digest: str
    decided_at_unix_s: float
    is_relayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """What became of a call.

    Args:
        error_code: of the error tree; empty where there was none.
        first_token_s: from the decision to the first piece; None where none came. Loading the model is in it.
        is_estimate: nobody told the tokens; events of a stream were counted.
        upstream: which endpoint answered a relayed call, or failed last.
        is_cached: no model was asked; an answer was kept from an earlier call.
    """

    ending: Ending
    error_code: str = ""
    error: str = ""
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    first_token_s: float | None = None
    duration_s: float = 0.0
    is_estimate: bool = False
    upstream: str = ""
    is_cached: bool = False


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call from its decision to its end."""

    decision: CallDecision
    outcome: CallOutcome

    def as_json(self) -> JsonObject:
        """Plain data for the ledger and for listings."""
        decision, outcome = self.decision, self.outcome
        more: JsonObject = (
            {"upstream": outcome.upstream, "is_estimate": outcome.is_estimate} if outcome.upstream else {}
        )
        return {
            "call_id": decision.call_id,
            "asked_for": decision.asked_for,
            "category": decision.category,
            "model": decision.model,
            "why": decision.why,
            "table_digest": decision.table_digest,
            "ending": outcome.ending.value,
            "error_code": outcome.error_code,
            "finish": outcome.finish,
            "prompt_tokens": outcome.prompt_tokens,
            "completion_tokens": outcome.completion_tokens,
            "first_token_ms": None if outcome.first_token_s is None else round(outcome.first_token_s * 1000),
            "duration_ms": round(outcome.duration_s * 1000),
            **({"cached": True} if outcome.is_cached else {}),
            **more,
        }


#: Told of records in the order in which the calls ended; may wait, as nobody waits for it.
CallListener = Callable[[Sequence[CallRecord]], Awaitable[None]]


class CallJournal:
    """Hands records to listeners in groups. `run` must be running as a task of the owner."""

    def __init__(self, listeners: Sequence[CallListener] = ()) -> None:
        self._listeners = list(listeners)
        self._waiting: deque[CallRecord] = deque()
        self._arrived = asyncio.Event()
        self._closing = asyncio.Event()
        #: Records that were lost because listeners were too slow.
        self.dropped = 0

    def listen(self, listener: CallListener) -> None:
        """Have records told from now on."""
        self._listeners.append(listener)

    def put(self, record: CallRecord) -> None:
        """Queue one record; the oldest gives way where the row is full."""
        if not self._listeners:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(record)
        self._arrived.set()

    async def run(self) -> None:
        """Hand on what comes until `close`, and then what is left."""
        while not self._closing.is_set():
            await self._arrived.wait()
            with contextlib.suppress(TimeoutError):  # let a group gather
                await asyncio.wait_for(self._closing.wait(), _INTERVAL_S)
            await self._hand_on()
        await self._hand_on()

    def close(self) -> None:
        """Let `run` end once everything is handed on."""
        self._closing.set()
        self._arrived.set()

    async def _hand_on(self) -> None:
        self._arrived.clear()
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE))]
            for listener in self._listeners:
                try:
                    await listener(group)
                except Exception:  # a listener is anybody's code, and one that fails must not cost the others theirs
                    log.exception("call_listener_failed", records=len(group))
            await asyncio.sleep(0)  # let others have their turn
