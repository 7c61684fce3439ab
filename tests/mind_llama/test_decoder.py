"""The shipped graph against a Llama written out in NumPy from the same 4-bit numbers."""

import json

import numpy as np
import numpy.typing as npt
import pytest
from safetensors import safe_open

from conductor.adapters.mind_llama.decoder import Decoder
from conductor.adapters.mind_llama.model import SHIPPED, WEIGHTS, OwnMind

Array = npt.NDArray[np.float64]
CARD = json.loads((SHIPPED / "card.json").read_text(encoding="utf-8"))
SHAPE = CARD["architecture"]


@pytest.fixture(scope="session")
def decoder(mind: OwnMind) -> Decoder:
    return mind._parts().decoder


class WrittenOut:
    """Llama as in the papers, in float64, one sequence, no cache."""

    def __init__(self) -> None:
        self._file = safe_open(SHIPPED / WEIGHTS, framework="numpy")

    def __call__(self, tokens: list[int]) -> Array:
        stream = self._matrix("model.embed_tokens")[tokens]
        for layer in range(SHAPE["layers"]):
            prefix = f"model.layers.{layer}"
            flow = self._norm(stream, f"{prefix}.input_layernorm.weight")
            query, key, value = np.split(flow @ self._matrix(f"{prefix}.self_attn.qkv_proj").T, 3, axis=1)
            mixed = self._attention(query, key, value)
            stream = stream + mixed @ self._matrix(f"{prefix}.self_attn.o_proj").T
            flow = self._norm(stream, f"{prefix}.post_attention_layernorm.weight")
            gate, up = np.split(flow @ self._matrix(f"{prefix}.mlp.gate_up_proj").T, 2, axis=1)
            stream = stream + (gate / (1 + np.exp(-gate)) * up) @ self._matrix(f"{prefix}.mlp.down_proj").T
        return self._norm(stream, "model.norm.weight")

    def _matrix(self, name: str) -> Array:
        scale = self._file.get_tensor(f"{name}.scale")
        if f"{name}.q8" in self._file.keys():  # noqa: SIM118 - safetensors' keys are a method, not a mapping
            numbers = self._file.get_tensor(f"{name}.q8").astype(np.float64) - 128
        else:
            codes = self._file.get_tensor(f"{name}.q4")
            numbers = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], 32).astype(np.float64) - 8
        return np.asarray((numbers * scale.astype(np.float64)[..., None]).reshape(len(numbers), -1))

    def _norm(self, stream: Array, name: str) -> Array:
        scaled = stream / np.sqrt((stream**2).mean(axis=1, keepdims=True) + SHAPE["epsilon"])
        return np.asarray(scaled * self._file.get_tensor(name))

    def _attention(self, query: Array, key: Array, value: Array) -> Array:
        width, count = SHAPE["head_width"], len(query)
        angles = np.outer(np.arange(count), CARD["rope_theta"] ** -(np.arange(0, width, 2) / width))
        heads = []
        for head in range(SHAPE["heads"]):
            mine = slice(head * width, (head + 1) * width)
            scores = self._turned(query[:, mine], angles) @ self._turned(key[:, mine], angles).T / np.sqrt(width)
            scores[np.triu_indices(count, 1)] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(weights / weights.sum(axis=1, keepdims=True) @ value[:, mine])
        return np.concatenate(heads, axis=1)

    @staticmethod
    def _turned(given: Array, angles: Array) -> Array:
        first, second = np.split(given, 2, axis=1)
        cosine, sine = np.cos(angles), np.sin(angles)
        return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=1)


def test_the_graph_computes_the_llama_of_the_papers(decoder: Decoder) -> None:
    tokens = [101, 4009, 2029, 1996, 3861, 2013, 2026, 4950, 102]

    expected = WrittenOut()(tokens)[-1]
    found = decoder.begin(1).extend([tokens])[0]

    assert np.linalg.norm(found - expected) <= 5e-3 * np.linalg.norm(expected)


def test_reading_in_pieces_gives_what_reading_at_once_gives(decoder: Decoder) -> None:
    tokens = [101, 2345, 3456, 4567, 5678, 6789, 102]
    pieces = decoder.begin(1)

    pieces.extend([tokens[:3]])
    pieces.extend([tokens[3:4]])

    assert np.allclose(pieces.extend([tokens[4:]]), decoder.begin(1).extend([tokens]), atol=1e-2)


def test_a_row_does_not_depend_on_its_company(decoder: Decoder) -> None:
    short, long = [101, 2345, 102], [101, 999, 2345, 3456, 4567, 5678, 102]
    together = decoder.begin(2)

    first = together.extend([short, long])
    second = together.extend([[7777, 8888], [6666]])
    third = together.extend([[], [5555]])

    alone_short, alone_long = decoder.begin(1), decoder.begin(1)
    assert np.allclose(first[0], alone_short.extend([short])[0], atol=1e-2)
    assert np.allclose(second[0], alone_short.extend([[7777, 8888]])[0], atol=1e-2)
    assert np.allclose(first[1], alone_long.extend([long])[0], atol=1e-2)
    alone_long.extend([[6666]])
    assert np.allclose(third[1], alone_long.extend([[5555]])[0], atol=1e-2)
