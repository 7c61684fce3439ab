"""Count the calls that the gateway passes on unparsed like all others: statistics, metrics, ledger, log.

This stands on the hot path, where a record of a call costs as much as a tenth of relaying it. So relayed calls become
records of their own, as all others are, as long as there are few (`EACH_PER_S` a second in the long run, `AT_ONCE` at once),
which is all that people ask for; of what goes beyond only the figures are noted, and told a few times a second for all calls
of a model together. Of an answer its status, its times and its `usage` are known. A call's identifier is its trace and span,
as the client has them from the header `traceparent`.

Not covered: requests that limits or the gate refused, for no model was asked.
"""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final

from conductor.adapters.endpoints.relay import RelayedAnswer
from conductor.app.serving.call_groups import Brief, CallGroup, GroupListener
from conductor.app.serving.calls import CallDecision, CallJournal, CallOutcome, CallRecord, Ending
from conductor.app.serving.statistics import ServingStatistics
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, InvalidInput, NotFound
from conductor.domain.generation import Usage
from conductor.domain.model import Category, ModelName

EACH_PER_S: Final = 20.0
AT_ONCE: Final = 100.0
_INTERVAL_S: Final = 0.25
_MOST_WAITING: Final = 5_000
_WHY: Final = "it was asked for by name, and passed on unparsed"
_BAD_REQUEST: Final = 400
#: Where trace and span stand in a `traceparent` (version 00).
_IDS: Final = slice(3, 52)


class Heard:
    """What is noted of a relayed call while it goes on; times are seconds of the monotonic clock.

    Attributes:
        answer: what was passed back; None before that began.
        upstream: which one answered, or failed last.
        first_s: when the first bytes of a stream were there; None for answers that come as a whole.
        broken: the answer broke off.
        abandoned: the client left; until it ended in another way.
        error: why there was no answer.
    """

    __slots__ = ("abandoned", "answer", "begun_s", "broken", "error", "first_s", "upstream")

    def __init__(self, begun_s: float) -> None:
        self.begun_s = begun_s
        self.answer: RelayedAnswer | None = None
        self.upstream = ""
        self.first_s: float | None = None
        self.broken, self.abandoned = False, True
        self.error: ConductorError | None = None

    @property
    def begun(self) -> bool:
        """Whether the client has heard anything."""
        return self.answer is not None

    @property
    def ending(self) -> Ending:
        """How it ended, now that it has."""
        if self.error is not None:
            return Ending.REFUSED if isinstance(self.error, InvalidInput | NotFound) else Ending.FAILED
        if self.broken:
            return Ending.FAILED
        if self.abandoned or self.answer is None:
            return Ending.CANCELLED
        return Ending.REFUSED if self.answer.status >= _BAD_REQUEST else Ending.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the model table says of a model that runs elsewhere: its category and its technical name."""

    category: Category
    model: ModelName


class RelayedCalls:
    """Tells of relayed calls. `run` must be running as a task of the owner, who calls `flush` at the end.

    Args:
        journal: told of those that have records of their own.
        each_per_s, at_once: how many those are.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        statistics: ServingStatistics,
        journal: CallJournal,
        each_per_s: float = EACH_PER_S,
        at_once: float = AT_ONCE,
    ) -> None:
        self._clock, self._statistics, self._journal = clock, statistics, journal
        self._each_per_s, self._at_once = each_per_s, at_once
        self._left, self._left_at_s = at_once, clock.monotonic_s()
        self._listeners: list[GroupListener] = [statistics.on_group]
        self._waiting: dict[Row, list[Brief]] = {}
        self._arrived = asyncio.Event()
        statistics.before_reading = self.flush
        #: Of the model table in force.
        self.table_digest = ""

    def listen(self, listener: GroupListener) -> None:
        """Have groups told from now on; at once, so it must not fail or wait."""
        self._listeners.append(listener)

    def began(self, row: Row, now_s: float) -> None:
        """A call is under way."""
        self._statistics.began(row.category, row.model, now_s)

    def ended(
        self, row: Row, asked_for: str, heard: Heard, usage: Usage | None, traceparent: str | None, now_s: float
    ) -> None:
        """It ended; `usage` is as the upstream told it, and where it told nothing the events of a stream are counted."""
        call_id = secrets.token_hex(12) if traceparent is None else traceparent[_IDS]
        if self._may_be_told(now_s):
            self._tell(row, asked_for, heard, usage, call_id, now_s)
            return
        events = heard.answer.events if usage is None and heard.answer is not None else 0
        brief = Brief(
            call_id,
            heard.ending,
            now_s,
            now_s - heard.begun_s,
            None if heard.first_s is None else heard.first_s - heard.begun_s,
            0 if usage is None else usage.prompt_tokens,
            events if usage is None else usage.completion_tokens,
            events,
            "" if heard.error is None else heard.error.code,
            "" if heard.error is None else heard.error.message,
        )
        self._statistics.left(row.category, row.model, now_s)
        waiting = self._waiting.get(row)
        if waiting is None:
            waiting = self._waiting[row] = []
            self._arrived.set()
        waiting.append(brief)
        if len(waiting) >= _MOST_WAITING:
            self.flush()

    async def run(self) -> None:
        """Tell of groups a few times a second, until cancelled."""
        while True:
            await self._arrived.wait()
            await asyncio.sleep(_INTERVAL_S)
            self.flush()

    def flush(self) -> None:
        """Tell of all that ended."""
        self._arrived.clear()
        waiting, self._waiting = self._waiting, {}
        for row, briefs in waiting.items():
            group = CallGroup.of(row.category, row.model, self.table_digest, self._clock.now_unix_s(), briefs)
            for listener in self._listeners:
                listener(group)

    def _may_be_told(self, now_s: float) -> bool:
        self._left = min(self._at_once, self._left + (now_s - self._left_at_s) * self._each_per_s)
        self._left_at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def _tell(self, row: Row, asked_for: str, heard: Heard, usage: Usage | None, call_id: str, now_s: float) -> None:
        answer, error, duration_s = heard.answer, heard.error, now_s - heard.begun_s
        events = 0 if answer is None else answer.events
        decision = CallDecision(
            call_id=call_id,
            asked_for=asked_for,
            category=row.category,
            model=row.model,
            title=asked_for,
            why=_WHY,
            probability=None,
            table_digest=self.table_digest,
            decided_at_unix_s=self._clock.now_unix_s() - duration_s,
            is_relayed=True,
        )
        outcome = CallOutcome(
            ending=heard.ending,
            error_code="" if error is None else error.code,
            error="" if error is None else error.message,
            prompt_tokens=0 if usage is None else usage.prompt_tokens,
            completion_tokens=events if usage is None else usage.completion_tokens,
            cached_tokens=0 if usage is None else usage.cached_tokens,
            is_estimate=usage is None and events > 0,
            first_token_s=None if heard.first_s is None else heard.first_s - heard.begun_s,
            duration_s=duration_s,
            upstream=heard.upstream,
        )
        record = CallRecord(decision, outcome)
        self._statistics.ended(record, now_s)
        self._journal.put(record)
