"""Fit the letter expert: logistic regression on hashed words and runs of letters.

Its features are the product's own (`conductor.adapters.letter_features`), so that both read a text alike. How much
it counts beside the network is chosen on the hold-out, together with the temperature (`train.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from recipes.encoder.data import DEVICES, Row, targets
from recipes.encoder.model import BEST_WEIGHT
from torch import Tensor

from conductor.adapters.encoder_onnx.encoder import MAX_CHARACTERS
from conductor.adapters.letter_features import BUCKETS, features

RIDGE = 3e-6
STEPS = 80


@dataclass(frozen=True, slots=True)
class Letters:
    """float32 [BUCKETS, devices] weights, [devices] bias, and [BUCKETS] inverse document frequency."""

    weights: Tensor
    bias: Tensor
    rarity: npt.NDArray[np.float32]

    def logits(self, texts: Sequence[str]) -> Tensor:
        """float32 [texts, devices], before any weighting."""
        return torch.sparse.mm(_matrix(texts, self.rarity), self.weights) + self.bias


def fit_letters(rows: Sequence[Row]) -> Letters:
    """The linear model of least regularised loss; no randomness."""
    texts = [row.text for row in rows]
    rarity = _rarity(texts)
    matrix, truth = _matrix(texts, rarity), targets(rows)
    rejected, best = torch.from_numpy(truth.accept == 0), torch.from_numpy(truth.best)
    weights = torch.zeros((BUCKETS, len(DEVICES)), requires_grad=True)
    bias = torch.zeros(len(DEVICES), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        log_p = (torch.sparse.mm(matrix, weights) + bias).log_softmax(1)
        on_accepted = -torch.logsumexp(log_p.masked_fill(rejected, -1e4), 1).mean()
        on_best = torch.nn.functional.nll_loss(log_p, best)
        total = on_accepted + BEST_WEIGHT * on_best + RIDGE * weights.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return Letters(weights.detach(), bias.detach(), rarity)


def write_letters(letters: Letters, factor: float, path: Path) -> None:
    """Store the model with its logits multiplied by `factor`, weights in 8 bits per device."""
    scaled = (letters.weights * factor).numpy()
    scale = np.abs(scaled).max(axis=0) / 127.0
    weights = np.round(scaled / scale).astype(np.int8)
    bias = (letters.bias * factor).numpy()
    np.savez_compressed(path, weights=weights, scale=scale, bias=bias, rarity=letters.rarity.astype(np.float16))


def _rarity(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    seen = np.zeros(BUCKETS, np.float32)
    ones = np.ones(BUCKETS, np.float32)
    for text in texts:
        seen[np.unique(features(text[:MAX_CHARACTERS], ones)[0])] += 1
    rarity = np.log((1 + len(texts)) / (1 + seen)) + 1
    return rarity.astype(np.float16).astype(np.float32)  # as it will be stored


def _matrix(texts: Sequence[str], rarity: npt.NDArray[np.float32]) -> Tensor:
    parts = [features(text[:MAX_CHARACTERS], rarity) for text in texts]
    rows = np.repeat(np.arange(len(parts)), [len(buckets) for buckets, _ in parts])
    places = torch.from_numpy(np.stack([rows, np.concatenate([buckets for buckets, _ in parts])]))
    values = torch.from_numpy(np.concatenate([weights for _, weights in parts]))
    return torch.sparse_coo_tensor(places, values, (len(parts), BUCKETS)).coalesce().to_sparse_csr()
