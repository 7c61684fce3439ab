"""The use cases about tuned versions: fit one to this installation's history, keep it or not, go back to another.

One fit at a time runs in the background (`run` must be running as a task of the owner). A version takes part in decisions
from the moment its digest stands on the ledger; one whose file has another digest, or that was fitted to another encoder,
is set aside at the start, the shipped mind decides, and `problem` and each decision say so.

The arithmetic is `decisions.tuning`, where labels come from `decisions.labels`, what is kept `decisions.keeping`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import structlog

from conductor.adapters.mind_tuning.guard import Guard
from conductor.adapters.mind_tuning.versions import SHIPPED, Version, Versions
from conductor.adapters.sql.corrections import SqlCorrections
from conductor.app.ledgering import LedgerKeeper
from conductor.app.minds.active import ActiveModels
from conductor.app.minds.kept_version import kept_version, read_version
from conductor.app.minds.tuning_run import Material, Outcome, read_material, tune
from conductor.decisions.labels import Label, gather_labels, shortage, split
from conductor.decisions.ports import ExperienceStore, TextEncoder
from conductor.decisions.recommend import DecisionMaker
from conductor.decisions.tuning import TunedMind
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, Conflict, ModelError, NotFound

#: The latest corrections, devices asked for and runs that are looked at.
_LOOKED_AT: Final = 5000
_MORE_LABELS: Final = (
    "run tasks as usual, then say of some where they belonged: `conductor tasks list` shows them, "
    "`conductor tasks correct TASK --device GPU` labels one; a `device` in the metadata of a submission labels it too"
)

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Job:
    """How the last fit stands: `idle` before the first, then `running`, `kept`, `not_kept`, `too_little` or `failed`.

    `because` says why it ended so, `next_step` what a person can do now.
    """

    state: str = "idle"
    done: int = 0
    total: int = 0
    because: str = ""
    next_step: str = ""
    version: int | None = None
    labels: dict[str, int] = field(default_factory=dict)
    judgement: dict[str, Any] | None = None


class Tuning:
    """Fits, keeps and switches tuned versions of the decision maker."""

    def __init__(
        self,
        *,
        maker: DecisionMaker,
        models: ActiveModels,
        encoder: TextEncoder,
        versions: Versions,
        corrections: SqlCorrections,
        experiences: ExperienceStore,
        keeper: LedgerKeeper,
        clock: Clock,
        read_guard: Callable[[], Guard],
    ) -> None:
        self._maker = maker
        self._models = models
        self._encoder = encoder
        self._versions = versions
        self._corrections = corrections
        self._experiences = experiences
        self._keeper = keeper
        self._clock = clock
        self._read_guard = read_guard
        self._in_use: TunedMind | None = None
        self._wanted = asyncio.Event()
        self.job = Job()
        #: Why the version that should be in use is not; None if all is well.
        self.problem: str | None = None

    async def restore(self) -> None:
        """Let corrected priorities count again, and the version that was in use if it is still the one on the ledger."""
        for correction in await self._corrections.latest(_LOOKED_AT):
            self._maker.prioritise(correction.task_id, correction.description, correction.priority)
        try:
            mind = await kept_version(self._versions, self._encoder, self._keeper.recorded_checksum)
        except ModelError as refusal:
            self.problem = refusal.message
            log.warning("tuned_version_set_aside", because=refusal.message)
            self._maker.retune(None, self.problem)
            return
        if mind is not None:
            self._use(mind)

    async def run(self) -> None:
        """Fit whenever `start` asks for it."""
        while True:
            await self._wanted.wait()
            try:
                await self._tune()
            except ConductorError as failure:
                self.job.state, self.job.because = "failed", failure.message
                log.warning("tuning_failed", because=failure.message)
            except Exception as fault:  # a fit gone wrong must not end the server, which decides well without it
                self.job.state, self.job.because = "failed", f"{type(fault).__name__}: {fault}"
                log.exception("tuning_failed")
            self._wanted.clear()

    def start(self) -> Job:
        """Begin a fit in the background; `job` says how it stands.

        Raises:
            Conflict: one is under way.
        """
        self._check_idle()
        self.job = Job(state="running")
        self._wanted.set()
        return self.job

    async def listing(self) -> list[dict[str, Any]]:
        """Every version with what it reached on its hold-out and its card, oldest first; the shipped mind is number 0.

        `hold_out` compares it with the version it was measured against: `count` texts that it had not learned from, on
        which `right` (in 0–1) and `log_loss` (in nats) were `before` and `after`. None for the shipped mind.
        """
        found = await asyncio.to_thread(self._versions.all)
        used = await self._active()
        return [
            {
                "version": SHIPPED,
                "active": used == SHIPPED,
                "usable": True,
                "made_at_unix_s": None,
                "hold_out": None,
                "card": None,
            },
            *(
                {
                    "version": version.number,
                    "active": used == version.number,
                    "usable": version.card.get("encoder", {}).get("sha256") == self._encoder.checksum,
                    "made_at_unix_s": version.card.get("created_at_unix_s"),
                    "hold_out": _hold_out(version.card),
                    "card": dict(version.card),
                }
                for version in found
            ),
        ]

    async def roll_back(self, number: int | None = None) -> int:
        """Use another version at once, by default the one that the present one replaced; returns its number.

        Raises:
            Conflict: a fit is under way, or there is nothing to go back from.
            NotFound: there is no such version.
            ModelError: its files are damaged, or it was fitted to another encoder.
        """
        self._check_idle()
        known = {version.number: version for version in await asyncio.to_thread(self._versions.all)}
        if number is None:
            number = await self._previous(known)
        if number != SHIPPED and number not in known:
            raise NotFound(f"there is no version {number}; `conductor mind versions` lists them", field="version")
        mind = None if number == SHIPPED else await self._usable(number)
        if mind is not None:
            recorded = await self._keeper.recorded_checksum(mind.name)
            if recorded not in (None, mind.checksum):
                raise ModelError(f"{mind.name} has SHA-256 {mind.checksum}, the ledger recorded {recorded}")
        await self._activate(number, mind)
        return number

    async def _previous(self, known: dict[int, Version]) -> int:
        active = await self._active()
        if active == SHIPPED:
            raise Conflict("the shipped mind is in use; there is nothing to go back from", field="version")
        return int(known[active].card.get("parent", SHIPPED)) if active in known else SHIPPED

    async def _active(self) -> int | None:
        """The number of the version that should be in use; None where nothing readable says so."""
        try:
            return await asyncio.to_thread(self._versions.active)
        except ConductorError:
            return None

    async def _usable(self, number: int) -> TunedMind:
        return await asyncio.to_thread(read_version, self._versions, number, self._encoder)

    async def _tune(self) -> None:
        job = self.job
        labels = await self._labels()
        job.labels = {source: sum(label.source == source for label in labels) for source in {x.source for x in labels}}
        parts = split(labels)
        if parts is None:
            job.state, job.next_step = "too_little", _MORE_LABELS
            job.because = (await asyncio.to_thread(shortage, labels)).because()
            return

        def count(done: int, total: int) -> None:
            job.done, job.total = done, total

        guard = await asyncio.to_thread(self._read_guard)
        material = await asyncio.to_thread(read_material, self._maker.untuned, parts, guard, count)
        outcome = await asyncio.to_thread(tune, material, self._in_use)
        job.judgement, job.because = asdict(outcome.judgement), outcome.judgement.because
        job.next_step = outcome.judgement.next_step
        if outcome.judgement.kept:
            job.version = await self._keep(material, outcome, labels)
        job.state = "kept" if outcome.judgement.kept else "not_kept"
        log.info("tuned", state=job.state, version=job.version, because=job.because)

    async def _labels(self) -> list[Label]:
        return gather_labels(
            await self._corrections.latest(_LOOKED_AT),
            await self._corrections.asked_for(_LOOKED_AT),
            list(await self._experiences.recall(_LOOKED_AT)),
        )

    async def _keep(self, material: Material, outcome: Outcome, labels: list[Label]) -> int:
        card = {
            "created_at_unix_s": self._clock.now_unix_s(),
            "parent": await self._active() or SHIPPED,
            "encoder": {"name": self._encoder.name, "sha256": self._encoder.checksum},
            "models": dict(material.models),
            "labels": self.job.labels,
            "data_sha256": material.digests(),
            "judgement": asdict(outcome.judgement),
        }
        version = await asyncio.to_thread(self._versions.add, outcome.adjustment.arrays(), card)
        await self._activate(version.number, await self._usable(version.number))
        return version.number

    async def _activate(self, number: int, mind: TunedMind | None) -> None:
        """Record, then switch: a version that takes part is always on the ledger."""
        if mind is not None:
            await self._keeper.record_model(mind.name, mind.checksum)
        self._keeper.record("mind", "mind", {"version": number, "sha256": mind.checksum if mind else ""})
        await self._keeper.recorded()
        await asyncio.to_thread(self._versions.activate, number)
        self._use(mind)

    def _use(self, mind: TunedMind | None) -> None:
        self._in_use, self.problem = mind, None
        self._maker.retune(mind)
        self._models.use_tuned(mind)

    def _check_idle(self) -> None:
        if self.job.state == "running":
            raise Conflict("the mind is being tuned; try again when that is done")


def _hold_out(card: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a version reached; None where its card does not say."""
    judgement = card.get("judgement", {})
    before, after = judgement.get("held_out_before"), judgement.get("held_out_after")
    if before is None or after is None:
        return None
    return {
        "count": after["count"],
        "against": card.get("parent", SHIPPED),
        **{name: {"before": before[name], "after": after[name]} for name in ("right", "log_loss")},
    }
