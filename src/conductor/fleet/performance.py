"""Decide how well a node has been working: one score from 0 to 1 with five named parts (FEATURES C14).

Each part is an exponentially weighted mean p ← p + a·(x − p) of observations x from 0 to 1, beginning at 0.6, so that a
new node is neither trusted nor shunned and a few observations move it moderately:

    part          weight  a      an observation x
    latency        0.25   0.08   of a success: 0.75 − 0.25·log₂(duration ÷ predicted), kept within 0–1:
                                 1 in half the predicted time, 0.75 as predicted, 0.5 in twice the time
    completions    0.25   0.08   1 for a success, 0 for a failure of any cause
    errors         0.25   0.08   1 for a success; a failure counts 0, with a times the node's share in the blame
    connectivity   0.10   0.02   the time expected between two readings ÷ the time that passed, at most 1
    history        0.15   0.02   of each attempt: half for succeeding, half its latency observation; 0 for a failure

    score = Σ weight · part

A mean of observations half-forgets an attempt after 8 further ones (a = 0.08), or after 34 (a = 0.02): `history` still
knows a month ago when the others speak of today. A failure never raises any part, wherever in the past it is put.

Covered: any number of nodes. Not covered: why an attempt failed (`adapters.local_processes`
tells endings apart), temperature (`heat`). A cancelled attempt says nothing about the node.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending

NEUTRAL: Final = 0.6
WEIGHTS: Final[Mapping[str, float]] = {
    "latency": 0.25,
    "completions": 0.25,
    "errors": 0.25,
    "connectivity": 0.10,
    "history": 0.15,
}
_RECENT: Final = 0.08
_LASTING: Final = 0.02

#: How likely a failure is the node's fault. A program that exits with an error would have done so anywhere.
_BLAME: Final = {
    Ending.NODE_LOST: 1.0,
    Ending.CANNOT_START: 1.0,
    Ending.SIGNAL: 0.5,
    Ending.OUT_OF_MEMORY: 0.5,
    Ending.WALL_TIME: 0.5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceParts:
    """The five parts of one node's score, each 0–1, and how many attempts they rest on."""

    latency: float = NEUTRAL
    completions: float = NEUTRAL
    errors: float = NEUTRAL
    connectivity: float = NEUTRAL
    history: float = NEUTRAL
    attempts: int = 0

    @property
    def score(self) -> float:
        """The weighted sum of the parts."""
        return math.fsum(weight * getattr(self, name) for name, weight in WEIGHTS.items())


class PerformanceBook:
    """What is known of every node's work."""

    def __init__(self) -> None:
        self._nodes: dict[NodeId, PerformanceParts] = {}

    def observe(
        self, node_id: NodeId, ending: Ending, *, duration_s: float, predicted_duration_s: float | None
    ) -> None:
        """Take the end of one attempt.

        Args:
            duration_s: wall seconds it took.
            predicted_duration_s: what was predicted; None or 0 when nothing was, and latency then stays as it is.
        """
        parts = self.parts(node_id)
        if ending is Ending.SUCCEEDED:
            self._nodes[node_id] = _after_success(parts, _punctuality(duration_s, predicted_duration_s))
        elif ending is not Ending.CANCELLED:
            self._nodes[node_id] = _after_failure(parts, _BLAME.get(ending, 0.0))

    def heard(self, node_id: NodeId, *, gap_s: float, expected_gap_s: float) -> None:
        """Take the arrival of a reading, `gap_s` seconds after the one before it."""
        observed = min(1.0, expected_gap_s / gap_s) if gap_s > 0 else 1.0
        parts = self.parts(node_id)
        self._nodes[node_id] = replace(parts, connectivity=_towards(parts.connectivity, observed, _LASTING))

    def score(self, node_id: NodeId) -> float:
        """The node's score; neutral for one that nothing is known of."""
        return self.parts(node_id).score

    def parts(self, node_id: NodeId) -> PerformanceParts:
        """What the score is made of."""
        return self._nodes.get(node_id, PerformanceParts())

    def forget(self, node_id: NodeId) -> None:
        """Drop what is known of a node that left for good."""
        self._nodes.pop(node_id, None)


def _towards(part: float, observed: float, share: float) -> float:
    return min(1.0, max(0.0, part + share * (observed - part)))


def _punctuality(duration_s: float, predicted_s: float | None) -> float | None:
    if predicted_s is None or predicted_s <= 0:
        return None
    if duration_s <= 0:
        return 1.0
    doublings = math.log2(duration_s) - math.log2(predicted_s)  # the quotient of extreme durations may round to 0
    return min(1.0, max(0.0, 0.75 - 0.25 * doublings))


def _after_success(parts: PerformanceParts, punctuality: float | None) -> PerformanceParts:
    on_time = parts.latency if punctuality is None else punctuality
    return replace(
        parts,
        latency=_towards(parts.latency, on_time, _RECENT),
        completions=_towards(parts.completions, 1.0, _RECENT),
        errors=_towards(parts.errors, 1.0, _RECENT),
        history=_towards(parts.history, (1.0 + on_time) / 2, _LASTING),
        attempts=parts.attempts + 1,
    )


def _after_failure(parts: PerformanceParts, blame: float) -> PerformanceParts:
    return replace(
        parts,
        completions=_towards(parts.completions, 0.0, _RECENT),
        errors=_towards(parts.errors, 0.0, _RECENT * blame),
        history=_towards(parts.history, 0.0, _LASTING),
        attempts=parts.attempts + 1,
    )
