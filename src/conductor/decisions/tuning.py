"""Correct what the models believe by what this installation has taught: `p' = softmax(s · log p + W e + b)`.

A residual head for the six device types and one for the fifteen kinds of work. `e` is the embedding of the text, `p` what
encoder and language model say together. A strong ridge draws `W` and `b` to zero and `s` to one, so that little data
changes little. The loss is convex, so a fit depends on the examples alone; L-BFGS finds its one minimum.

Where the examples come from is `labels`, whether a fit is good enough is `keeping`, files are an adapter's.

Covered: soft targets (texts on which the models shall stay as they are), weighted examples, no examples at all.
Not covered: changing the encoder or the language model themselves.

Source: Liu & Nocedal 1989, "On the limited memory BFGS method"; Guo et al. 2017 (arXiv:1706.04599) for the scale.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from conductor.decisions.ports import Adjusted, FloatArray, Probabilities
from conductor.domain.device import DeviceType, TaskKind

Matrix = npt.NDArray[np.float64]
#: Point → loss, and its slope there.
LossAndSlope = Callable[[Matrix], tuple[float, Matrix]]

#: Pull towards "no change", in units of one example of full weight (see docs/tuning.md for what they were chosen by).
_RIDGE_WEIGHTS: Final = 0.3
_RIDGE_BIAS: Final = 10.0
_RIDGE_SCALE: Final = 200.0
#: The least probability that is believed of the models: below, a label could hardly overrule them.
_LEAST: Final = 1e-4
_ROUNDS: Final = 200
_MEMORY: Final = 8
_CONVERGED: Final = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The correction for one set of classes: `weights` [classes, width], `bias` [classes], and the scale `s`."""

    weights: Matrix
    bias: Matrix
    scale: float = 1.0

    @classmethod
    def zero(cls, classes: int, width: int) -> Self:
        """The head that changes nothing."""
        return cls(np.zeros((classes, width)), np.zeros(classes))

    def apply(self, embeddings: npt.NDArray[np.floating], probabilities: Matrix) -> Matrix:
        """Correct the rows of `probabilities` [texts, classes] by `embeddings` [texts, width]; rows sum to 1."""
        shift = np.asarray(embeddings, dtype=np.float64) @ self.weights.T + self.bias
        if self.scale == 1.0 and not shift.any():
            return probabilities
        return _softmax(self.scale * np.log(_softened(probabilities)) + shift)


@dataclass(frozen=True, slots=True, eq=False)
class Adjustment:
    """Both heads."""

    device: Head
    kind: Head

    @classmethod
    def zero(cls, width: int) -> Self:
        """The adjustment that changes nothing."""
        return cls(Head.zero(len(DeviceType), width), Head.zero(len(TaskKind), width))

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]], *, width: int) -> Self:
        """The adjustment that `arrays` gave away.

        Raises:
            ValueError: an array is missing, has another shape or type, or holds what is no finite number.
        """
        sizes = {"device": len(DeviceType), "kind": len(TaskKind)}
        heads = (
            Head(
                _checked(arrays, f"{name}_weights", (classes, width)),
                _checked(arrays, f"{name}_bias", (classes,)),
                float(_checked(arrays, f"{name}_scale", ())),
            )
            for name, classes in sizes.items()
        )
        return cls(*heads)

    def arrays(self) -> dict[str, Matrix]:
        """All that it consists of, by name, as float64."""
        heads = {"device": self.device, "kind": self.kind}
        return {
            f"{name}_{part}": np.array(getattr(head, part), dtype=np.float64)
            for name, head in heads.items()
            for part in ("weights", "bias", "scale")
        }


@dataclass(frozen=True, slots=True, eq=False)
class TunedMind:
    """An `Adjuster`: one version of an adjustment, under its name and checksum."""

    name: str
    checksum: str
    adjustment: Adjustment

    def adjust(self, embedding: FloatArray, devices: Probabilities, kinds: Probabilities) -> Adjusted:
        """See `Adjuster.adjust`."""
        row = embedding[np.newaxis, :]
        return Adjusted(
            self.adjustment.device.apply(row, devices[np.newaxis, :])[0],
            self.adjustment.kind.apply(row, kinds[np.newaxis, :])[0],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What to learn from, one row per text.

    Args:
        embeddings: [texts, width], rows of unit length.
        probabilities: [texts, classes], what the models say untuned.
        targets: [texts, classes], what would be right; rows sum to 1.
        weights: [texts], how much each counts.
    """

    embeddings: npt.NDArray[np.floating]
    probabilities: Matrix
    targets: Matrix
    weights: Matrix

    def __len__(self) -> int:
        return len(self.weights)


def fit(examples: Examples) -> Head:
    """The head that lowers the weighted log loss on the examples most, under the ridge."""
    classes, width = examples.targets.shape[1], examples.embeddings.shape[1]
    if not len(examples):
        return Head.zero(classes, width)
    inputs = np.asarray(examples.embeddings, dtype=np.float64)
    logs = np.log(_softened(examples.probabilities))
    centre = np.zeros(classes * width + classes + 1)
    centre[-1] = 1.0
    ridge = np.concatenate(
        [np.full(classes * width, _RIDGE_WEIGHTS), np.full(classes, _RIDGE_BIAS), np.array([_RIDGE_SCALE])]
    )

    def loss_and_slope(point: Matrix) -> tuple[float, Matrix]:
        head = _head(point, classes, width)
        fitted = _softmax(head.scale * logs + inputs @ head.weights.T + head.bias)
        loss = -float((examples.weights[:, np.newaxis] * examples.targets * np.log(np.maximum(fitted, 1e-300))).sum())
        error = examples.weights[:, np.newaxis] * (fitted - examples.targets)  # [texts, classes]
        slope = np.concatenate([(error.T @ inputs).ravel(), error.sum(axis=0), [float((error * logs).sum())]])
        away = point - centre
        return loss + 0.5 * float((ridge * away**2).sum()), slope + ridge * away

    return _head(_minimum(loss_and_slope, centre, ridge), classes, width)


def log_losses(probabilities: Matrix, targets: Matrix) -> Matrix:
    """The log loss of each row, in nats, float64 [texts]."""
    losses: Matrix = -(targets * np.log(_softened(probabilities))).sum(axis=1)
    return losses


def class_weights(classes: npt.NDArray[np.intp]) -> Matrix:
    """Factors [texts] that let rare classes count more: the root of the inverse frequency, 0.5 to 2, mean near 1."""
    found, place, counts = np.unique(classes, return_inverse=True, return_counts=True)
    factors: Matrix = np.clip(np.sqrt(len(classes) / (len(found) * counts)), 0.5, 2.0)
    return factors[place]


def _checked(arrays: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int, ...]) -> Matrix:
    array = arrays.get(name)
    if array is None or array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
        found = "missing" if array is None else f"{array.dtype} {array.shape}"
        raise ValueError(f"{name} is {found}; it must be {shape} finite numbers of float64")
    return array


def _head(point: Matrix, classes: int, width: int) -> Head:
    cut = classes * width
    return Head(point[:cut].reshape(classes, width), point[cut : cut + classes], float(point[-1]))


def _minimum(loss_and_slope: LossAndSlope, start: Matrix, ridge: Matrix) -> Matrix:
    """L-BFGS with halving steps, for a strictly convex loss."""
    point, (loss, slope) = start, loss_and_slope(start)
    steps: list[tuple[Matrix, Matrix]] = []
    for _ in range(_ROUNDS):
        if np.abs(slope).max() < _CONVERGED:
            break
        direction = -_inverse_times(slope, steps, ridge)
        descent, rate = float(direction @ slope), 1.0
        while rate > 1e-10:
            moved = point + rate * direction
            moved_loss, moved_slope = loss_and_slope(moved)
            if moved_loss <= loss + 1e-4 * rate * descent:
                break
            rate /= 2
        else:
            break  # as low as floating point tells apart
        steps = [*steps[1 - _MEMORY :], (moved - point, moved_slope - slope)]
        point, loss, slope = moved, moved_loss, moved_slope
    return point


def _inverse_times(slope: Matrix, steps: list[tuple[Matrix, Matrix]], ridge: Matrix) -> Matrix:
    """The two-loop recursion: the approximate inverse of the curvature, times the slope."""
    found, passed = slope.copy(), []
    for moved, turned in reversed(steps):
        share = float(moved @ found) / float(moved @ turned)
        found -= share * turned
        passed.append(share)
    found /= ridge + 1.0  # a first guess of the curvature
    for (moved, turned), share in zip(steps, reversed(passed), strict=True):
        found += moved * (share - float(turned @ found) / float(moved @ turned))
    return found


def _softened(probabilities: Matrix) -> Matrix:
    raised = np.maximum(probabilities, _LEAST)
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), dtype=np.float64)


def _softmax(logits: Matrix) -> Matrix:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), dtype=np.float64)
