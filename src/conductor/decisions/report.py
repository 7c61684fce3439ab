"""Sum up how good past decisions were: calibration, predictions, device, success and regret, over time.

Regret is looked at from today: for each success of a workload that ran on more than one node or device type, what such
work is expected to take where it ran, against the best place it was ever measured on, both from all runs there are
(`estimate`). Its share is Σ extra ÷ Σ best (Lattimore and Szepesvári 2020, ch. 4: pseudo-regret in hindsight). Waiting
is not part of it.

Periods hold equally many outcomes, not equally much time, so that each says something.

Not covered: outcomes that were not stored. Of a task repeated more than twenty times only every tenth success or so is,
while every failure is: success shares here are lower bounds for such tasks.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from conductor.decisions.estimate import Estimator
from conductor.decisions.evidence import Evidence
from conductor.decisions.ports import Experience
from conductor.domain.device import DeviceType
from conductor.domain.json import JsonObject

TOLERANCE: Final = 0.2
_BINS: Final = 10
_PERIODS: Final = 12
_FEWEST_PER_PERIOD: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Outcomes whose decisions were about equally confident: mean confidence, and share that succeeded, in 0–1."""

    said: float
    seen: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Outcomes that followed one another.

    Shares are in 0–1: predicted durations within ±20 % (of successes), successes, outcomes on the ideal device type.
    `regret` is extra time over best time (0.05 is 5 %). None where nothing of the period could tell.
    """

    start_unix_s: float
    end_unix_s: float
    count: int
    within: float | None
    succeeded: float
    ideal_device: float
    regret: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MindReport:
    """How good decisions were. Brier score and expected calibration error are None without outcomes."""

    count: int
    brier: float | None
    expected_calibration_error: float | None
    bins: tuple[Bin, ...]
    periods: tuple[Period, ...]

    def as_json(self) -> JsonObject:
        """As plain JSON."""
        return asdict(self)


def report(experiences: Sequence[Experience], *, since_unix_s: float = 0.0) -> MindReport:
    """Sum up outcomes since a moment; earlier ones still count for what was known.

    Args:
        experiences: all there are, oldest first.
    """
    told = [each for each in experiences if each.at_unix_s >= since_unix_s]
    if not told:
        return MindReport(count=0, brier=None, expected_calibration_error=None, bins=(), periods=())
    bins = calibration_bins([each.confidence for each in told], [each.succeeded for each in told])
    places = _Places(experiences)
    size = max(_FEWEST_PER_PERIOD, math.ceil(len(told) / _PERIODS))
    return MindReport(
        count=len(told),
        brier=math.fsum((each.confidence - each.succeeded) ** 2 for each in told) / len(told),
        expected_calibration_error=math.fsum(b.count * abs(b.said - b.seen) for b in bins) / len(told),
        bins=bins,
        periods=tuple(_period(told[at : at + size], places) for at in range(0, len(told), size)),
    )


def calibration_bins(confidences: Sequence[float], succeeded: Sequence[bool]) -> tuple[Bin, ...]:
    """Ten bins of equal width; empty ones are left out."""
    members: dict[int, list[int]] = {}
    for index, confidence in enumerate(confidences):
        members.setdefault(min(int(confidence * _BINS), _BINS - 1), []).append(index)
    return tuple(
        Bin(
            said=math.fsum(confidences[index] for index in members[place]) / len(members[place]),
            seen=sum(succeeded[index] for index in members[place]) / len(members[place]),
            count=len(members[place]),
        )
        for place in sorted(members)
    )


class _Places:
    """What each workload takes on every node and device type it was measured on."""

    def __init__(self, experiences: Sequence[Experience]) -> None:
        self._estimator = Estimator()
        self._measured: dict[str, set[tuple[DeviceType, str]]] = {}
        for each in experiences:
            if each.succeeded and each.signature:
                self._measured.setdefault(each.signature, set()).add((each.available_device, each.node_id))
                self._estimator.observe(
                    signature=each.signature,
                    device=each.available_device,
                    sizes=each.sizes,
                    duration_s=each.duration_s,
                    compute_units=each.compute_units,
                    node_id=each.node_id,
                )

    def regret(self, past: Experience) -> tuple[float, float] | None:
        """Extra and best seconds; None where there was no other place to compare with."""
        places = self._measured.get(past.signature, set())
        if not past.succeeded or len(places) < 2:
            return None
        taken_s = {place: self._expected_s(past, *place) for place in places}
        best_s = min(taken_s.values())
        return taken_s[past.available_device, past.node_id] - best_s, best_s

    def _expected_s(self, past: Experience, device: DeviceType, node_id: str) -> float:
        return self._estimator.estimate(
            signature=past.signature,
            device=device,
            sizes=past.sizes,
            prior_duration_s=past.duration_s,
            prior_compute_units=past.compute_units,
            evidence=Evidence(),
            node_id=node_id,
        ).duration_s.value


def _period(told: Sequence[Experience], places: _Places) -> Period:
    predicted = [each for each in told if each.succeeded and each.predicted_duration_s > 0]
    within = [
        abs(each.duration_s - each.predicted_duration_s) <= TOLERANCE * each.predicted_duration_s for each in predicted
    ]
    regrets = [found for each in told if (found := places.regret(each)) is not None]
    best_s = math.fsum(best for _, best in regrets)
    return Period(
        start_unix_s=told[0].at_unix_s,
        end_unix_s=told[-1].at_unix_s,
        count=len(told),
        within=sum(within) / len(within) if within else None,
        succeeded=sum(each.succeeded for each in told) / len(told),
        ideal_device=sum(each.device is each.available_device for each in told) / len(told),
        regret=math.fsum(extra for extra, _ in regrets) / best_s if best_s > 0 else None,
    )
