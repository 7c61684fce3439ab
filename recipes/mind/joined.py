"""Print how often encoder, language model and both joined are right on the sets of our own: `python -m recipes.mind.joined`.

Uses the shipped files alone and takes about a minute. Below stand other shares of the language model, in the logarithmic
pool that is used and in a linear one. Shipped is the share in the card; how it was chosen is `train.pooling`.
"""

import numpy as np
import numpy.typing as npt
from recipes.encoder.data import Row, aside_rows, holdout_rows, judge_rows, targets
from recipes.encoder.evaluate import calibration_error

from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.mind_llama.model import OwnMind
from conductor.decisions.form import DEVICES
from conductor.decisions.fusion import pooled

Matrix = npt.NDArray[np.float64]
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)


def right(beliefs: Matrix, accepted: Matrix) -> npt.NDArray[np.bool_]:
    """Whether each text's likeliest device is accepted; both [texts, devices]."""
    return np.asarray(accepted[np.arange(len(beliefs)), beliefs.argmax(1)] > 0)


def log_loss(beliefs: Matrix, accepted: Matrix) -> float:
    """Mean over texts, in nats."""
    return float(-np.log(np.maximum((beliefs * accepted).sum(1), 1e-6)).mean())


def read(rows: list[Row]) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Beliefs of encoder, language model and both, and what is accepted; each [texts, devices]."""
    texts = [row.text for row in rows]
    encoder = OnnxEncoder().encode(texts).device_probabilities
    proposals = OwnMind().propose(texts)
    mind = np.array([[proposal.device_probabilities.get(one, 0.0) for one in DEVICES] for proposal in proposals])
    both = np.array([pooled(one, proposal) for one, proposal in zip(encoder, proposals, strict=True)])
    return encoder.astype(np.float64), mind, both, np.asarray(targets(rows).accept, dtype=np.float64)


def main() -> None:
    """Print both tables."""
    sets = {"hold-out": holdout_rows(), "aside": aside_rows(), **judge_rows()}
    found = {name: read(rows) for name, rows in sets.items()}
    for name, (*beliefs, accepted) in found.items():
        for title, belief in zip(("encoder", "language model", "both"), beliefs, strict=True):
            hits = right(belief, accepted)
            error = calibration_error(belief.max(1), hits)
            print(
                f"{name:9} {title:15} {hits.sum():4} of {len(hits)}  {hits.mean():.3f}  calibration error {error:.3f}"
            )
    encoder, mind, _, accepted = (np.concatenate(parts) for parts in zip(*found.values(), strict=True))
    encoder, mind = (np.maximum(one, 1e-4) for one in (encoder, mind))
    for share in SHARES:
        joint = encoder ** (1 - share) * mind**share
        for title, belief in (("log", joint), ("linear", (1 - share) * encoder + share * mind)):
            belief = belief / belief.sum(1, keepdims=True)
            print(
                f"{title:6} {share:4}: {right(belief, accepted).sum()} right, log loss {log_loss(belief, accepted):.4f}"
            )


if __name__ == "__main__":
    main()
