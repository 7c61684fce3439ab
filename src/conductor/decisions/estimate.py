"""Decide how long a task will take and how many compute units it keeps busy, with an interval for each.

Three sources, the best that exists: measured runs of the same workload (a signature on a device type), measured runs
of similar descriptions, and the table in `priors`. The first outcome already replaces the prior.

Compute units are measured as processor time over wall time: cores kept busy. That time, like the duration, follows a
curve over the sizes of the work, and their quotient is the estimate.

A machine is faster on one day than on another: heat, other users, a busy host. What all workloads of a device type lately
took longer than expected is carried over to the next prediction (`_Pace`), whichever workload that is for.

Nodes behind one device type differ in speed. Curve and nodes are fitted in turn (backfitting, Buja, Hastie and Tibshirani
1989): the curve through the durations that a typical node would have needed, and from its errors the effect of each node
(`node_speeds`). So a prediction is for a node, and what was learned on one serves the others.

Covered: workloads that never ran, ran once, ran often at several sizes; a bounded window per workload and a bounded
number of workloads. Only successes teach durations; a failure says nothing about how long the whole work takes.
Not covered: a node that is fast at one size and slow at another.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from conductor.decisions.curve import Curve, Level, Prediction, fit_cost, interval_spread
from conductor.decisions.evidence import Evidence
from conductor.decisions.node_speeds import KAPPA, NodeSpeeds, mean_errors
from conductor.decisions.priors import PRIOR_SPREAD
from conductor.domain.decision import Estimate, Forecast
from conductor.domain.device import DeviceType

_WINDOW: Final = 64
_WORKLOADS: Final = 2048
_FEWEST_COMPUTE_UNITS: Final = 0.01
#: Weight of similar tasks from which their durations are believed rather than the prior.
_SIMILAR_WEIGHT: Final = 0.5
_SIMILAR_SPREAD: Final = 0.9
_PACE_SHARE: Final = 0.15
_FURTHEST_ERROR: Final = 0.3
#: Rounds of backfitting; each begins where the last fit of the workload ended.
_ROUNDS: Final = 2
#: With fewer, an error says more about the fit than about the machine.
_RUNS_THAT_TELL: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Duration in seconds and compute units of one task.

    `basis` says what they rest on: `workload`, `similar` or `prior`; `runs` is how many measured runs decided.
    """

    duration_s: Estimate
    compute_units: Estimate
    basis: str
    runs: int


class _Workload:
    """The latest successful runs of one signature on one device type; curves are fitted when they are asked for."""

    def __init__(self) -> None:
        self.sizes: list[Mapping[str, float]] = []
        self.durations_s: list[float] = []
        self.compute_units: list[float] = []
        self.nodes: list[str] = []
        self.observed = 0
        #: By node: mean error against the typical node, as a logarithm, and runs; empty while there was only one node.
        self.errors: dict[str, tuple[float, int]] = {}
        self.effects: dict[str, tuple[float, int]] = {}
        self._fitted_at = 0
        self._curves: tuple[Curve | Level, Curve | Level] | None = None

    def observe(self, sizes: Mapping[str, float], duration_s: float, compute_units: float, node_id: str) -> None:
        self.sizes.append(sizes)
        self.durations_s.append(duration_s)
        self.compute_units.append(compute_units)
        self.nodes.append(node_id)
        for series in (self.sizes, self.durations_s, self.compute_units, self.nodes):
            del series[:-_WINDOW]
        self.observed += 1

    def fitted(self, device: DeviceType, speeds: NodeSpeeds) -> tuple[Curve | Level, Curve | Level]:
        """Curves of duration and of processor time on a typical node, no older than the latest run."""
        if self._curves is None or self._fitted_at != self.observed:
            duration = self._separate(device, speeds)
            typical_s = self._typical_s()
            busy = [units * seconds for units, seconds in zip(self.compute_units, typical_s, strict=True)]
            self._curves = (duration, fit_cost(self.sizes, busy))
            self._fitted_at = self.observed
        return self._curves

    def _separate(self, device: DeviceType, speeds: NodeSpeeds) -> Curve | Level:
        """Fit the curve and the effects of the nodes in turn."""
        general = {node_id: speeds.general(device, node_id) for node_id in dict.fromkeys(self.nodes)}
        known = self.effects
        self.effects = {n: (known[n][0] if n in known else at, self.nodes.count(n)) for n, at in general.items()}
        curve = fit_cost(self.sizes, self._typical_s())
        if len(general) == 1:
            errors: dict[str, tuple[float, int]] = {}
        else:
            for _ in range(_ROUNDS):
                effects = np.array([self.effects[node_id][0] for node_id in self.nodes])
                errors = mean_errors(self.nodes, curve.errors() + effects)
                self.effects = {
                    node_id: (general[node_id] + runs / (runs + KAPPA) * (mean - general[node_id]), runs)
                    for node_id, (mean, runs) in errors.items()
                }
                curve = fit_cost(self.sizes, self._typical_s())
        speeds.replace(device, self.errors, errors)
        self.errors = errors
        return curve

    def _typical_s(self) -> list[float]:
        """What the runs would have taken on a typical node."""
        return [s * math.exp(-self.effects[n][0]) for s, n in zip(self.durations_s, self.nodes, strict=True)]


class _Pace:
    """How much longer work takes now than its measured runs say, as a logarithm, over all workloads of a device type.

    An exponentially weighted mean of the errors of predictions: p ← p + a·(error − p). Noise of 8 % leaves 2 % in it.
    """

    def __init__(self) -> None:
        self._log_pace: dict[DeviceType, float] = {}

    def observe(self, device: DeviceType, log_error: float) -> None:
        """Take in the error of one prediction that had the pace in it; outliers count as `_FURTHEST_ERROR`."""
        before = self._log_pace.get(device, 0.0)
        bounded = min(max(log_error + before, -_FURTHEST_ERROR), _FURTHEST_ERROR)
        self._log_pace[device] = before + _PACE_SHARE * (bounded - before)

    def factor(self, device: DeviceType) -> float:
        """By what a prediction from measured runs is multiplied."""
        return math.exp(self._log_pace.get(device, 0.0))


class Estimator:
    """Everything measured about workloads, and what it predicts."""

    def __init__(self) -> None:
        self._workloads: OrderedDict[tuple[str, DeviceType], _Workload] = OrderedDict()
        self._pace = _Pace()
        self._speeds = NodeSpeeds()

    def observe(
        self,
        *,
        signature: str,
        device: DeviceType,
        sizes: Mapping[str, float],
        duration_s: float,
        compute_units: float,
        predicted_s: float | None = None,
        node_id: str = "",
    ) -> None:
        """Learn from one successful run; the least recently used workload is forgotten beyond 2,048.

        Args:
            predicted_s: what `estimate` said about this run, if it was asked.
            node_id: where it ran.
        """
        key = (signature, device)
        workload = self._workloads.get(key)
        if workload is None:
            workload = self._workloads[key] = _Workload()
            if len(self._workloads) > _WORKLOADS:
                (_, ran_on), forgotten = self._workloads.popitem(last=False)
                self._speeds.replace(ran_on, forgotten.errors, {})
        else:
            self._workloads.move_to_end(key)
        duration_s = max(duration_s, 1e-6)
        if predicted_s and workload.observed >= _RUNS_THAT_TELL:
            self._pace.observe(device, math.log(duration_s / predicted_s))
        workload.observe(_usable(sizes), duration_s, max(compute_units, _FEWEST_COMPUTE_UNITS), node_id)

    def attempted(
        self,
        *,
        signature: str,
        device: DeviceType,
        node_id: str,
        succeeded: bool,
        at_unix_s: float,
        failed_before: int = 0,
    ) -> None:
        """Learn from the end of one attempt, whichever it was, how reliable its node is.

        Args:
            failed_before: how many earlier attempts of the same task failed.
        """
        self._speeds.attempted(
            device,
            node_id,
            signature=signature,
            succeeded=succeeded,
            at_unix_s=at_unix_s,
            failed_before=failed_before,
        )

    def forecast(self, *, signature: str, device: DeviceType, typical_s: float, now_unix_s: float) -> Forecast | None:
        """What a task takes on each node that ran anything on this device type; None when none did.

        Args:
            typical_s: what `estimate` says without a node, in seconds.
        """
        workload = self._workloads.get((signature, device)) if signature else None
        if workload is not None:
            workload.fitted(device, self._speeds)
        effects = workload.effects if workload else {}
        return self._speeds.forecast(device, effects, typical_s=typical_s, now_unix_s=now_unix_s)

    def runs(self, signature: str, device: DeviceType) -> int:
        """How many successful runs of a workload were observed."""
        workload = self._workloads.get((signature, device))
        return workload.observed if workload else 0

    def estimate(
        self,
        *,
        signature: str,
        device: DeviceType,
        sizes: Mapping[str, float],
        prior_duration_s: float,
        prior_compute_units: float,
        evidence: Evidence,
        node_id: str = "",
    ) -> Estimates:
        """Predict one task from the best source there is.

        Args:
            signature: of the workload; empty when the task has none.
            device: the type it will run on.
            sizes: named positive quantities of the workload and its description.
            prior_duration_s, prior_compute_units: what `priors` says.
            evidence: similar past tasks.
            node_id: where it will run; by default on a typical node.
        """
        workload = self._workloads.get((signature, device)) if signature else None
        if workload is not None:
            curves = workload.fitted(device, self._speeds)
            known = workload.effects.get(node_id)
            slower = self._slower(device, node_id) if known is None else math.exp(known[0])
            return _from_runs(workload, curves, _usable(sizes), slower * self._pace.factor(device))
        slower = self._slower(device, node_id)
        units = _around(prior_compute_units, PRIOR_SPREAD / 2, "prior")
        log_mean, weight = evidence.log_duration_s.get(device, (0.0, 0.0))
        if weight >= _SIMILAR_WEIGHT:
            duration = _around(math.exp(log_mean) * slower, _SIMILAR_SPREAD, "history")
            return Estimates(duration_s=duration, compute_units=units, basis="similar", runs=0)
        duration = _around(prior_duration_s * slower, PRIOR_SPREAD, "prior")
        return Estimates(duration_s=duration, compute_units=units, basis="prior", runs=0)

    def _slower(self, device: DeviceType, node_id: str) -> float:
        """By what a node multiplies durations in general."""
        return math.exp(self._speeds.general(device, node_id)) if node_id else 1.0


def _usable(sizes: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in sizes.items() if 0 < value < math.inf}


def _from_runs(
    workload: _Workload, curves: tuple[Curve | Level, Curve | Level], sizes: Mapping[str, float], pace: float
) -> Estimates:
    duration_curve, busy_curve = curves
    duration, busy = duration_curve.predict(sizes), busy_curve.predict(sizes)
    most = max(workload.compute_units) * 1.5
    units = min(max(busy.value / duration.value, _FEWEST_COMPUTE_UNITS), most)
    spread = interval_spread(busy_curve.left_out - duration_curve.left_out)
    return Estimates(
        duration_s=_estimate(duration, pace, "history"),
        compute_units=_around(units, spread, "history"),
        basis="workload",
        runs=workload.observed,
    )


def _around(value: float, spread: float, source: str) -> Estimate:
    factor = math.exp(spread)
    return Estimate(value=value, low=value / factor, high=value * factor, source=source)


def _estimate(prediction: Prediction, pace: float, source: str) -> Estimate:
    return Estimate(
        value=prediction.value * pace, low=prediction.low * pace, high=prediction.high * pace, source=source
    )
