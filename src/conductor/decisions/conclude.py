"""Conclude one decision: device, node, what it takes, priority and confidence, with the evidence for each.

Arithmetic on what is known at this moment: the description as read, what outcomes taught (`lessons`), the fleet's answer.
Where measured runs tell nodes apart, the fleet is asked with a forecast for each of them, and the estimate is for the node
that comes out best. Reusing a conclusion is left to `recommend`, what to say about it to `reasoning`.

Covered: fleets without the ideal device or without any node. Not covered: tasks made of several steps.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from conductor.decisions.confidence import confidence_parts, weighted_sum
from conductor.decisions.estimate import Estimates
from conductor.decisions.evidence import Evidence, choose_device, gather
from conductor.decisions.facts import Request, as_evidence
from conductor.decisions.lessons import Lessons
from conductor.decisions.ports import FleetView
from conductor.decisions.priors import memory_need_bytes, prior_compute_units, prior_duration_s
from conductor.decisions.reasoning import reasoning_of
from conductor.decisions.urgency import choose_priority, stated_priority
from conductor.domain.decision import Decision, Need, Ranking
from conductor.domain.device import DeviceType

#: Work of this stated priority is no occasion to try nodes out.
_CRITICAL: Final = 1


def conclude(task_id: str, request: Request, lessons: Lessons, fleet: FleetView, *, now_unix_s: float) -> Decision:
    """Decide a request; brings the neighbours kept with its analysis up to date."""
    analysis = request.analysis
    analysis.nearest = lessons.memory.nearest(analysis.embedding, analysis.nearest)
    found = lessons.memory.recall(analysis.embedding, analysis.nearest)
    evidence = gather(found, now_unix_s=now_unix_s)
    choice = choose_device(lessons.habits.weigh(analysis.device_probabilities, request.signature), evidence)
    estimates, ranking = _Placing(request, choice.device, evidence, lessons, fleet, now_unix_s).best()
    device_runs = lessons.rates.runs(ranking.device)
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
        corrected=lessons.priorities.of(analysis.description, analysis.features.urgency, found),
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
        confidence=lessons.calibration.confidence(raw),
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


@dataclass(frozen=True, slots=True)
class _Placing:
    """Where a request with an ideal device runs best, and what it takes there."""

    request: Request
    ideal: DeviceType
    evidence: Evidence
    lessons: Lessons
    fleet: FleetView
    now_unix_s: float

    def best(self) -> tuple[Estimates, Ranking]:
        """Ask the fleet; when it answers with another type than expected, estimate again for that one."""
        expected = self.ideal if self.ideal in self.fleet.offered_devices() else DeviceType.CPU
        estimates, need = self._ask(expected)
        ranking = self.fleet.rank(need)
        if ranking.device is not expected:
            estimates, need = self._ask(ranking.device)
            ranking = ranking if need.forecast is None else self.fleet.rank(need)
        if ranking.best and need.forecast is not None:
            estimates = self._estimate(ranking.device, ranking.best[0].node_id)
        return estimates, ranking

    def _ask(self, runs_on: DeviceType) -> tuple[Estimates, Need]:
        """What the task takes on a typical node with this device type, and what it asks of the fleet."""
        request, estimates = self.request, self._estimate(runs_on)
        forecast = self.lessons.estimator.forecast(
            signature=request.signature,
            device=runs_on,
            typical_s=estimates.duration_s.value,
            now_unix_s=self.now_unix_s,
        )
        return estimates, Need(
            device=self.ideal,
            compute_units=estimates.compute_units.value,
            memory_bytes=memory_need_bytes(
                request.analysis.task_kind, request.work, limit_bytes=request.memory_limit_bytes
            ),
            pinned_node=request.pinned_node,
            forecast=forecast,
            forecast_device=runs_on,
            explore=stated_priority(request.metadata) != _CRITICAL,
        )

    def _estimate(self, runs_on: DeviceType, node_id: str = "") -> Estimates:
        request = self.request
        kind, proposal = request.analysis.task_kind, request.analysis.proposal
        duration_s = prior_duration_s(kind, request.work, request.sizes, on_substitute=runs_on is not self.ideal)
        units = prior_compute_units(kind, runs_on)
        if proposal is not None:
            # Two rough guesses of an order of magnitude: their geometric mean.
            duration_s = float(np.sqrt(duration_s * (proposal.duration_s or duration_s)))
            units = float(np.sqrt(units * (proposal.compute_units or units)))
        return self.lessons.estimator.estimate(
            signature=request.signature,
            device=runs_on,
            sizes=request.sizes,
            prior_duration_s=duration_s,
            prior_compute_units=units,
            evidence=self.evidence,
            node_id=node_id,
        )
