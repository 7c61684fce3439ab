"""Read a text as hashed words and runs of letters: the features of every linear model we ship.

Knows nothing of meaning, reads every script, typing slips and product names. Product and training recipes both use this
module, so that they read a text alike. Not covered: cutting long texts, which the caller does.
"""

import itertools
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

BUCKETS = 1 << 17
LENGTHS = range(2, 6)

FloatVector = npt.NDArray[np.float32]
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
