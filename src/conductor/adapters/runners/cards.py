"""Decide onto which of the cards that this process sees a model goes, and call them what they are called outside.

Which cards these are was decided outside (`serving.lifetimes.placing`), with room for keys, values and activations; here
they have the numbers 0, 1, …, and only whether the weights fit is asked. Belongs into the engine process.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final

from conductor.adapters.minds.files import Weights
from conductor.adapters.runners.layer_split import blocks_of, split
from conductor.domain.errors import ModelError
from conductor.domain.model import Precision
from conductor.domain.units import format_bytes

#: Of what is free on a card; the rest is for the buffers of the first computation.
_SHARE: Final = 0.95
_CARD: Final = "cuda:"


def placement(
    torch: Any, kind: Any, config: Any, weights: Weights, precision: Precision, *, gpus: int, metal: bool
) -> Mapping[str, Any]:
    """The `device_map`: one card where the model fits onto it, a split over all where not; empty on a processor.

    Args:
        kind: transformers' class that makes the model of its `config`.

    Raises:
        ModelError: it does not fit onto all of them.
    """
    if not gpus:
        return {"": "mps"} if metal else {}
    free = [int(_SHARE * torch.cuda.mem_get_info(number)[0]) for number in range(gpus)]
    needed = int(weights.numbers * precision.bytes_per_weight)
    best = max(range(gpus), key=free.__getitem__)
    if needed <= free[best]:
        return {"": best}
    with torch.device("meta"):
        skeleton = kind.from_config(config)
    found = split(blocks_of(skeleton, precision), free)
    if found is None:
        raise ModelError(
            f"the model needs {format_bytes(needed)} in {precision} but its cards have {format_bytes(sum(free))} for it; "
            "choose a lower precision, unload another model, or split it over several machines"
        )
    if find_spec("accelerate") is None:
        raise ModelError(
            "a model over several cards needs accelerate; install it with `pip install 'conductor[hf]'`",
            details={"reason": "missing_extra"},
        )
    return found


def names_of(where: Mapping[str, Any], devices: Sequence[str]) -> str:
    """`cuda:0+cuda:1`, by the names that the cards have outside this process."""
    return "+".join(_name(each, devices) for each in sorted(set(where.values()), key=str)) or "cpu"


def memory_on_cards(torch: Any, devices: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Bytes that this process holds on the cards that it uses, by the names that they have outside."""
    held = [(card, int(torch.cuda.memory_allocated(card))) for card in range(torch.cuda.device_count())]
    return tuple((_name(card, devices), count) for card, count in held if count)


def _name(device: Any, devices: Sequence[str]) -> str:
    cards = [name for name in devices if name.startswith(_CARD)]
    if not isinstance(device, int):
        return str(device)
    return cards[device] if device < len(cards) else f"{_CARD}{device}"
