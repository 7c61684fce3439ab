"""Decide how sure a decision is, in four parts, and keep the record of whether that was justified.

The parts and their weights are those of FEATURES C11: 40 % similarity to past tasks, 30 % past success on the device
type, 20 % node availability, 10 % resource availability.

Without history the first two parts have nothing to stand on but the classifier, whose calibrated probability `p` says
how often such a choice is right. They then hold the certainty above chance, `x = (p - 0.3) / 0.7` (Cohen's form; 0.3
is what always naming one type is right in, roughly). On an idle fleet the sum is `0.7 x + 0.3 = p`: as calibrated as
the classifier is. History takes over by counting: `x` weighs as much as two similar runs in the first part, and as
four runs on the type in the second.

Covered: cold start, a fleet with nothing free, recalibration from outcomes (`calibration`).
Not covered: how sure an estimate is; estimates carry their own intervals.
"""

from typing import Final

from conductor.decisions.evidence import Evidence
from conductor.domain.decision import ConfidenceParts, Ranking
from conductor.domain.device import DeviceType

WEIGHTS: Final = (0.4, 0.3, 0.2, 0.1)
#: The most that is ever stated, and shown as 99 %. To claim more, at the usual 95 % certainty, would take more than 300
#: such decisions without one failure (rule of three, 3 / n; Hanley and Lippman-Hand 1983), and outcomes fade long before
#: so many alike are in: what models say beyond that is more than anybody can know of them.
MOST_CONFIDENT: Final = 0.99
CHANCE: Final = 0.3
_SIMILAR_RUNS_WORTH: Final = 2.0
_DEVICE_RUNS_WORTH: Final = 4.0


def above_chance(probability: float) -> float:
    """Certainty in excess of chance, in 0–1: 0 at or below 0.3, 1 at 1."""
    return min(max((probability - CHANCE) / (1.0 - CHANCE), 0.0), 1.0)


def confidence_parts(
    *,
    probability: float,
    chosen: DeviceType,
    evidence: Evidence,
    device_runs: tuple[float, float],
    ranking: Ranking,
) -> ConfidenceParts:
    """The four parts, raw, each in 0–1; the two that are judged and not counted reach `MOST_CONFIDENT`.

    Args:
        probability: the share of the chosen type among all six, in 0–1.
        chosen: the ideal device type.
        evidence: what similar past tasks say.
        device_runs: successes and failures on the type the task will really run on, recent ones counting more.
        ranking: what the fleet answered.
    """
    certainty = above_chance(probability)
    successes, failures = device_runs
    agreed = min(evidence.agreed.get(chosen, 0.0), evidence.runs)
    return ConfidenceParts(
        similarity=_share(_SIMILAR_RUNS_WORTH * certainty + agreed, _SIMILAR_RUNS_WORTH + evidence.runs),
        device_success=_share(_DEVICE_RUNS_WORTH * certainty + successes, _DEVICE_RUNS_WORTH + successes + failures),
        node_availability=min(max(ranking.node_availability, 0.0), 1.0),
        resource_availability=min(max(ranking.resource_availability, 0.0), 1.0),
    )


def weighted_sum(parts: ConfidenceParts) -> float:
    """The stated weights applied, in 0–1."""
    values = (parts.similarity, parts.device_success, parts.node_availability, parts.resource_availability)
    return sum(weight * value for weight, value in zip(WEIGHTS, values, strict=True))


def _share(part: float, whole: float) -> float:
    return min(part / whole, MOST_CONFIDENT)


class SuccessRates:
    """Successes and failures by name (a device type, a node), where older ones fade.

    Each observation multiplies what was there by `fade`; 0.98 remembers about the last fifty.
    """

    def __init__(self, *, fade: float = 0.98) -> None:
        self._fade = fade
        self._runs: dict[str, tuple[float, float]] = {}

    def observe(self, name: str, *, succeeded: bool) -> None:
        """Count one outcome."""
        successes, failures = self._runs.get(name, (0.0, 0.0))
        self._runs[name] = (successes * self._fade + succeeded, failures * self._fade + (not succeeded))

    def runs(self, name: str) -> tuple[float, float]:
        """Faded counts of successes and failures; zeros for a name never seen."""
        return self._runs.get(name, (0.0, 0.0))
