"""What stored numbers stand for: blocks of 32 along the input with one half-precision scale each.

4 bits: `scale * (q - 8)` with q in 0..15 (GGUF's Q4_0). The scale is chosen among a few near the classical one for the
least squared error; the end of the range that the largest weight needs decides its sign, as in llama.cpp.
8 bits: `scale * (q - 128)` with q in 1..255 (GGUF's Q8_0, moved up by 128 so that it has no sign).
How weights get onto these grids is `rounding.py`.
"""

from typing import Final

import torch
from torch import Tensor

BLOCK: Final = 32
_TRIED_SCALES: Final = (1.0, 0.95, 0.9, 0.85, 0.8)


def scales_of(weight: Tensor) -> Tensor:
    """[rows, blocks] 4-bit scales for [rows, columns] weights, half-precision numbers in float32."""
    blocks = weight.detach().reshape(weight.shape[0], -1, BLOCK)
    largest = blocks.gather(2, blocks.abs().argmax(2, keepdim=True)).squeeze(2)
    scales = torch.stack([(largest * factor / -8.0).half().float() for factor in _TRIED_SCALES])
    errors = torch.stack([(_rounded(blocks, scale) - blocks).square().sum(2) for scale in scales])
    return scales.gather(0, errors.argmin(0, keepdim=True)).squeeze(0)


def rounded(weight: Tensor, scale: Tensor) -> Tensor:
    """The weights that 4-bit numbers stand for, in the shape of `weight`."""
    return _rounded(weight.reshape(weight.shape[0], -1, BLOCK), scale).reshape(weight.shape)


def codes(weight: Tensor, scale: Tensor) -> Tensor:
    """uint8 [rows, blocks, 16]: two 4-bit numbers a byte, the earlier one in the low half."""
    blocks = _codes(weight.reshape(weight.shape[0], -1, BLOCK), scale).to(torch.uint8)
    return blocks[..., 0::2] | (blocks[..., 1::2] << 4)


def scales_of_8_bits(weight: Tensor) -> Tensor:
    """[rows, blocks] 8-bit scales, half-precision numbers in float32."""
    blocks = weight.detach().reshape(weight.shape[0], -1, BLOCK)
    return (blocks.abs().amax(2) / 127.0).half().float()


def rounded_to_8_bits(weight: Tensor, scale: Tensor) -> Tensor:
    """The weights that 8-bit numbers stand for, in the shape of `weight`."""
    return ((codes_of_8_bits(weight, scale).float() - 128) * scale[..., None]).reshape(weight.shape)


def codes_of_8_bits(weight: Tensor, scale: Tensor) -> Tensor:
    """uint8 [rows, blocks, 32]."""
    blocks = weight.reshape(weight.shape[0], -1, BLOCK)
    return (blocks / _safe(scale)[..., None]).round().clamp(-127, 127).add(128).to(torch.uint8)


def _codes(blocks: Tensor, scale: Tensor) -> Tensor:
    return (blocks / _safe(scale)[..., None]).round().clamp(-8, 7) + 8


def _rounded(blocks: Tensor, scale: Tensor) -> Tensor:
    return (_codes(blocks, scale) - 8) * scale[..., None]


def _safe(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, torch.ones_like(scale), scale)
