"""Statistics of calls by engine and by model: how many, how they ended, how long they took, how many tokens.

Kept in memory since the start of the process, bounded in size; quantiles come from a histogram whose classes grow by a
quarter, so a shown quantile is at most 25 % above the true one. A model of whose last calls half failed counts as failing,
until it does better or nobody has asked it for a while.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from conductor.app.serving.call_groups import CallGroup
from conductor.app.serving.calls import CallOutcome, CallRecord, Ending
from conductor.app.serving.recent import Recent
from conductor.domain.json import JsonObject

_GROWTH: Final = 1.25
#: Upper bounds of the classes in seconds, 1 ms to about an hour; what is longer falls into one more.
_BOUNDS: Final = tuple(0.001 * _GROWTH**step for step in range(68))
_MOST_KEYS: Final = 1_000
_OTHERS: Final = "others"
#: Of the last calls so many are looked at, none older than this; fewer than `_ENOUGH` say nothing.
_LAST: Final = 20
_RECENT_S: Final = 600.0
_ENOUGH: Final = 5
_FAILING: Final = 0.5
_RESTS: Final = "model.busy"


class Times:
    """How long things took."""

    __slots__ = ("_classes", "count", "total_s")

    def __init__(self) -> None:
        self._classes = [0] * (len(_BOUNDS) + 1)
        self.count, self.total_s = 0, 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._classes[bisect_left(_BOUNDS, seconds)] += 1
        self.count += 1
        self.total_s += seconds

    def add_many(self, seconds: Sequence[float]) -> None:
        """Count several."""
        for place, count in zip(*np.unique(np.searchsorted(_BOUNDS, seconds), return_counts=True), strict=True):
            self._classes[place] += int(count)
        self.count += len(seconds)
        self.total_s += sum(seconds)

    def quantile(self, share: float) -> float | None:
        """The upper bound of the class in which the quantile lies, seconds; None where nothing was counted."""
        if not self.count:
            return None
        seen = 0
        for place, count in enumerate(self._classes):
            seen += count
            if seen >= share * self.count:
                return _BOUNDS[min(place, len(_BOUNDS) - 1)]
        return _BOUNDS[-1]

    def as_json(self) -> JsonObject:
        """Mean and quantiles in milliseconds; null where nothing was counted."""
        mean_ms = round(self.total_s / self.count * 1000, 1) if self.count else None
        return {"mean_ms": mean_ms} | {
            f"p{round(share * 100)}_ms": None if (found := self.quantile(share)) is None else round(found * 1000, 1)
            for share in (0.5, 0.9, 0.95, 0.99)
        }


class Tally:
    """What is counted of one engine or one model. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.running = 0
        self._endings = dict.fromkeys(Ending, 0)
        self._prompt_tokens = self._completion_tokens = 0
        #: Of kept answers: nobody wrote them in this time.
        self._repeated_tokens = 0
        self._latency, self._first_token = Times(), Times()
        self._busy_s = self._busy_since_s = 0.0
        #: When, and whether it failed.
        self._last: deque[tuple[float, bool]] = deque(maxlen=_LAST)
        self._last_error = ""

    def begin(self, now_s: float) -> None:
        """A call is under way."""
        if not self.running:
            self._busy_since_s = now_s
        self.running += 1

    def leave(self, now_s: float) -> None:
        """A call is no longer under way; how it ended is told by `add` or `add_group`."""
        self.running -= 1
        if not self.running:
            self._busy_s += now_s - self._busy_since_s

    def add(self, outcome: CallOutcome, now_s: float) -> None:
        """Count a call that ended."""
        ending = outcome.ending
        self._endings[ending] += 1
        self._prompt_tokens += outcome.prompt_tokens
        self._completion_tokens += outcome.completion_tokens
        if ending is Ending.SUCCEEDED:
            self._latency.add(outcome.duration_s)
            if outcome.is_cached:  # says nothing of the model
                self._repeated_tokens += outcome.completion_tokens
            else:
                self._last.append((now_s, False))
        elif ending is Ending.FAILED:
            self._last.append((now_s, True))
            self._note_error(outcome.error_code, outcome.error)
        if outcome.first_token_s is not None:
            self._first_token.add(outcome.first_token_s)

    def add_group(self, group: CallGroup) -> None:
        """Count calls that ended."""
        for ending, count in group.endings.items():
            self._endings[ending] += count
        self._prompt_tokens += group.prompt_tokens
        self._completion_tokens += group.completion_tokens
        self._latency.add_many(group.durations_s)
        self._first_token.add_many(group.first_tokens_s)
        for call in group.calls[-_LAST:]:
            if call.ending in (Ending.SUCCEEDED, Ending.FAILED):
                self._last.append((call.ended_s, call.ending is Ending.FAILED))
                self._note_error(call.error_code, call.error)

    def _note_error(self, code: str, error: str) -> None:
        """That somebody rests after failures tells less than the failures did."""
        if error and (code != _RESTS or not self._last_error):
            self._last_error = error

    def trouble(self, now_s: float) -> str:
        """Why it counts as failing, in words; empty where it does not."""
        recent = [failed for at_s, failed in self._last if now_s - at_s <= _RECENT_S]
        if len(recent) < _ENOUGH or sum(recent) < _FAILING * len(recent):
            return ""
        why = f" ({self._last_error})" if self._last_error else ""
        return f"{sum(recent)} of its last {len(recent)} calls failed{why}"

    def as_json(self, now_s: float) -> JsonObject:
        """All of it.

        `errors` are failures of ours or of the model; requests that made no sense (`refused`) and those whose caller left
        (`cancelled`) are no failures, and do not count in `success_rate` either. `tokens_per_s` is what was written per
        second in which at least one call was under way, loading included; kept answers were not written.
        """
        endings = self._endings
        count, failed, succeeded = sum(endings.values()), endings[Ending.FAILED], endings[Ending.SUCCEEDED]
        busy_s = self._busy_s + (now_s - self._busy_since_s if self.running else 0.0)
        return {
            "count": count,
            "running": self.running,
            "succeeded": succeeded,
            "errors": failed,
            "error_rate": round(failed / count, 4) if count else 0.0,
            "success_rate": round(succeeded / (succeeded + failed), 4) if succeeded + failed else None,
            "refused": endings[Ending.REFUSED],
            "cancelled": endings[Ending.CANCELLED],
            "failing": self.trouble(now_s),
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "busy_s": round(busy_s, 3),
            "tokens_per_s": round((self._completion_tokens - self._repeated_tokens) / busy_s, 2)
            if busy_s > 0
            else None,
            "latency": self._latency.as_json(),
            "first_token": self._first_token.as_json(),
        }


class ServingStatistics:
    """Tallies by engine and by model. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._engines: dict[str, Tally] = {}
        self._models: dict[str, Tally] = {}
        self._recent = Recent()
        #: Calls for which nobody could be found to answer them.
        self.unserved = 0
        #: Called before anything is read: calls that are told in groups may still wait.
        self.before_reading: Callable[[], None] = lambda: None
        #: What was made ready before it was asked for, and what came of it.
        self.ahead: Callable[[], JsonObject] = dict

    def began(self, category: str, model: str, now_s: float) -> None:
        """A call is under way."""
        _tally(self._engines, category).begin(now_s)
        _tally(self._models, model).begin(now_s)

    def left(self, category: str, model: str, now_s: float) -> None:
        """It is no longer under way; its figures come with a group."""
        _tally(self._engines, category).leave(now_s)
        _tally(self._models, model).leave(now_s)

    def ended(self, record: CallRecord, now_s: float) -> None:
        """It ended."""
        for tally in (_tally(self._engines, record.decision.category), _tally(self._models, record.decision.model)):
            tally.leave(now_s)
            tally.add(record.outcome, now_s)
        outcome = record.outcome
        self._recent.add(
            now_s,
            errors=outcome.ending is Ending.FAILED,
            completion_tokens=0 if outcome.is_cached else outcome.completion_tokens,
            duration_s=outcome.duration_s,
        )

    def on_group(self, group: CallGroup) -> None:
        """Listener for `RelayedCalls`."""
        _tally(self._engines, group.category).add_group(group)
        _tally(self._models, group.model).add_group(group)
        self._recent.add(
            group.calls[-1].ended_s,
            calls=len(group.calls),
            errors=group.endings.get(Ending.FAILED, 0),
            completion_tokens=group.completion_tokens,
        )

    def failing(self, now_s: float) -> Iterator[tuple[str, str]]:
        """Models that fail too often, each with how often and why."""
        self.before_reading()
        for name, tally in self._models.items():
            if trouble := tally.trouble(now_s):
                yield name, trouble

    def as_json(self, now_s: float) -> JsonObject:
        """Everything since the start of the process; `recent` is of the last ten minutes, in steps."""
        self.before_reading()
        return {
            "unserved": self.unserved,
            "engines": {name: tally.as_json(now_s) for name, tally in self._engines.items()},
            "models": {name: tally.as_json(now_s) for name, tally in self._models.items()},
            "recent": self._recent.as_json(now_s),
            "ahead": self.ahead(),
        }


def _tally(among: dict[str, Tally], name: str) -> Tally:
    """Names come and go with the table, so there is a bound on them."""
    found = among.get(name)
    if found is None:
        name = name if len(among) < _MOST_KEYS else _OTHERS
        found = among.setdefault(name, Tally())
    return found
