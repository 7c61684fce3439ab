"""Statistics of calls by engine and by model: how many, how they ended, how long they took, how many tokens.

Kept in memory since the start of the process, bounded in size; quantiles come from a histogram whose classes grow by a
quarter, so a shown quantile is at most 25 % above the true one.
"""

from bisect import bisect_left
from typing import Final

from conductor.app.serving.calls import CallOutcome, CallRecord, Ending
from conductor.domain.json import JsonObject

_GROWTH: Final = 1.25
#: Upper bounds of the classes in seconds, 1 ms to about an hour; what is longer falls into one more.
_BOUNDS: Final = tuple(0.001 * _GROWTH**step for step in range(68))
_MOST_KEYS: Final = 1_000
_OTHERS: Final = "others"


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
            for share in (0.5, 0.9, 0.99)
        }


class Tally:
    """What is counted of one engine or one model."""

    def __init__(self) -> None:
        self.running = 0
        self._endings = dict.fromkeys(Ending, 0)
        self._prompt_tokens = self._completion_tokens = 0
        self._latency, self._first_token = Times(), Times()

    def add(self, outcome: CallOutcome) -> None:
        """Count a call that ended."""
        self._endings[outcome.ending] += 1
        self._prompt_tokens += outcome.prompt_tokens
        self._completion_tokens += outcome.completion_tokens
        if outcome.ending is Ending.SUCCEEDED:
            self._latency.add(outcome.duration_s)
        if outcome.first_token_s is not None:
            self._first_token.add(outcome.first_token_s)

    def as_json(self) -> JsonObject:
        """All of it; `errors` are failures of ours, not requests that made no sense."""
        count = sum(self._endings.values())
        failed = self._endings[Ending.FAILED]
        return {
            "count": count,
            "running": self.running,
            "errors": failed,
            "error_rate": round(failed / count, 4) if count else 0.0,
            "refused": self._endings[Ending.REFUSED],
            "cancelled": self._endings[Ending.CANCELLED],
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "latency": self._latency.as_json(),
            "first_token": self._first_token.as_json(),
        }


class ServingStatistics:
    """Tallies by engine and by model."""

    def __init__(self) -> None:
        self._engines: dict[str, Tally] = {}
        self._models: dict[str, Tally] = {}
        #: Calls for which nobody could be found to answer them.
        self.unserved = 0

    def began(self, category: str, model: str) -> None:
        """A call is under way."""
        for tally in self._tallies(category, model):
            tally.running += 1

    def ended(self, record: CallRecord) -> None:
        """It ended."""
        for tally in self._tallies(record.decision.category, record.decision.model):
            tally.running -= 1
            tally.add(record.outcome)

    def as_json(self) -> JsonObject:
        """Everything since the start of the process."""
        return {
            "unserved": self.unserved,
            "engines": {name: tally.as_json() for name, tally in self._engines.items()},
            "models": {name: tally.as_json() for name, tally in self._models.items()},
        }

    def _tallies(self, category: str, model: str) -> tuple[Tally, Tally]:
        return _tally(self._engines, category), _tally(self._models, model)


def _tally(among: dict[str, Tally], name: str) -> Tally:
    """Names come and go with the table, so there is a bound on them."""
    found = among.get(name)
    if found is None:
        name = name if len(among) < _MOST_KEYS else _OTHERS
        found = among.setdefault(name, Tally())
    return found
