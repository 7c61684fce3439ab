"""Decide in which precision a model is computed here, where it is asked for in one that this machine has no means for.

Pure, so that the server can estimate the memory that loading will really take without importing torch.
"""

from typing import Final

from conductor.domain.model import Precision

_REMEDY: Final = "`pip install 'conductor[quantised]'`"


def attainable(asked: Precision, *, accelerator: bool, bitsandbytes: bool) -> tuple[Precision, str]:
    """The precision that is used, and why it is not the one asked for (empty where it is).

    Args:
        accelerator: whether the model goes to a GPU.
        bitsandbytes: whether that library is installed and knows this machine: it holds weights in 8 and 4 bits on cards
            of NVIDIA and AMD, and in 4 bits on processors.
    """
    if asked is Precision.FP16 and not accelerator:
        return Precision.BF16, "FP16 is computed as BF16: processors are slow at FP16 and its range is small"
    if asked is Precision.INT8 and accelerator and not bitsandbytes:
        return Precision.BF16, f"8-bit on a GPU needs bitsandbytes, which is not there; BF16 is used ({_REMEDY})"
    if asked is Precision.INT4 and not bitsandbytes:
        instead = Precision.BF16 if accelerator else Precision.INT8
        return (
            instead,
            f"4-bit needs bitsandbytes, which is not there; {instead} is used ({_REMEDY}, or take a Q4 GGUF)",
        )
    return asked, ""
