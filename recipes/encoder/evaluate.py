"""Measure predictions against labels: accuracy, calibration, tables per class, language and voice.

Plain arithmetic on arrays; who predicts is `train.py` (network) or the shipped adapter (`export.py`).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from recipes.encoder.data import Row, targets

FloatMatrix = npt.NDArray[np.float32]


def metrics(rows: Sequence[Row], probabilities: FloatMatrix, kinds: FloatMatrix) -> dict[str, float]:
    """`accept`, `best`, `kind`, `hard` accuracies, expected calibration error and log loss.

    Args:
        rows: n labelled rows.
        probabilities: [n, 6] device probabilities; kinds: [n, 15].
    """
    truth = targets(rows)
    answer = probabilities.argmax(1)
    accepted = truth.accept[np.arange(len(rows)), answer] > 0
    hard = np.array([row.hard for row in rows])
    return {
        "texts": len(rows),
        "accept": float(accepted.mean()),
        "best": float((answer == truth.best).mean()),
        "kind": float((kinds.argmax(1) == truth.kind).mean()),
        "accept_hard": float(accepted[hard].mean()) if hard.any() else float("nan"),
        "ece": calibration_error(probabilities.max(1), accepted),
        "log_loss": float(-np.log(np.clip((probabilities * truth.accept).sum(1), 1e-6, 1.0)).mean()),
    }


def calibration_error(confidence: FloatMatrix, correct: npt.NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error over equal-width bins. Source: Guo et al. 2017, arXiv:1706.04599."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(confidence[place == b].mean()) - float(correct[place == b].mean())) * float((place == b).mean())
        for b in range(bins)
        if (place == b).any()
    ]
    return float(sum(gaps))


def table(rows: Sequence[Row], probabilities: FloatMatrix, by: Callable[[Row], str]) -> dict[str, tuple[int, float]]:
    """Count and accuracy on `accept` of each group, in the order of the group names."""
    accept = targets(rows).accept
    answer = probabilities.argmax(1)
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[by(row)].append(float(accept[index, answer[index]]))
    return {name: (len(hits), sum(hits) / len(hits)) for name, hits in sorted(groups.items())}


def printed(rows: Sequence[Row], probabilities: FloatMatrix) -> str:
    """The tables per device, language and voice as text."""
    lines = []
    for title, by in (("device", lambda r: r.best), ("lang", lambda r: r.lang), ("voice", lambda r: r.voice)):
        cells = [f"{name} {hit:.3f} ({count})" for name, (count, hit) in table(rows, probabilities, by).items()]
        lines.append(f"  per {title}: " + ", ".join(cells))
    return "\n".join(lines)
