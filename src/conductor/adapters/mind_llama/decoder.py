"""Continue several token sequences at once on the shipped decoder graph, remembering keys and values.

Rows of a batch may be continued by different numbers of tokens; what pads the shorter ones is masked for good, so every
row comes out as if it had been alone. What the tokens mean is `form_filling`.

Source: rotary positions, Su et al. 2021, arXiv:2104.09864.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from conductor.adapters.mind_llama.vocabulary import FloatArray, Vocabulary

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_MASKED: Final = np.float32(-1e9)
_PADDING: Final = 0


class Decoder:
    """The graph, its vocabulary and the shape of its memory; thread-safe.

    Args:
        session: of `decoder.onnx`.
        vocabulary: rows of the tokens.
        rope_theta: base of the rotation's frequencies.
    """

    def __init__(self, session: "InferenceSession", vocabulary: Vocabulary, *, rope_theta: float) -> None:
        self.session = session
        self.vocabulary = vocabulary
        shape = next(given.shape for given in session.get_inputs() if given.name == "past_keys")
        self.layers, self.heads, self.head_width = int(shape[0]), int(shape[2]), int(shape[4])
        pairs = np.arange(0, self.head_width, 2) / self.head_width
        self._frequencies = np.tile(rope_theta**-pairs, 2)  # [head width]

    def begin(self, rows: int) -> "Continuation":
        """Empty sequences."""
        return Continuation(self, rows)

    def rotation(self, positions: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Cosine and sine, float32 [rows, tokens, head width], for positions [rows, tokens]."""
        angles = positions[..., None] * self._frequencies
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


class Continuation:
    """A batch of sequences that are being continued."""

    def __init__(self, decoder: Decoder, rows: int) -> None:
        self._decoder = decoder
        empty = (decoder.layers, rows, decoder.heads, 0, decoder.head_width)
        self._keys = np.zeros(empty, np.float32)
        self._values = np.zeros(empty, np.float32)
        self._real = np.zeros((rows, 0), np.bool_)
        self._lengths = np.zeros(rows, np.int64)

    def extend(self, tokens: Sequence[Sequence[int]]) -> FloatArray:
        """Append tokens to every row, possibly none to some.

        Returns:
            float32 [rows, width]: the last layer's output at each row's last new token; rows without a new token hold
            nothing of use.
        """
        counts = np.array([len(row) for row in tokens], np.int64)
        longest = int(counts.max())
        ids = np.full((len(tokens), longest), _PADDING, np.int64)
        for row, new in enumerate(tokens):
            ids[row, : len(new)] = new
        places = np.arange(longest)
        fresh = places < counts[:, None]  # [rows, new]
        seen = np.concatenate([self._real, fresh], axis=1)  # [rows, past + new]
        earlier = np.ones((longest, self._real.shape[1]), np.bool_)
        allowed = np.concatenate([earlier, np.tri(longest, dtype=np.bool_)], axis=1) & seen[:, None]
        cosine, sine = self._decoder.rotation(self._lengths[:, None] + places)
        hidden, keys, values = self._decoder.session.run(
            None,
            {
                "embedded": self._decoder.vocabulary.rows(ids.ravel()).reshape(*ids.shape, -1),
                "cosine": cosine,
                "sine": sine,
                "mask": np.where(allowed, np.float32(0), _MASKED)[:, None],
                "past_keys": self._keys,
                "past_values": self._values,
            },
        )
        self._keys = np.concatenate([self._keys, keys], axis=3)
        self._values = np.concatenate([self._values, values], axis=3)
        self._real = seen
        self._lengths += counts
        last: FloatArray = hidden[np.arange(len(tokens)), np.maximum(counts - 1, 0)]
        return last
