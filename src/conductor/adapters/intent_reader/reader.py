"""Tell the nine intents apart: multinomial logistic regression on [embedding; hashed words and runs of letters].

The weights belong to one encoder: its embeddings are half of what they read. The card names that encoder's checksum,
and with any other encoder the reader refuses to answer. `python -m recipes.mind.intents` makes both files anew.

Covered: texts of any length and content (what is beyond 1,024 characters is not read). Not covered: what was said
before, which is `decisions.converse.intents`' business.
"""

import hashlib
import json
import re
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.adapters.letter_features import BUCKETS, features
from conductor.decisions.ports import FloatArray, TextEncoder
from conductor.domain.errors import StorageError
from conductor.domain.intent import Intent

SHIPPED: Final = Path(__file__).parent
WEIGHTS: Final = "intents.npz"
CARD: Final = "card.json"
MAX_CHARACTERS: Final = 1_024
#: Letter features are folded into this many columns.
COLUMNS: Final = 1 << 15
REMEDY: Final = "run `python -m recipes.mind.intents` to make them anew, or install the package again"

_DIGITS: Final = re.compile(r"[0-9]+")
_EVEN: Final = np.ones(BUCKETS, np.float32)


@dataclass(frozen=True, slots=True)
class _Weights:
    """int8 [COLUMNS, 9] with float32 [9] scale; float32 [width, 9] for the embedding; float32 [9] bias."""

    letters: npt.NDArray[np.int8]
    scale: FloatArray
    embedding: FloatArray
    bias: FloatArray


class LinearIntentReader:
    """The `IntentReader` of `decisions.converse`; nothing is loaded before the first `read`.

    Args:
        encoder: must be the one that the weights were made with.
        folder: where `intents.npz` and `card.json` lie.
    """

    def __init__(self, encoder: TextEncoder, folder: Path = SHIPPED) -> None:
        self._encoder, self._folder = encoder, folder
        self._lock = threading.Lock()
        self._loaded: _Weights | None = None

    def read(self, texts: Sequence[str]) -> Sequence[Mapping[Intent, float]]:
        """See `IntentReader.read`."""
        if not texts:
            return []
        weights = self._weights()
        heads = [readable(text) for text in texts]
        logits = self._encoder.encode(heads).embeddings @ weights.embedding + weights.bias  # [texts, 9]
        for row, head in enumerate(heads):
            columns, values = letters_of(head)
            logits[row] += (values @ weights.letters[columns].astype(np.float32)) * weights.scale
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return [dict(zip(Intent, map(float, row), strict=True)) for row in shares]

    def _weights(self) -> _Weights:
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._folder, self._encoder.checksum, self._encoder.width)
            return self._loaded


def readable(text: str) -> str:
    """The part of a text that is read: 1,024 characters with single spaces."""
    head = " ".join(text[: 4 * MAX_CHARACTERS].split())[:MAX_CHARACTERS]
    return head.encode("utf-8", "replace").decode("utf-8")


def letters_of(text: str) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Columns and weights of a text's words and letters; a column may occur more than once, and then adds up."""
    buckets, values = features(_DIGITS.sub("0", text), _EVEN)  # which number it is says nothing about the intent
    return buckets % COLUMNS, values


def _load(folder: Path, encoder_sha256: str, width: int) -> _Weights:
    path = folder / WEIGHTS
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        made_for, expected = str(card["encoder_sha256"]), str(card["sha256"])
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        with np.load(path, allow_pickle=False) as table:
            weights = _Weights(table["letters"], table["scale"], table["embedding"].astype(np.float32), table["bias"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as wrong:
        raise StorageError(f"the weights that read intents, {path}, cannot be read ({wrong}); {REMEDY}") from wrong
    if found != expected:
        raise StorageError(
            f"the weights that read intents, {path}, are damaged: SHA-256 expected {expected}, found {found}; {REMEDY}"
        )
    if made_for != encoder_sha256:
        raise StorageError(
            f"the weights that read intents, {path}, were made for the encoder {made_for[:12]}…, and this one is "
            f"{encoder_sha256[:12]}…; {REMEDY}",
            details={"expected": made_for, "found": encoder_sha256},
        )
    if weights.letters.shape != (COLUMNS, len(Intent)) or weights.embedding.shape != (width, len(Intent)):
        raise StorageError(f"the weights that read intents, {path}, have another shape than this version; {REMEDY}")
    return weights
