"""Make the decision: join what a description says with what happened before and what the fleet offers.

`prepare` is the slow, blocking part (encoding, once per text) and may run in any thread. `conclude` and `learn` belong
to one thread, the event loop's, and take microseconds to a millisecond. Which node stands where is the fleet's answer
(`FleetView`); queueing and starting the work is scheduling's business.

Where measured runs tell nodes apart, the fleet is asked with a forecast for each of them, and the estimate is for the node
that comes out best.

Covered: repeated descriptions (the whole conclusion is reused for as long as it would come out the same), fleets
without the ideal device or without any node, learning from every outcome, starting from stored experience.
Not covered: tasks made of several steps.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from conductor.decisions.analyse import Analysis, Analyst
from conductor.decisions.attached import text_to_read
from conductor.decisions.calibration import Calibration, TrackRecord
from conductor.decisions.confidence import SuccessRates, confidence_parts, weighted_sum
from conductor.decisions.estimate import Estimates, Estimator
from conductor.decisions.evidence import Evidence, choose_device, gather
from conductor.decisions.experience import experience_of, teaches
from conductor.decisions.facts import Request, as_evidence, request_of
from conductor.decisions.habits import Habits
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import Adjuster, Experience, FleetView, LanguageModel, TextEncoder
from conductor.decisions.priors import memory_need_bytes, prior_compute_units, prior_duration_s
from conductor.decisions.reasoning import reasoning_of
from conductor.decisions.urgency import choose_priority, stated_priority
from conductor.domain.clock import Clock
from conductor.domain.decision import Decision, Need, Ranking
from conductor.domain.device import DeviceType
from conductor.domain.outcome import Outcome
from conductor.domain.task import Submission, Task
from conductor.domain.workload import WorkProfile

#: For so long a conclusion is reused although the fleet may have moved; placement looks again anyway.
_REUSED_FOR_S: Final = 0.25
_CONCLUSIONS: Final = 1024
_RUNS_OF_FULL_WEIGHT: Final = 20
#: Work of this stated priority is no occasion to try nodes out.
_CRITICAL: Final = 1


class DecisionMaker:
    """Decides, and learns from what came of it.

    Args:
        encoder: turns descriptions into embeddings and class probabilities.
        fleet: ranks nodes for a need.
        memory: past tasks; of the encoder's width.
        clock: for recency, deadlines and the stamp on decisions.
        language_model: takes part in reading descriptions when there is one.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        fleet: FleetView,
        memory: ExperienceMemory,
        clock: Clock,
        language_model: LanguageModel | None = None,
    ) -> None:
        self._analyst = Analyst(encoder, language_model)
        self._fleet = fleet
        self._memory = memory
        self._clock = clock
        self._estimator = Estimator()
        self._rates = SuccessRates()
        self._habits = Habits()
        self._calibration = Calibration()
        self._conclusions: OrderedDict[Hashable, tuple[Decision, float]] = OrderedDict()

    def known(self, text: str) -> Analysis | None:
        """The kept analysis of a description, at once; None when `prepare` has to read it."""
        return self._analyst.known(text)

    def prepare(self, texts: Sequence[str]) -> list[Analysis]:
        """Read descriptions (`text_to_read`) and look for similar past tasks; blocking, thread-safe, one batch."""
        analyses = self._analyst.analyse(texts)
        for analysis in analyses:
            if not analysis.nearest.places:
                analysis.nearest = self._memory.nearest(analysis.embedding)
        return analyses

    def untuned(self, texts: Sequence[str]) -> list[Analysis]:
        """What the models say without a tuned version; blocking, thread-safe."""
        return self._analyst.untuned(texts)

    def retune(self, adjuster: Adjuster | None, remark: str = "") -> None:
        """Let another tuned version, or none, take part in decisions from now on; decisions note a `remark`."""
        self._analyst.retune(adjuster, remark)
        self._conclusions.clear()

    def decide(self, task_id: str, submission: Submission, profile: WorkProfile | None = None) -> Decision:
        """`prepare` and `conclude` in one; blocking when the description is new.

        Raises:
            InvalidInput: the metadata names an impossible priority, deadline, node or quantity.
        """
        return self.conclude(task_id, submission, self.prepare([text_to_read(submission)])[0], profile)

    def conclude(
        self, task_id: str, submission: Submission, analysis: Analysis, profile: WorkProfile | None = None
    ) -> Decision:
        """Decide a task whose description has been read.

        Raises:
            InvalidInput: the metadata names an impossible priority, deadline, node or quantity.
        """
        request = request_of(submission, analysis, profile)
        now_s = self._clock.monotonic_s()
        known = self._conclusions.get(request.key) if request.key is not None else None
        if known is not None and 0 <= now_s - known[1] < _REUSED_FOR_S:
            return replace(known[0], task_id=task_id, decided_at_unix_s=self._clock.now_unix_s())
        decision = self._conclude(task_id, request)
        if request.key is not None:
            self._conclusions[request.key] = (decision, now_s)
            if len(self._conclusions) > _CONCLUSIONS:
                self._conclusions.popitem(last=False)
        return decision

    def _conclude(self, task_id: str, request: Request) -> Decision:
        analysis, now_unix_s = request.analysis, self._clock.now_unix_s()
        analysis.nearest = self._memory.nearest(analysis.embedding, analysis.nearest)
        evidence = gather(self._memory.recall(analysis.embedding, analysis.nearest), now_unix_s=now_unix_s)
        choice = choose_device(self._habits.weigh(analysis.device_probabilities, request.signature), evidence)
        estimates, ranking = self._place(request, choice.device, evidence)
        device_runs = self._rates.runs(ranking.device)
        parts = confidence_parts(
            probability=choice.probability,
            chosen=choice.device,
            evidence=evidence,
            device_runs=device_runs,
            ranking=ranking,
        )
        raw = weighted_sum(parts)
        priority = choose_priority(
            analysis.features.urgency,
            request.metadata,
            now_unix_s=now_unix_s,
            duration_s=estimates.duration_s.value,
            proposed=analysis.proposal.priority if analysis.proposal else None,
        )
        decision = Decision(
            task_id=task_id,
            device=choice.device,
            runner_up=choice.runner_up,
            available_device=ranking.device,
            task_kind=analysis.task_kind,
            priority=priority.value,
            compute_units=estimates.compute_units,
            duration_s=estimates.duration_s,
            confidence=self._calibration.confidence(raw),
            parts=parts,
            nodes=ranking.best,
            reasoning="",
            similar=evidence.similar,
            device_probabilities=choice.probabilities,
            evidence=as_evidence(
                request,
                ranking,
                estimates,
                device=choice.device,
                priority=priority,
                raw_confidence=raw,
                margin=choice.margin,
                similar_runs=evidence.runs,
                device_runs=device_runs,
            ),
            models=analysis.models,
            decided_at_unix_s=now_unix_s,
        )
        return replace(decision, reasoning=reasoning_of(decision))

    def _place(self, request: Request, device: DeviceType, evidence: Evidence) -> tuple[Estimates, Ranking]:
        """Ask the fleet; when it answers with another type than expected, estimate again for that one."""
        offered = self._fleet.offered_devices()
        expected = device if device in offered else DeviceType.CPU
        estimates, need = self._ask(request, device, expected, evidence)
        ranking = self._fleet.rank(need)
        if ranking.device is not expected:
            estimates, need = self._ask(request, device, ranking.device, evidence)
            ranking = ranking if need.forecast is None else self._fleet.rank(need)
        if ranking.best and need.forecast is not None:
            estimates = self._estimate(request, device, ranking.device, evidence, ranking.best[0].node_id)
        return estimates, ranking

    def _ask(
        self, request: Request, ideal: DeviceType, runs_on: DeviceType, evidence: Evidence
    ) -> tuple[Estimates, Need]:
        """What the task takes on a typical node with this device type, and what it asks of the fleet."""
        estimates = self._estimate(request, ideal, runs_on, evidence)
        forecast = self._estimator.forecast(
            signature=request.signature,
            device=runs_on,
            typical_s=estimates.duration_s.value,
            now_unix_s=self._clock.now_unix_s(),
        )
        return estimates, Need(
            device=ideal,
            compute_units=estimates.compute_units.value,
            memory_bytes=memory_need_bytes(
                request.analysis.task_kind, request.work, limit_bytes=request.memory_limit_bytes
            ),
            pinned_node=request.pinned_node,
            forecast=forecast,
            forecast_device=runs_on,
            explore=stated_priority(request.metadata) != _CRITICAL,
        )

    def _estimate(
        self, request: Request, ideal: DeviceType, runs_on: DeviceType, evidence: Evidence, node_id: str = ""
    ) -> Estimates:
        kind, proposal = request.analysis.task_kind, request.analysis.proposal
        duration_s = prior_duration_s(kind, request.work, request.sizes, on_substitute=runs_on is not ideal)
        units = prior_compute_units(kind, runs_on)
        if proposal is not None:
            # Two rough guesses of an order of magnitude: their geometric mean.
            duration_s = float(np.sqrt(duration_s * (proposal.duration_s or duration_s)))
            units = float(np.sqrt(units * (proposal.compute_units or units)))
        return self._estimator.estimate(
            signature=request.signature,
            device=runs_on,
            sizes=request.sizes,
            prior_duration_s=duration_s,
            prior_compute_units=units,
            evidence=evidence,
            node_id=node_id,
        )

    def learn(self, task: Task, outcome: Outcome, profile: WorkProfile | None = None) -> Experience | None:
        """Take in what came of a decision; later ones know it at once.

        Reads the description again, blocking, when its analysis is no longer kept.

        Returns:
            The experience to store; None when there is nothing to learn (no decision, cancelled, could not start), or
            nothing that a later start would miss (one more success of what succeeded many times).
        """
        decision = task.decision
        if decision is None or not teaches(outcome):
            return None
        text = text_to_read(task.submission)
        analysis = self._analyst.known(text) or self._analyst.analyse([text])[0]
        request = request_of(task.submission, analysis, profile)
        experience = experience_of(decision, outcome, request)
        raw = decision.evidence.get("raw_confidence")
        raw = raw if isinstance(raw, float) else self._calibration.raw(decision.confidence)
        return experience if self._take_in(experience, raw=raw) else None

    def restore(self, experiences: Iterable[Experience]) -> None:
        """Take in stored experiences, oldest first, as if they happened now one after the other."""
        for experience in experiences:
            self._take_in(experience, raw=self._calibration.raw(experience.confidence))
            # Fits the map, as the decision after this one once did, so that the next stated value is undone rightly.
            self._calibration.confidence(experience.confidence)

    def _take_in(self, experience: Experience, *, raw: float) -> bool:
        """Learn one outcome; returns whether it changes anything that anyone could see.

        The thousandth success of the same task does not; the first ones and every failure do, and then a tenth more.
        """
        runs = self._memory.remember(experience)
        self._rates.observe(experience.available_device, succeeded=experience.succeeded)
        self._rates.observe(experience.node_id, succeeded=experience.succeeded)
        self._calibration.observe(
            raw=raw,
            stated=experience.confidence,
            succeeded=experience.succeeded,
            weight=min(1.0, _RUNS_OF_FULL_WEIGHT / max(runs, 1)),
        )
        if experience.node_id:
            self._estimator.attempted(
                signature=experience.signature,
                device=experience.available_device,
                node_id=experience.node_id,
                succeeded=experience.succeeded,
                at_unix_s=experience.at_unix_s,
            )
        if experience.succeeded and experience.signature:
            self._habits.observe(experience.signature, experience.device)
            self._estimator.observe(
                signature=experience.signature,
                device=experience.available_device,
                sizes=experience.sizes,
                duration_s=experience.duration_s,
                compute_units=experience.compute_units,
                predicted_s=experience.predicted_duration_s,
                node_id=experience.node_id,
            )
        telling = not experience.succeeded or runs < _RUNS_OF_FULL_WEIGHT or runs % (runs // 10) == 0
        if telling:
            self._conclusions.clear()
        return telling

    def success_rate(self, name: str) -> float | None:
        """Recent success rate of a device type or a node, in 0–1; None when nothing ran there yet."""
        successes, failures = self._rates.runs(name)
        return successes / (successes + failures) if successes + failures else None

    def track_record(self) -> TrackRecord:
        """How the confidences stated so far held up."""
        return self._calibration.record()
