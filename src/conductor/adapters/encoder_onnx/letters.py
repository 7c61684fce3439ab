"""Judge a text by the letters it is written with: the second expert beside the network.

A linear model over hashed words and runs of letters. It knows nothing of meaning, but it reads every script, typing
slips and product names, where the network's English vocabulary breaks words apart. Its logits are added to the
network's; weight and temperature are folded into the table by the training recipe, which reads texts by the same
`letter_features`.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from conductor.adapters.letter_features import features
from conductor.domain.errors import StorageError

FloatVector = npt.NDArray[np.float32]
FloatMatrix = npt.NDArray[np.float32]


class LetterExpert:
    """The linear model as loaded from its table.

    Args:
        weights: int8 [BUCKETS, classes]; times `scale` (float32 [classes]) gives logits per unit of a feature.
        bias: float32 [classes].
        rarity: float32 [BUCKETS].
    """

    def __init__(
        self, weights: npt.NDArray[np.int8], scale: FloatVector, bias: FloatVector, rarity: FloatVector
    ) -> None:
        self._weights, self._scale, self._bias, self._rarity = weights, scale, bias, rarity

    @classmethod
    def load(cls, path: Path) -> "LetterExpert":
        """Read the table.

        Raises:
            StorageError: the file is not such a table.
        """
        try:
            with np.load(path, allow_pickle=False) as table:
                rarity = table["rarity"].astype(np.float32)
                expert = cls(table["weights"], table["scale"], table["bias"], rarity)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as wrong:
            raise StorageError(
                f"the encoder's file {path} cannot be read ({wrong}); install the package again"
            ) from wrong
        return expert

    def logits(self, texts: Sequence[str]) -> FloatMatrix:
        """float32 [texts, classes], to be added to the network's."""
        return np.stack([self._of(text) for text in texts]) if texts else np.zeros((0, len(self._bias)), np.float32)

    def _of(self, text: str) -> FloatVector:
        buckets, weights = features(text, self._rarity)
        said: FloatVector = (weights @ self._weights[buckets].astype(np.float32)) * self._scale + self._bias
        return said
