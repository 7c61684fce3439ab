"""Decide which models give way to one that is waiting for memory, and when.

Two rules keep requests that alternate between models from swapping on each of them:

* A model that is in use, or was a moment ago (`linger_s`), keeps its place, and requests for it are served meanwhile.
* Once the oldest request for the waiting model has waited `longest_wait_s`, its place is closed: what runs is finished,
  what comes for it waits, and the swap takes place.

Bound: call a turn of a model its longest generation, unloading what it displaces and its load. A request waits at most
`longest_wait_s`, or the turns of the models that were asked for before it where these take longer, and its own turn.
Without collation it would wait for all of that but `longest_wait_s`. Turns are taken in the order of the oldest request.

Pure; carrying it out is `serving.lifetimes.keep`.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

from conductor.serving.lifetimes.memory_budget import fitting_devices

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How swaps are put off.

    Args:
        longest_wait_s: a request is put off for the sake of others no longer than this.
        linger_s: a model that nobody uses is still expected to be used again for this long.
    """

    longest_wait_s: float = 10.0
    linger_s: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding(Generic[KeyT]):
    """A model in memory.

    Args:
        bytes_on: what each device would get back, by device.
        leases: how many use it now.
        last_used_s: when somebody last began or ended using it, monotonic.
        stays: it is never unloaded to make room.
    """

    key: KeyT
    bytes_on: Mapping[str, int]
    leases: int
    last_used_s: float
    stays: bool


@dataclass(frozen=True, slots=True)
class Plan(Generic[KeyT]):
    """Where a model goes and which must be unloaded first."""

    devices: tuple[str, ...]
    victims: tuple[Holding[KeyT], ...]


def plan_room(
    needed_bytes: int, preferred: Sequence[str], free_bytes: Mapping[str, int], held: Iterable[Holding[KeyT]]
) -> Plan[KeyT] | None:
    """Room for a model: idle models give way before used ones, the least recently used first, and as few as will do.

    None where it does not fit however many give way.
    """
    order = sorted((one for one in held if not one.stays), key=lambda one: (one.leases > 0, one.last_used_s))
    victims: list[Holding[KeyT]] = []
    for count in range(len(order) + 1):
        victims = order[:count]
        if fitting_devices(needed_bytes, _freed(free_bytes, victims), preferred):
            break
    else:
        return None
    for spared in reversed(tuple(victims)):
        others = [one for one in victims if one is not spared]
        if fitting_devices(needed_bytes, _freed(free_bytes, others), preferred):
            victims = others
    return Plan(fitting_devices(needed_bytes, _freed(free_bytes, victims), preferred), tuple(victims))


def _freed(free_bytes: Mapping[str, int], victims: Iterable[Holding[KeyT]]) -> dict[str, int]:
    freed = dict(free_bytes)
    for victim in victims:
        for device, given_back in victim.bytes_on.items():
            freed[device] = freed.get(device, 0) + given_back
    return freed


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done about a plan.

    Args:
        now: carry it out now.
        closes: the victims take nobody new from now on, so that they come to rest.
        again_at_s: when to look again, monotonic, if nothing happens before; infinite where something must happen first.
    """

    now: bool
    closes: bool = False
    again_at_s: float = inf


def turn(plan: Plan[KeyT], *, waiting_since_s: float, now_s: float, patience: Patience) -> Turn:
    """Whether the model that has waited since `waiting_since_s` takes its place now."""
    due_s = waiting_since_s + patience.longest_wait_s
    in_use = any(victim.leases for victim in plan.victims)
    if now_s >= due_s:
        return Turn(now=not in_use, closes=True)
    if in_use:
        return Turn(now=False, again_at_s=due_s)
    rested_s = max((victim.last_used_s + patience.linger_s for victim in plan.victims), default=now_s)
    if rested_s <= now_s:
        return Turn(now=True)
    return Turn(now=False, again_at_s=min(rested_s, due_s))
