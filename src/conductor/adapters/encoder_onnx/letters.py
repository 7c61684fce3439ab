"""Judge a text by the letters it is written with: the second expert beside the network.

A linear model over hashed words and runs of letters. It knows nothing of meaning, but it reads every script, typing
slips and product names, where the network's English vocabulary breaks words apart. Its logits are added to the
network's; weight and temperature are folded into the table by the training recipe, which uses `features` too.
"""

import itertools
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from conductor.domain.errors import StorageError

BUCKETS = 1 << 17
LENGTHS = range(2, 6)

FloatVector = npt.NDArray[np.float32]
FloatMatrix = npt.NDArray[np.float32]
IntVector = npt.NDArray[np.int64]


def features(text: str, rarity: FloatVector) -> tuple[IntVector, FloatVector]:
    """Buckets that occur in `text`, and their weights.

    Args:
        text: short; the caller cuts.
        rarity: float32 [BUCKETS], inverse document frequency.

    Returns:
        int64 [n] buckets and float32 [n] weights: (1 + ln count) times rarity, letters and words each of unit length.
    """
    words = unicodedata.normalize("NFKC", text).casefold().split()
    views = [_view(_letters(words), rarity), _view(_words(words), rarity)]
    return np.concatenate([buckets for buckets, _ in views]), np.concatenate([weights for _, weights in views])


def _view(pieces: Iterator[str], rarity: FloatVector) -> tuple[IntVector, FloatVector]:
    counts = Counter(map(_bucket, pieces))
    buckets = np.fromiter(counts.keys(), np.int64, len(counts))
    weights = (1.0 + np.log(np.fromiter(counts.values(), np.float32, len(counts)))) * rarity[buckets]
    return buckets, (weights / max(float(np.linalg.norm(weights)), 1e-9)).astype(np.float32)


def _letters(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        framed = f" {word} "
        for length in LENGTHS:
            yield from (framed[at : at + length] for at in range(len(framed) - length + 1))


def _words(words: Sequence[str]) -> Iterator[str]:
    bare = [word.strip(".,:;!?()[]\"'") for word in words]
    yield from (f"w:{word}" for word in bare if word)
    yield from (f"w:{first} {second}" for first, second in itertools.pairwise(bare))


def _bucket(piece: str) -> int:
    return zlib.crc32(piece.encode("utf-8", "replace")) % BUCKETS


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
