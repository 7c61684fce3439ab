"""The vocabulary table of the language model: rows of 8-bit numbers, read when they are needed.

A decision looks up a few dozen rows of 33,000, for what it reads and for the answers it weighs, so the table stays as it
is stored. Format: `recipes/mind/quantise.py`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


class Vocabulary:
    """Embedding rows, which are also the output rows (tied).

    Args:
        codes: uint8 [tokens, blocks, 32], 128 stands for zero.
        scales: float16 [tokens, blocks].
    """

    def __init__(self, codes: npt.NDArray[np.uint8], scales: npt.NDArray[np.float16]) -> None:
        self._codes = codes
        self._scales = scales

    @property
    def size(self) -> int:
        """Number of tokens."""
        return int(self._codes.shape[0])

    def rows(self, tokens: Sequence[int] | npt.NDArray[np.int64]) -> FloatArray:
        """float32 [tokens, width]."""
        chosen = np.asarray(tokens)
        scaled = (self._codes[chosen].astype(np.float32) - 128) * self._scales[chosen].astype(np.float32)[..., None]
        return np.asarray(scaled.reshape(len(chosen), -1), dtype=np.float32)
