"""Keep the account of each call while it goes on, and settle it however it ends: statistics, journal, log."""

import asyncio
import contextlib
from collections.abc import Iterator

import structlog

from conductor.app.serving.calls import CallDecision, CallJournal, CallOutcome, CallRecord, Ending
from conductor.app.serving.statistics import ServingStatistics
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, InvalidInput, NotFound
from conductor.domain.generation import Piece
from conductor.serving.engine import Answer

log = structlog.get_logger(__name__)


class Account:
    """What is noted of a call while it goes on.

    Args:
        answers: how many are made side by side.
    """

    def __init__(self, clock: Clock, answers: int) -> None:
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._first_s: float | None = None
        self._unfinished = answers
        self._finish = ""
        #: No model was asked: the answer was kept from an earlier call.
        self.is_cached = False
        self._prompt_tokens = self._completion_tokens = self._cached_tokens = 0

    @property
    def is_over(self) -> bool:
        """Whether every answer was heard to its end."""
        return self._unfinished <= 0

    def hear(self, part: Piece | Answer) -> None:
        """Note what the part tells."""
        if self._first_s is None:
            self._first_s = self._clock.monotonic_s() - self._began_s
        if isinstance(part, Answer):
            return
        if part.finish is not None:
            self._unfinished -= 1
            self._finish = part.finish.value
        if part.usage is not None:
            self._prompt_tokens = max(self._prompt_tokens, part.usage.prompt_tokens)
            self._completion_tokens += part.usage.completion_tokens
            self._cached_tokens = max(self._cached_tokens, part.usage.cached_tokens)

    def outcome(self, ending: Ending, code: str, message: str) -> CallOutcome:
        """All of it, now that the call has ended."""
        return CallOutcome(
            ending=ending,
            error_code=code,
            error=message,
            finish=self._finish,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            cached_tokens=self._cached_tokens,
            first_token_s=self._first_s,
            duration_s=self._clock.monotonic_s() - self._began_s,
            is_cached=self.is_cached,
        )


class Accounts:
    """Opens accounts, and tells of those that are settled."""

    def __init__(self, *, clock: Clock, statistics: ServingStatistics, journal: CallJournal) -> None:
        self._clock, self._statistics, self._journal = clock, statistics, journal

    @contextlib.contextmanager
    def of(self, decision: CallDecision, answers: int = 1) -> Iterator[Account]:
        """Count and tell the call of the block, however it ends."""
        account = Account(self._clock, answers)
        self._statistics.began(decision.category, decision.model, self._clock.monotonic_s())
        ending, code, message = Ending.FAILED, "internal", "an error of our own"
        try:
            yield account
            ending, code, message = Ending.SUCCEEDED, "", ""
        except (GeneratorExit, asyncio.CancelledError):
            # Whoever has heard the end may leave without waiting for us.
            ending, code, message = (Ending.SUCCEEDED if account.is_over else Ending.CANCELLED), "", ""
            raise
        except ConductorError as error:
            at_fault = isinstance(error, InvalidInput | NotFound)
            ending, code, message = Ending.REFUSED if at_fault else Ending.FAILED, error.code, error.message
            raise
        finally:
            self._settle(decision, account.outcome(ending, code, message))

    def _settle(self, decision: CallDecision, outcome: CallOutcome) -> None:
        record = CallRecord(decision, outcome)
        self._statistics.ended(record, self._clock.monotonic_s())
        self._journal.put(record)
        log.info("generated", **record.as_json())
