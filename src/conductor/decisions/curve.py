"""Fit how a cost grows with the sizes of the work, from the few and noisy runs there are.

Small inputs are ruled by start-up and large ones by growth, so the shape is `cost = a + b·g`, where `g` is one size (or
the product of all sizes that vary) to a power between 0.5 and 2, and `a, b ≥ 0`. Every such shape is fitted by weighted
least squares on relative errors, runs far off lose their weight, and the shape that predicts left-out runs best
is kept.
Runs of nearly the same size then correct the prediction there, which catches what the shape misses.

The spread of the left-out errors gives the interval: a jackknife form of conformal prediction (Barber et al. 2021,
arXiv:1905.02928), on logarithms.

Covered: one run, runs of one size, several sizes, outliers, sizes that come and go.
Not covered: costs that fall with size; sizes that act in sums of different powers; drift faster than the window.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_POWERS: Final = np.array([1.0, 0.5, 0.75, 1.25, 1.5, 2.0])
#: Score by which another power must beat the straight line, so that noise does not bend it.
_BEND_PENALTY: Final = 0.01
_REWEIGHTINGS: Final = 4
#: Relative error beyond which a run loses weight.
_TUNING: Final = 0.12
#: Two sizes count as near when their logarithms differ by less than about this.
_NEARNESS: Final = 0.12
#: How a single run is scaled to another size: between start-up (0) and pure growth (1).
_BLIND_POWER: Final = 0.7
_COVERAGE: Final = 0.8
#: Sizes further from all that was seen than this, in logarithms, are no sizes but mistakes.
_FURTHEST: Final = 30.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """A predicted cost, with the interval that holds it in 80 % of cases; same unit as the runs."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A fitted cost.

    Args:
        names: the sizes `g` is a product of.
        power, start, growth: `cost = start + growth·(Π sizes)**power`.
        log_g: float64 [runs], logarithm of the product of sizes.
        residuals: float64 [runs], logarithm of cost over shape.
        left_out: float64 [runs], logarithm of cost over what the other runs predict for it.
    """

    names: tuple[str, ...]
    power: float
    start: float
    growth: float
    log_g: Floats
    residuals: Floats
    left_out: Floats

    def predict(self, sizes: Mapping[str, float]) -> Prediction:
        """Predict the cost for these sizes; a size that is not given is taken as the middle of those seen."""
        log_g = self._log_product(sizes)
        shape = self.start + self.growth * float(np.exp(np.clip(self.power * log_g, -80, 80)))
        near = np.exp(-0.5 * ((self.log_g - log_g) / _NEARNESS) ** 2)
        correction = float(near @ np.clip(self.residuals, -0.3, 0.3)) / (float(near.sum()) + 1.0)
        value = max(shape, 1e-9) * float(np.exp(correction))
        spread = interval_spread(self.left_out) + self._distance(log_g) * 0.15
        return Prediction(value, value * float(np.exp(-spread)), value * float(np.exp(spread)))

    def errors(self) -> Floats:
        """Logarithms of what the runs cost over what the shape says, float64 [runs]."""
        return self.residuals

    def _log_product(self, sizes: Mapping[str, float]) -> float:
        if any(sizes.get(name, 0.0) <= 0 for name in self.names):
            return float(np.median(self.log_g))
        log_g = float(sum(np.log(sizes[name]) for name in self.names))
        return min(max(log_g, float(self.log_g.min()) - _FURTHEST), float(self.log_g.max()) + _FURTHEST)

    def _distance(self, log_g: float) -> float:
        """How far outside the seen sizes, in logarithms; the interval widens there."""
        return float(max(self.log_g.min() - log_g, log_g - self.log_g.max(), 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The cost of runs that all had the same sizes: a curve with one point.

    Args:
        middle: the median cost of the recent runs.
        sizes: the sizes they had.
        left_out: as in `Curve`.
    """

    middle: float
    sizes: Mapping[str, float]
    left_out: Floats

    def predict(self, sizes: Mapping[str, float]) -> Prediction:
        """The middle, scaled by the size that changed most: half start-up, half growth, as nothing better is known."""
        ratios = [
            math.log(sizes[name]) - math.log(size) for name, size in self.sizes.items() if sizes.get(name, 0.0) > 0
        ]
        furthest = min(max(max(ratios, key=abs, default=0.0), -_FURTHEST), _FURTHEST)
        value = self.middle * math.exp(_BLIND_POWER * furthest)
        spread = interval_spread(self.left_out) + abs(furthest) * 0.3
        return Prediction(value, value * math.exp(-spread), value * math.exp(spread))

    def errors(self) -> Floats:
        """Logarithms of what the runs cost over the middle, float64 [runs]."""
        return self.left_out


def interval_spread(left_out: Floats) -> float:
    """Half width, in logarithms, that holds a new cost with 80 % probability, given left-out errors.

    With fewer than four runs no quantile exists yet; then the largest error is widened, but never below what a single
    run would leave open.
    """
    errors = np.sort(np.abs(left_out))
    count = len(errors)
    rank = int(np.ceil(_COVERAGE * (count + 1)))
    if rank <= count and count >= 4:
        return float(max(errors[rank - 1], 0.01))
    return float(max(errors[-1] * 1.5 if count else 0.0, 0.5 / max(count, 1)))


def fit_cost(runs: Sequence[Mapping[str, float]], costs: Sequence[float]) -> Curve | Level:
    """Fit runs (oldest first) and their positive costs.

    Args:
        runs: the sizes of each run, at least one run.
        costs: what each run cost.
    """
    cost = np.maximum(np.asarray(costs, dtype=np.float64), 1e-9)
    varying = _varying_sizes(runs)
    if not varying or len(cost) < 2:
        return _level(runs, cost)
    recency = 0.5 ** (np.arange(len(cost))[::-1] / 32.0)
    choices = [(name,) for name in varying] + ([tuple(varying)] if len(varying) > 1 else [])
    log_g = np.stack([sum(_column(runs, name) for name in names) for names in choices])  # [choices, runs]
    grid = (log_g[:, None, :] * _POWERS[None, :, None]).reshape(-1, len(cost))  # [choices × powers, runs]
    centre = np.median(grid, axis=1, keepdims=True)
    g = np.exp(np.clip(grid - centre, -60, 60))
    start, growth, left_out = _fit_shapes(g, cost, recency)
    scores = np.minimum(np.abs(left_out), 0.5).mean(axis=1)
    scores += np.tile(np.where(_POWERS == 1.0, 0.0, _BEND_PENALTY), len(choices))
    best = int(np.argmin(scores))
    chosen = log_g[best // len(_POWERS)]
    residuals = np.log(cost / np.maximum(start[best] + growth[best] * g[best], 1e-9))
    return Curve(
        names=choices[best // len(_POWERS)],
        power=float(_POWERS[best % len(_POWERS)]),
        start=float(start[best]),
        growth=float(growth[best] * np.exp(-centre[best, 0])),
        log_g=chosen,
        residuals=residuals,
        left_out=left_out[best] - _neighbour_corrections(chosen, left_out[best]),
    )


def _level(runs: Sequence[Mapping[str, float]], cost: Floats) -> Level:
    middle = float(np.median(cost[-15:]))
    left_out = np.log(cost / middle) if len(cost) > 1 else np.zeros(1)
    return Level(middle=middle, sizes={name: size for name, size in runs[-1].items() if size > 0}, left_out=left_out)


def _varying_sizes(runs: Sequence[Mapping[str, float]]) -> list[str]:
    """Sizes that every run has and that are not all equal, at most four: those that vary most."""
    shared = set(runs[0]).intersection(*runs) if runs else set()
    spans = {}
    for name in sorted(shared):
        values = [run[name] for run in runs]
        if min(values) > 0 and max(values) > min(values) * 1.001:
            spans[name] = max(values) / min(values)
    return sorted(spans, key=lambda name: (-spans[name], name))[:4]


def _column(runs: Sequence[Mapping[str, float]], name: str) -> Floats:
    return np.log(np.array([run[name] for run in runs], dtype=np.float64))


def _fit_shapes(g: Floats, cost: Floats, recency: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit `cost ≈ a + b·g` for all shapes at once, on relative errors, reweighted against outliers.

    Args:
        g: float64 [shapes, runs].
        cost, recency: float64 [runs].

    Returns:
        a and b, float64 [shapes], and the logarithms of cost over left-out prediction, float64 [shapes, runs].
    """
    # Keeps left-out predictions positive where a straight line would cross zero.
    floor = cost.min() * 0.02
    trust = np.ones_like(g)
    for _ in range(_REWEIGHTINGS):
        weights = trust * recency / cost**2
        start, growth = _solve(g, cost, weights)
        predicted = np.maximum(start[:, None] + growth[:, None] * g, floor)
        error = np.log(cost / predicted)
        scale = np.maximum(1.4826 * np.median(np.abs(error), axis=1, keepdims=True), _TUNING / 2)
        trust = 1.0 / (1.0 + (error / (2.0 * scale)) ** 2)
    # Leverage of each run in the last weighted fit gives the left-out prediction without fitting again.
    total = weights.sum(axis=1, keepdims=True)
    mean = (weights * g).sum(axis=1, keepdims=True) / total
    spread = (weights * (g - mean) ** 2).sum(axis=1, keepdims=True)
    leverage = weights * (1.0 / total + np.where(growth[:, None] > 0, (g - mean) ** 2 / np.maximum(spread, 1e-30), 0.0))
    left_out_prediction = cost - (cost - predicted) / np.maximum(1.0 - leverage, 0.05)
    return start, growth, np.log(cost / np.maximum(left_out_prediction, floor))


def _solve(g: Floats, cost: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted least squares for a, b ≥ 0: where one would be negative it is 0 and the other is fitted alone."""
    total = weights.sum(axis=1)
    mean_g = (weights * g).sum(axis=1) / total
    mean_cost = (weights * cost).sum(axis=1) / total
    spread = (weights * (g - mean_g[:, None]) ** 2).sum(axis=1)
    joint = (weights * (g - mean_g[:, None]) * (cost - mean_cost[:, None])).sum(axis=1)
    growth = np.maximum(joint / np.maximum(spread, 1e-30), 0.0)
    start = mean_cost - growth * mean_g
    through_origin = (weights * g * cost).sum(axis=1) / np.maximum((weights * g * g).sum(axis=1), 1e-30)
    return np.where(start < 0, 0.0, start), np.where(start < 0, through_origin, growth)


def _neighbour_corrections(log_g: Floats, left_out: Floats) -> Floats:
    """What the runs of nearly the same size, without the run itself, would have corrected at each run."""
    near = np.exp(-0.5 * ((log_g[:, None] - log_g[None, :]) / _NEARNESS) ** 2)
    np.fill_diagonal(near, 0.0)
    return np.asarray(near @ np.clip(left_out, -0.3, 0.3) / (near.sum(axis=1) + 1.0))
