"""Keep the record of stated confidences, and correct new ones by it (FEATURES X3).

Every stated confidence is later compared with what happened. Brier score and expected calibration error of the record
are kept as running sums; the correction is a line through the log-odds (Platt 1999) with a prior that it is the
identity, so that a handful of outcomes moves it a little and a thousand decide. Outcomes fade, because fleets change.

Covered: one map for all decisions; monotone, so corrected confidences keep their order up to the bound of 0.99.
Not covered: a map of its own for each kind of work.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.decisions.confidence import MOST_CONFIDENT

_BINS: Final = 40
_FADE: Final = 0.999
_REPORT_BINS: Final = 15
#: Strength of the belief in the identity, as inverse variances of slope and offset.
_SLOPE_PRECISION: Final = 8.0
_OFFSET_PRECISION: Final = 4.0
_FLATTEST: Final = 0.2
_STEEPEST: Final = 5.0
#: A correction is fitted anew when the record has grown by this share.
_REFIT_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """How stated confidences held up: outcomes counted, mean squared error, and gap between said and seen, in 0–1."""

    count: int
    brier: float
    expected_calibration_error: float


class Calibration:
    """Collects (raw weighted sum, stated confidence, outcome) and maps raw sums to confidences."""

    def __init__(self) -> None:
        self._seen = np.zeros((_BINS, 2))  # [bin of the raw sum, failed | succeeded], faded
        self._raw_sums = np.zeros(_BINS)
        self._stated = np.zeros((_REPORT_BINS, 3))  # [bin of the stated value, (count, sum stated, succeeded)]
        self._squared_error = 0.0
        self._count = 0
        self._fitted_at = 0
        self._slope, self._offset = 1.0, 0.0

    def observe(self, *, raw: float, stated: float, succeeded: bool, weight: float = 1.0) -> None:
        """Count one outcome of a decision that stated a confidence.

        Args:
            raw: the weighted sum of the parts.
            stated: the confidence that was stated.
            succeeded: what came of it.
            weight: what it counts for in the correction, in 0–1; in the record every outcome counts fully. A task
                repeated a million times is to be given less, or all other confidences would follow that one task.
        """
        place = min(int(raw * _BINS), _BINS - 1)
        fade = _FADE**weight
        self._seen *= fade
        self._raw_sums *= fade
        self._seen[place, int(succeeded)] += weight
        self._raw_sums[place] += raw * weight
        self._stated[min(int(stated * _REPORT_BINS), _REPORT_BINS - 1)] += (1.0, stated, float(succeeded))
        self._squared_error += (stated - succeeded) ** 2
        self._count += 1

    def confidence(self, raw: float) -> float:
        """The confidence to state for a raw weighted sum, in 0–0.99: the corrected sum, or while nothing is recorded the
        sum itself, but never certainty (`MOST_CONFIDENT`)."""
        if self._count - self._fitted_at > _REFIT_SHARE * self._fitted_at:
            self._fit()
        if self._count == 0:
            return min(raw, MOST_CONFIDENT)
        return min(float(_sigmoid(self._slope * _logit(np.asarray(raw)) + self._offset)), MOST_CONFIDENT)

    def raw(self, stated: float) -> float:
        """The raw sum that would be stated as this confidence now; undoes `confidence`, for records read back."""
        if self._count == 0:
            return stated
        return float(_sigmoid((_logit(np.asarray(stated)) - self._offset) / self._slope))

    def record(self) -> TrackRecord:
        """The record so far."""
        count = max(self._count, 1)
        gaps = np.abs(self._stated[:, 1] - self._stated[:, 2]).sum() / count
        return TrackRecord(self._count, self._squared_error / count, float(gaps))

    def _fit(self) -> None:
        """Newton steps for the posterior mode of slope and offset over the binned record."""
        counts = self._seen.sum(axis=1)
        used = counts > 1e-9
        x = _logit(self._raw_sums[used] / counts[used])
        slope, offset = 1.0, 0.0
        for _ in range(8):
            p = _sigmoid(slope * x + offset)
            error = counts[used] * p - self._seen[used, 1]
            spread = counts[used] * p * (1 - p)
            gradient = np.array(
                [error @ x + _SLOPE_PRECISION * (slope - 1.0), error.sum() + _OFFSET_PRECISION * offset]
            )
            cross = spread @ x
            hessian = np.array([[spread @ x**2 + _SLOPE_PRECISION, cross], [cross, spread.sum() + _OFFSET_PRECISION]])
            step = np.linalg.solve(hessian, gradient)
            slope = min(max(slope - float(step[0]), _FLATTEST), _STEEPEST)
            offset = min(max(offset - float(step[1]), -_STEEPEST), _STEEPEST)
        self._slope, self._offset, self._fitted_at = slope, offset, self._count


def _logit(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    bounded = np.clip(p, 0.005, 0.995)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _sigmoid(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))
