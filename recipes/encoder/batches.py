"""Turn texts into padded batches of token ids.

Texts of like length share a batch, so that little is spent on padding. Which texts, and in what altered form, is the
caller's decision.
"""

import random
from collections.abc import Iterator, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

MAX_TOKENS = 96


def padded(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int = MAX_TOKENS) -> tuple[Tensor, Tensor]:
    """int64 [texts, tokens] ids and mask; zero is the padding."""
    encoded = [_cut(encoding.ids, max_tokens) for encoding in tokenizer.encode_batch(list(texts))]
    longest = max(len(ids) for ids in encoded)
    ids = torch.zeros((len(encoded), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(encoded):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask


def _cut(ids: list[int], max_tokens: int) -> list[int]:
    return ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]]


def batches_by_length(lengths: Sequence[int], size: int, rng: random.Random) -> Iterator[list[int]]:
    """Every index once, in shuffled batches of about equal length."""
    order = sorted(range(len(lengths)), key=lambda index: lengths[index] * (0.8 + 0.4 * rng.random()))
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    rng.shuffle(batches)
    yield from batches
