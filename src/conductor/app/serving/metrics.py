"""What Prometheus sees of calls to language models: how many by ending, how long they took, how many tokens they wrote.

Fed by the `CallJournal` and by the gateway's groups, behind the answers, so that a call waits for none of it. Counts are
kept plainly and become samples when somebody looks, which makes counting a thousand relayed calls as cheap as one. Labels
are categories and models of the model table, which comes and goes; so the first pairs have labels of their own and all
further ones share one.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from conductor.app.serving.call_groups import CallGroup
from conductor.app.serving.calls import CallRecord, Ending
from conductor.serving.lifetimes.tallies import Kind, Tally
from conductor.serving.ports import LevelCounts

#: Category and model together; a histogram of one pair is about fifteen time series.
_MOST_PAIRS: Final = 100
_OTHERS: Final = ("others", "others")
_LABELS: Final = ("category", "model")
_DURATIONS_S: Final = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_FIRST_TOKENS_S: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class CallMetrics(Collector):
    """Counts calls that ended."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._pairs: dict[tuple[str, str], _Pair] = {}
        registry.register(self)

    async def on_calls(self, records: Sequence[CallRecord]) -> None:
        """Listener for `CallJournal`."""
        for record in records:
            outcome = record.outcome
            pair = self._pair(record.decision.category, record.decision.model)
            pair.endings[outcome.ending] += 1
            pair.tokens += outcome.completion_tokens
            if outcome.ending is Ending.SUCCEEDED:
                pair.durations.add((outcome.duration_s,))
            if outcome.first_token_s is not None:
                pair.first_tokens.add((outcome.first_token_s,))

    def on_group(self, group: CallGroup) -> None:
        """Listener for `RelayedCalls`."""
        pair = self._pair(group.category, group.model)
        pair.endings.update(group.endings)
        pair.tokens += group.completion_tokens
        pair.durations.add(group.durations_s)
        pair.first_tokens.add(group.first_tokens_s)

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """All families."""
        calls = CounterMetricFamily(
            "conductor_generations", "Calls to language models by their ending", labels=[*_LABELS, "ending"]
        )
        tokens = CounterMetricFamily("conductor_generated_tokens", "Tokens that language models wrote", labels=_LABELS)
        durations = HistogramMetricFamily(
            "conductor_generation_seconds",
            "Decision to the end of the answer, of calls that succeeded; loading is in it",
            labels=_LABELS,
        )
        first_tokens = HistogramMetricFamily(
            "conductor_generation_first_token_seconds",
            "Decision to the first piece of the answer; loading is in it",
            labels=_LABELS,
        )
        for labels, pair in self._pairs.items():
            for ending, count in pair.endings.items():
                calls.add_metric([*labels, ending.value], count)
            tokens.add_metric(labels, pair.tokens)
            durations.add_metric(labels, pair.durations.buckets(), pair.durations.total_s)
            first_tokens.add_metric(labels, pair.first_tokens.buckets(), pair.first_tokens.total_s)
        yield from (calls, durations, first_tokens, tokens)

    def _pair(self, category: str, model: str) -> "_Pair":
        labels = (str(category), str(model))
        found = self._pairs.get(labels)
        if found is None:
            labels = labels if len(self._pairs) < _MOST_PAIRS else _OTHERS
            found = self._pairs.setdefault(labels, _Pair())
        return found


class AnswerCacheMetrics(Collector):
    """Counts of the answer cache, read when somebody looks. A result of a level: hit, miss, eviction."""

    def __init__(self, levels: Callable[[], Mapping[str, LevelCounts]]) -> None:
        self._levels = levels

    def collect(self) -> Iterator[CounterMetricFamily]:
        """All families."""
        family = CounterMetricFamily(
            "conductor_answer_cache", "Kept answers asked for, and given up, by level", labels=["level", "result"]
        )
        for level, counts in self._levels().items():
            for result, count in (("hit", counts.hits), ("miss", counts.misses), ("eviction", counts.evictions)):
                family.add_metric([level, result], count)
        yield family


class AheadMetrics(Collector):
    """Counts of what was made ready before it was asked for, read when somebody looks."""

    def __init__(self, tallies: Mapping[Kind, Tally]) -> None:
        self._tallies = tallies

    def collect(self) -> Iterator[CounterMetricFamily]:
        """All families."""
        family = CounterMetricFamily(
            "conductor_fetched_ahead",
            "What was made ready before it was asked for, and of that what was used and what was given up, by kind",
            labels=["kind", "result"],
        )
        for kind, tally in self._tallies.items():
            for result, count in (("fetched", tally.fetched), ("used", tally.used), ("wasted", tally.wasted)):
                family.add_metric([kind.value, result], count)
        yield family


class _Pair:
    """What is counted of one category and model."""

    def __init__(self) -> None:
        self.endings: Counter[Ending] = Counter()
        self.tokens = 0
        self.durations, self.first_tokens = _Buckets(_DURATIONS_S), _Buckets(_FIRST_TOKENS_S)


class _Buckets:
    """A histogram of seconds."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = np.array(bounds_s)
        self._names = [*map(floatToGoString, bounds_s), "+Inf"]
        self._counts = np.zeros(len(bounds_s) + 1, dtype=np.int64)
        self.total_s = 0.0

    def add(self, seconds: Sequence[float]) -> None:
        if not seconds:
            return
        self.total_s += sum(seconds)
        self._counts += np.bincount(np.searchsorted(self._bounds_s, seconds), minlength=len(self._counts))

    def buckets(self) -> list[tuple[str, float]]:
        """Bounds as Prometheus writes them, and how many were not above."""
        return list(zip(self._names, accumulate(map(float, self._counts)), strict=True))
