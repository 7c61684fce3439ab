"""Lay examples out as token sequences: `[CLS] text [SEP] device kind priority units duration cue , cue [SEP]`.

Every position after the text's `[SEP]` is learned; the text itself is only read. Sequences of a batch are padded on the
right, which a causal model does not see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from recipes.mind.architecture import Answers
from tokenizers import Tokenizer
from torch import Tensor

TEXT_TOKENS = 96
SEPARATOR = ","
END = 102


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of sequences and where their fields stand.

    Args:
        ids: int64 [batch, tokens].
        at: int64 [batch], place of the text's `[SEP]`; the answer of field f is predicted at `at + f`.
        answers: int64 [batch, 5], columns within each field.
        cue_places: int64 [cues, 2], row and place where a cue token (or the end) is predicted.
        cue_tokens: int64 [cues], what follows there.
    """

    ids: Tensor
    at: Tensor
    answers: Tensor
    cue_places: Tensor
    cue_tokens: Tensor


class Layout:
    """Knows the tokenizer and the answer tokens."""

    def __init__(self, tokenizer: Tokenizer, answers: Answers) -> None:
        self._tokenizer = tokenizer
        self._fields = answers.fields
        self._separator = tokenizer.token_to_id(SEPARATOR)

    def batch(self, texts: Sequence[str], answers: Sequence[tuple[int, ...]], cues: Sequence[tuple[str, ...]]) -> Batch:
        """Sequences of a few texts with their answers and those cue words that stand in them."""
        rows, at, places, following = [], [], [], []
        for index, encoding in enumerate(self._tokenizer.encode_batch(list(texts))):
            ids = encoding.ids if len(encoding.ids) <= TEXT_TOKENS else [*encoding.ids[: TEXT_TOKENS - 1], END]
            at.append(len(ids) - 1)
            ids = [*ids, *(field[answer] for field, answer in zip(self._fields, answers[index], strict=True))]
            reason = self._cue_tokens(texts[index], cues[index])
            places += [(index, len(ids) - 1 + offset) for offset in range(len(reason))]
            following += reason
            rows.append([*ids, *reason])
        padded = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.long)
        for index, row in enumerate(rows):
            padded[index, : len(row)] = torch.tensor(row)
        return Batch(
            padded,
            torch.tensor(at),
            torch.tensor([list(row) for row in answers]),
            torch.tensor(places).reshape(-1, 2),
            torch.tensor(following, dtype=torch.long),
        )

    def _cue_tokens(self, text: str, cues: tuple[str, ...]) -> list[int]:
        tokens: list[int] = []
        for word in cues:
            if word in text:
                tokens += [self._separator] if tokens else []
                tokens += self._tokenizer.encode(word, add_special_tokens=False).ids
        return [*tokens, END]
