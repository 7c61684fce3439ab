"""Store weights in 4 bits: blocks of 32 along the input, one scale each, symmetric (GGUF's Q4_0).

`scale * (q - 8)` with q in 0..15. The scale is a half-precision number, chosen among a few near the classical one for
the least squared error; the end of the range that the largest weight needs decides its sign, as in llama.cpp. While
training, weights are rounded this way in the forward pass and gradients pass straight through.

Source: straight-through estimator, Bengio et al. 2013, arXiv:1308.3432.
"""

from typing import Final

import torch
from torch import Tensor

BLOCK: Final = 32
_TRIED_SCALES: Final = (1.0, 0.95, 0.9, 0.85, 0.8)


def scales_of(weight: Tensor) -> Tensor:
    """[rows, blocks] scales for [rows, columns] weights, as half-precision numbers in float32."""
    blocks = weight.detach().reshape(weight.shape[0], -1, BLOCK)
    largest = blocks.gather(2, blocks.abs().argmax(2, keepdim=True)).squeeze(2)
    best, best_error = None, None
    for factor in _TRIED_SCALES:
        scale = (largest * factor / -8.0).half().float()
        error = (_rounded(blocks, scale) - blocks).square().sum(2)
        if best is None or best_error is None:
            best, best_error = scale, error
        else:
            better = error < best_error
            best, best_error = torch.where(better, scale, best), torch.where(better, error, best_error)
    assert best is not None
    return best


def rounded(weight: Tensor, scale: Tensor) -> Tensor:
    """The weights that the 4-bit numbers stand for, in the shape of `weight`."""
    return _rounded(weight.reshape(weight.shape[0], -1, BLOCK), scale).reshape(weight.shape)


def codes(weight: Tensor, scale: Tensor) -> Tensor:
    """uint8 [rows, blocks, 16]: two weights a byte, the earlier one in the low half."""
    blocks = _codes(weight.reshape(weight.shape[0], -1, BLOCK), scale).to(torch.uint8)
    return blocks[..., 0::2] | (blocks[..., 1::2] << 4)


def straight_through(weight: Tensor, scale: Tensor) -> Tensor:
    """Rounded in the forward pass, untouched in the backward pass."""
    return weight + (rounded(weight.detach(), scale) - weight.detach())


def _codes(blocks: Tensor, scale: Tensor) -> Tensor:
    safe = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (blocks / safe[..., None]).round().clamp(-8, 7) + 8


def _rounded(blocks: Tensor, scale: Tensor) -> Tensor:
    return (_codes(blocks, scale) - 8) * scale[..., None]
