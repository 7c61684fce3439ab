"""What Prometheus sees of calls to language models: how many by ending, how long they took, how many tokens they wrote.

Fed by the `CallJournal` in groups, behind the answers, so that a call waits for none of it. Labels are categories and models
of the model table, which comes and goes; so the first pairs have labels of their own and all further ones share one.

Not covered: requests that the gateway passes on unparsed, whose accounts are in `GET /stats`.
"""

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from conductor.app.serving.calls import CallRecord, Ending

#: Category and model together; a histogram of one pair is about fifteen time series.
_MOST_PAIRS: Final = 100
_OTHERS: Final = ("others", "others")
_LABELS: Final = ("category", "model")


class CallMetrics:
    """Counts calls that ended."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._pairs: set[tuple[str, str]] = set()
        self._calls = Counter(
            "conductor_generations", "Calls to language models by their ending", [*_LABELS, "ending"], registry=registry
        )
        self._durations = Histogram(
            "conductor_generation_seconds",
            "Decision to the end of the answer, of calls that succeeded; loading is in it",
            _LABELS,
            buckets=(0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
            registry=registry,
        )
        self._first_tokens = Histogram(
            "conductor_generation_first_token_seconds",
            "Decision to the first piece of the answer; loading is in it",
            _LABELS,
            buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
            registry=registry,
        )
        self._tokens = Counter(
            "conductor_generated_tokens", "Tokens that language models wrote", _LABELS, registry=registry
        )

    async def on_calls(self, records: Sequence[CallRecord]) -> None:
        """Listener for `CallJournal`."""
        for record in records:
            self._count(record)

    def _count(self, record: CallRecord) -> None:
        outcome, pair = record.outcome, self._labels(record)
        self._calls.labels(*pair, outcome.ending.value).inc()
        self._tokens.labels(*pair).inc(outcome.completion_tokens)
        if outcome.ending is Ending.SUCCEEDED:
            self._durations.labels(*pair).observe(outcome.duration_s)
        if outcome.first_token_s is not None:
            self._first_tokens.labels(*pair).observe(outcome.first_token_s)

    def _labels(self, record: CallRecord) -> tuple[str, str]:
        pair = (str(record.decision.category), str(record.decision.model))
        if pair not in self._pairs and len(self._pairs) >= _MOST_PAIRS:
            return _OTHERS
        self._pairs.add(pair)
        return pair
