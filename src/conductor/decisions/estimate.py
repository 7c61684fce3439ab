"""Decide how long a task will take and how many compute units it keeps busy, with an interval for each.

Three sources, the best that exists: measured runs of the same workload (a signature on a device type), measured runs
of similar descriptions, and the table in `priors`. The first outcome already replaces the prior.

Compute units are measured as processor time over wall time: cores kept busy. That time, like the duration, follows a
curve over the sizes of the work, and their quotient is the estimate.

A machine is faster on one day than on another: heat, other users, a busy host. What all workloads of a device type lately
took longer than expected is carried over to the next prediction (`_Pace`), whichever workload that is for.

Covered: workloads that never ran, ran once, ran often at several sizes; a bounded window per workload and a bounded
number of workloads. Only successes teach durations; a failure says nothing about how long the whole work takes.
Not covered: nodes of different speed behind one device type (their spread shows in the interval).
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from conductor.decisions.curve import Curve, Level, Prediction, fit_cost, interval_spread
from conductor.decisions.evidence import Evidence
from conductor.decisions.priors import PRIOR_SPREAD
from conductor.domain.decision import Estimate
from conductor.domain.device import DeviceType

_WINDOW: Final = 64
_WORKLOADS: Final = 2048
_FEWEST_COMPUTE_UNITS: Final = 0.01
#: Weight of similar tasks from which their durations are believed rather than the prior.
_SIMILAR_WEIGHT: Final = 0.5
_SIMILAR_SPREAD: Final = 0.9
_PACE_SHARE: Final = 0.15
_FURTHEST_ERROR: Final = 0.3
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


@dataclass(slots=True)
class _Workload:
    """The latest successful runs of one signature on one device type; curves are fitted when they are asked for."""

    sizes: list[Mapping[str, float]] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    compute_units: list[float] = field(default_factory=list)
    observed: int = 0
    fitted_at: int = 0
    curves: tuple[Curve | Level, Curve | Level] | None = None

    def observe(self, sizes: Mapping[str, float], duration_s: float, compute_units: float) -> None:
        for series, value in ((self.durations_s, duration_s), (self.compute_units, compute_units)):
            series.append(value)
            del series[:-_WINDOW]
        self.sizes.append(sizes)
        del self.sizes[:-_WINDOW]
        self.observed += 1

    def fitted(self) -> tuple[Curve | Level, Curve | Level]:
        """Curves of duration and of processor time, no older than the latest run."""
        if self.curves is None or self.fitted_at != self.observed:
            busy = [units * seconds for units, seconds in zip(self.compute_units, self.durations_s, strict=True)]
            self.curves = (fit_cost(self.sizes, self.durations_s), fit_cost(self.sizes, busy))
            self.fitted_at = self.observed
        return self.curves


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

    def observe(
        self,
        *,
        signature: str,
        device: DeviceType,
        sizes: Mapping[str, float],
        duration_s: float,
        compute_units: float,
        predicted_s: float | None = None,
    ) -> None:
        """Learn from one successful run; the least recently used workload is forgotten beyond 2,048.

        Args:
            predicted_s: what `estimate` said about this run, if it was asked.
        """
        key = (signature, device)
        workload = self._workloads.get(key)
        if workload is None:
            workload = self._workloads[key] = _Workload()
            if len(self._workloads) > _WORKLOADS:
                self._workloads.popitem(last=False)
        else:
            self._workloads.move_to_end(key)
        duration_s = max(duration_s, 1e-6)
        if predicted_s and workload.observed >= _RUNS_THAT_TELL:
            self._pace.observe(device, math.log(duration_s / predicted_s))
        workload.observe(_usable(sizes), duration_s, max(compute_units, _FEWEST_COMPUTE_UNITS))

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
    ) -> Estimates:
        """Predict one task from the best source there is.

        Args:
            signature: of the workload; empty when the task has none.
            device: the type it will run on.
            sizes: named positive quantities of the workload and its description.
            prior_duration_s, prior_compute_units: what `priors` says.
            evidence: similar past tasks.
        """
        workload = self._workloads.get((signature, device)) if signature else None
        if workload is not None:
            return _from_runs(workload, _usable(sizes), self._pace.factor(device))
        units = _around(prior_compute_units, PRIOR_SPREAD / 2, "prior")
        log_mean, weight = evidence.log_duration_s.get(device, (0.0, 0.0))
        if weight >= _SIMILAR_WEIGHT:
            duration = _around(math.exp(log_mean), _SIMILAR_SPREAD, "history")
            return Estimates(duration_s=duration, compute_units=units, basis="similar", runs=0)
        duration = _around(prior_duration_s, PRIOR_SPREAD, "prior")
        return Estimates(duration_s=duration, compute_units=units, basis="prior", runs=0)


def _usable(sizes: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in sizes.items() if 0 < value < math.inf}


def _from_runs(workload: _Workload, sizes: Mapping[str, float], pace: float) -> Estimates:
    duration_curve, busy_curve = workload.fitted()
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
