"""The shape of our language model: a Llama decoder of twelve narrow layers, and the tokens it answers with.

Twelve layers, so that it can be split over machines as the sources draw it; as wide as the sentence encoder's
embeddings plus a few channels of its own, so that it can start from them (`transplant.py`). Every answer of the decision
form (`conductor.decisions.form`) is one token: filling in the form takes one forward step per field. The answers occupy
rows of the vocabulary that the base reserved and never used.
"""

from dataclasses import dataclass
from typing import Final

from tokenizers import Tokenizer
from transformers import LlamaConfig

from conductor.decisions.form import DEVICES, DURATIONS, KINDS, PRIORITIES, UNITS

LAYERS: Final = 12
HEADS: Final = 8
HEAD_WIDTH: Final = 32
BASE_WIDTH: Final = 384
#: The base's channels and 32 more: the first of these carries a constant, from which the base's biases are read.
WIDTH: Final = BASE_WIDTH + 32
INNER_WIDTH: Final = 768
CONTEXT: Final = 2048
#: Slow rotation: the base knows positions by other means, and most of its heads attend by content.
ROPE_THETA: Final = 1e6
EPSILON: Final = 1e-6
FIRST_ANSWER: Final = "[unused10]"


@dataclass(frozen=True, slots=True)
class Answers:
    """Token ids of the answers of each field, in the order of the form."""

    device: tuple[int, ...]
    kind: tuple[int, ...]
    priority: tuple[int, ...]
    units: tuple[int, ...]
    duration: tuple[int, ...]

    @property
    def fields(self) -> tuple[tuple[int, ...], ...]:
        """The fields in the order in which they are filled in."""
        return (self.device, self.kind, self.priority, self.units, self.duration)


def answers(tokenizer: Tokenizer) -> Answers:
    """Consecutive reserved tokens of the vocabulary, one for each answer."""
    at = tokenizer.token_to_id(FIRST_ANSWER)
    rows = []
    for choices in (DEVICES, KINDS, PRIORITIES, UNITS, DURATIONS):
        rows.append(tuple(range(at, at + len(choices))))
        at += len(choices)
    return Answers(*rows)


def configuration(vocabulary: int) -> LlamaConfig:
    """The Hugging Face configuration of our model."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=INNER_WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD_WIDTH,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=EPSILON,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=True,
        bos_token_id=101,
        eos_token_id=102,
        pad_token_id=0,
    )
