"""What Prometheus sees: tasks, queue, commits, ledger, requests, calls. One registry per composed product."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from conductor.app.serving.metrics import AheadMetrics, AnswerCacheMetrics, CallMetrics
from conductor.domain.event import TaskEvent
from conductor.domain.task import FINAL, Task
from conductor.serving.lifetimes.tallies import Kind, Tally
from conductor.serving.ports import LevelCounts


class Metrics:
    """Counts transitions as a listener; asks for gauges only when somebody looks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        #: Counted in a plain dict, because a transition must cost less than a microsecond here.
        self._transitions: Counter[str] = Counter()
        self._registry.register(_Transitions(self._transitions))
        self._durations = Histogram(
            "conductor_task_duration_seconds",
            "Wall time of attempts by workload kind and ending",
            ["kind", "ending"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
            registry=self._registry,
        )
        self._requests = Histogram(
            "conductor_http_request_duration_seconds",
            "Time to answer HTTP requests",
            ["method", "route", "status"],
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
            registry=self._registry,
        )
        self._routes: dict[tuple[str, str, int], Histogram] = {}

        #: Listens to calls of language models.
        self.calls = CallMetrics(self._registry)

    def on_transition(self, task: Task, event: TaskEvent) -> None:
        """Listener for `Transitions`."""
        self._transitions[event.state] += 1
        if event.state in FINAL and task.outcome is not None and task.submission.workload is not None:
            self._durations.labels(task.submission.workload.kind, task.outcome.ending).observe(task.outcome.duration_s)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request; `route` is the pattern, not the path, so labels stay few."""
        labels = (method, route, status)
        histogram = self._routes.get(labels)
        if histogram is None:  # looking it up by its labels costs more than observing
            histogram = self._routes[labels] = self._requests.labels(method, route, str(status))
        histogram.observe(seconds)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Offer a value that is read when metrics are asked for."""
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def count_answers(self, levels: Callable[[], Mapping[str, LevelCounts]]) -> None:
        """Show what the levels of the answer cache count."""
        self._registry.register(AnswerCacheMetrics(levels))

    def count_ahead(self, tallies: Mapping[Kind, Tally]) -> None:
        """Show what was made ready before it was asked for."""
        self._registry.register(AheadMetrics(tallies))

    def render(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _Transitions(Collector):
    """Shows the plain counts as a Prometheus counter."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One sample per state entered."""
        family = CounterMetricFamily(
            "conductor_task_transitions", "Task transitions by the state entered", labels=["state"]
        )
        for state, count in self._counts.items():
            family.add_metric([state], count)
        yield family
