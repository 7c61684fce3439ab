"""Decide which card holds which layers of a model that is larger than one of them.

Pure arithmetic: blocks in the order in which they compute, free memory of the cards, and out comes a map from blocks to
cards. Each card gets a stretch of neighbours, so that numbers cross from card to card as seldom as can be; stretches are
chosen so that the fullest card is as empty as possible, in proportion to what it has free: what is left is for keys and
values, of which each layer has its own. Moving the weights and the numbers is accelerate's.

Not covered: splitting inside a layer (tensor parallelism); cards of unequal speed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from conductor.domain.model import Precision


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a model that stays on one card.

    Args:
        name: of the module, as in `device_map`.
        bytes: of its weights; those that an earlier block holds too are counted there.
        beside: the earlier block that holds the same weights, and must be on the same card; empty where there is none.
    """

    name: str
    bytes: int
    beside: str = ""


def split(blocks: Sequence[Block], free_bytes: Sequence[int]) -> Mapping[str, int] | None:
    """The card's number for each block's name; None where they do not fit.

    A block without weights of its own goes where it is computed least in the way: to those it shares with, else to the
    first card, where the inputs are.
    """
    chain = [block for block in blocks if block.bytes and not block.beside]
    borders = _borders([block.bytes for block in chain], free_bytes)
    if borders is None:
        return None
    cards = {block.name: card for card, (begin, end) in enumerate(borders) for block in chain[begin:end]}
    first = next((cards[block.name] for block in chain), 0)
    return {block.name: cards.get(block.beside or block.name, first) for block in blocks}


def _borders(sizes: Sequence[int], free_bytes: Sequence[int]) -> list[tuple[int, int]] | None:
    """From where to where each card's stretch goes; the largest share of a card that is used is as small as can be."""
    sums = [0]
    for size in sizes:
        sums.append(sums[-1] + size)
    worst = [0.0] + [inf] * len(sizes)  # of the cards so far, by how many blocks they hold
    choices: list[list[int]] = []
    for free in free_bytes:
        now, came_from = [inf] * len(sums), [0] * len(sums)
        for end in range(len(sums)):
            for begin in range(end, -1, -1):
                held = sums[end] - sums[begin]
                if held > max(free, 0):
                    break
                share = max(worst[begin], held / free if held else 0.0)
                if share < now[end]:
                    now[end], came_from[end] = share, begin
        worst = now
        choices.append(came_from)
    if worst[-1] == inf:
        return None
    borders, end = [], len(sizes)
    for came_from in reversed(choices):
        borders.append((came_from[end], end))
        end = came_from[end]
    return borders[::-1]


def blocks_of(skeleton: Any, precision: Precision) -> list[Block]:
    """The parts of a model that must not be split, with what they will take.

    Args:
        skeleton: the model on torch's `meta` device, where weights have shapes and no memory.
        precision: as it will be computed; 8 and 4 bits are those of large matrices, tables and vectors keep 16.
    """
    whole = frozenset(getattr(skeleton, "_no_split_modules", None) or ())
    seen: dict[int, str] = {}
    return [_block(name, module, precision, seen) for name, module in _parts("", skeleton, whole)]


def _parts(name: str, module: Any, whole: frozenset[str]) -> Iterator[tuple[str, Any]]:
    inner = list(module.named_children())
    if not inner or type(module).__name__ in whole:
        yield name, module
        return
    for child, part in inner:
        yield from _parts(f"{name}.{child}" if name else child, part, whole)
    for own, weight in module.named_parameters(recurse=False):
        yield f"{name}.{own}" if name else own, weight


def _block(name: str, part: Any, precision: Precision, seen: dict[int, str]) -> Block:
    weights = list(part.named_parameters()) if hasattr(part, "named_parameters") else [("", part)]
    table = type(part).__name__.endswith("Embedding") or name.rpartition(".")[2] in ("lm_head", "embed_out", "output")
    plain_width = 4.0 if precision is Precision.FP32 else 2.0  # of what quantisation leaves alone
    count, beside = 0.0, ""
    for _, weight in weights:
        if id(weight) in seen:
            beside = seen[id(weight)]
            continue
        seen[id(weight)] = name
        rounded = weight.ndim > 1 and not table
        count += weight.numel() * (precision.bytes_per_weight if rounded else plain_width)
    return Block(name, int(count), "" if count else beside)
