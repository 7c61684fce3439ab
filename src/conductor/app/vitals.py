"""Whether everything works, and what does not, in sentences: what `/health` tells and talk answers from."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from conductor import __version__
from conductor.adapters.sql.committer import GroupCommitter
from conductor.adapters.workloads.registry import WorkloadRegistry
from conductor.app.configuration import Configuration
from conductor.app.ledger_desk import LedgerDesk
from conductor.app.minds.active import ActiveModels
from conductor.app.minds.tuning import Tuning
from conductor.domain.clock import Clock
from conductor.scheduling.dispatch import Dispatcher


class Vitals:
    """Asks every part that can fail by itself."""

    def __init__(
        self,
        *,
        clock: Clock,
        configuration: Configuration,
        committer: GroupCommitter,
        ledger: LedgerDesk,
        tuning: Tuning,
        models: ActiveModels,
        registry: WorkloadRegistry,
        dispatcher: Dispatcher,
        failing_models: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._clock = clock
        self._configuration = configuration
        self._committer = committer
        self._ledger = ledger
        self._tuning = tuning
        self._models = models
        self._registry = registry
        self._dispatcher = dispatcher
        self._failing_models = failing_models
        self._started_at_s = clock.monotonic_s()

    def problems(self) -> list[str]:
        """What does not work now."""
        found = [f"database: {failure}" for failure in [self._committer.failure] if failure]
        found += [f"ledger: {trouble}" for trouble in [self._ledger.trouble] if trouble]
        found += [trouble for trouble in [self._tuning.problem, self._models.problem] if trouble]
        found += [f"model {name}: {trouble}" for name, trouble in self._failing_models().items()]
        return found + [f"workload {name}: {reason}" for name, reason in self._registry.broken.items()]

    def monotonic_s(self) -> float:
        """Seconds of the system's monotonic clock."""
        return self._clock.monotonic_s()

    async def commits_go_on(self, *, within_s: float) -> bool:
        """Whether what waits for the database is stored or refused within this time; False where a commit hangs."""
        return await self._committer.goes_on(within_s=within_s)

    def report(self) -> dict[str, Any]:
        """The state in one word, the problems, the language model, and a few figures; `failing` is what cannot record."""
        configuration = self._configuration
        mind = self._models.mind(
            in_effect=configuration.settings.mind.model, configured=configuration.wanted.mind.model
        )
        return {
            "status": "failing" if self._committer.failure or self._ledger.trouble else "ok",
            "version": __version__,
            "uptime_s": self._clock.monotonic_s() - self._started_at_s,
            "tasks_waiting": self._dispatcher.waiting,
            "tasks_running": self._dispatcher.running,
            "problems": self.problems(),
            "mind": asdict(mind),
        }
