"""Decide which of several upstreams of one model takes the next request, and leave alone those that fail.

The least loaded one does: fewest requests under way per weight; among equals the one that waited longest. Three failures
in a row open an upstream's breaker; after a rest, longer each time, one request alone probes it, and its ending decides. An
upstream that says it has too much to do (429) rests as long as it asked to; that is no failure.

Plain rules over what they are told, the time included; nothing is sent here. Not covered: sessions that must stay with
their upstream, and upstreams in other processes: each process learns for itself.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from conductor.domain.json import JsonObject

FAILURES_THAT_OPEN: Final = 3
FIRST_REST_S: Final = 1.0
LONGEST_REST_S: Final = 60.0
#: Asked for by an upstream that does not say how long it wants to rest.
BUSY_REST_S: Final = 1.0
#: An upstream that asks for more gets no more than this; it is asked again then.
LONGEST_BUSY_REST_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One place that serves a model; `weight` is its share of the work beside others, above 0."""

    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"the weight of {self.name} is {self.weight}, not above 0")


class BreakerState(StrEnum):
    """Whether an upstream is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Ending(StrEnum):
    """How a request to an upstream ended, as far as its breaker is concerned."""

    ANSWERED = "answered"
    FAILED = "failed"
    BUSY = "busy"
    #: The client left, or the attempt says nothing about the upstream for another reason.
    ABANDONED = "abandoned"


@dataclass(slots=True)
class _Lane:
    """What is known of one upstream."""

    upstream: Upstream
    outstanding: int = 0
    chosen: int = 0
    last_chosen: int = 0
    failures: int = 0
    failed: int = 0
    rest_s: float = 0.0
    rests_until_s: float = 0.0
    is_open: bool = False
    probes: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One request given to one upstream; to be handed back once, with how it ended."""

    upstream: Upstream
    is_probe: bool
    lane: _Lane = field(repr=False)


class Router:
    """Upstreams of one model; to be used from one thread.

    Args:
        upstreams: at least one, with names of their own.
    """

    def __init__(self, upstreams: Iterable[Upstream]) -> None:
        self._lanes = {upstream.name: _Lane(upstream) for upstream in upstreams}
        self._turns = 0
        if not self._lanes:
            raise ValueError("a router needs an upstream")

    def take(self, now_s: float, *, without: Collection[str] = ()) -> Turn | None:
        """The upstream for one more request; None when none may be asked now.

        Args:
            now_s: monotonic.
            without: names that this request tried already.
        """
        best = None
        for lane in self._lanes.values():
            if lane.upstream.name in without or not _may_be_asked(lane, now_s):
                continue
            load = ((lane.outstanding + 1) / lane.upstream.weight, lane.last_chosen)
            if best is None or load < best[0]:
                best = (load, lane)
        if best is None:
            return None
        lane = best[1]
        self._turns += 1
        lane.last_chosen = self._turns
        lane.chosen += 1
        lane.outstanding += 1
        lane.probes = lane.is_open
        return Turn(lane.upstream, lane.is_open, lane)

    def give_back(self, turn: Turn, ending: Ending, now_s: float, *, retry_after_s: float | None = None) -> None:
        """Tell how a turn ended; `retry_after_s` is what a busy upstream asked for."""
        lane = turn.lane
        lane.outstanding -= 1
        if turn.is_probe:
            lane.probes = False
        if ending is Ending.ANSWERED:
            lane.failures, lane.rest_s, lane.is_open = 0, 0.0, False
        elif ending is Ending.BUSY:
            wanted_s = BUSY_REST_S if retry_after_s is None else max(0.0, retry_after_s)
            lane.rests_until_s = max(lane.rests_until_s, now_s + min(wanted_s, LONGEST_BUSY_REST_S))
        elif ending is Ending.FAILED:
            _fail(lane, now_s, was_probe=turn.is_probe)

    def rests_for_s(self, now_s: float) -> float:
        """How long until the first upstream may be asked again; 0 where one may be now, or is being probed."""
        return min(max(0.0, lane.rests_until_s - now_s) for lane in self._lanes.values())

    def snapshot(self, now_s: float) -> list[JsonObject]:
        """Each upstream as plain JSON, for `/stats`."""
        return [
            {
                "name": lane.upstream.name,
                "weight": lane.upstream.weight,
                "outstanding": lane.outstanding,
                "requests": lane.chosen,
                "failures": lane.failed,
                "breaker": _breaker(lane, now_s),
                "rests_for_s": round(max(0.0, lane.rests_until_s - now_s), 3),
            }
            for lane in self._lanes.values()
        ]


def _may_be_asked(lane: _Lane, now_s: float) -> bool:
    return lane.rests_until_s <= now_s and not lane.probes


def _fail(lane: _Lane, now_s: float, *, was_probe: bool) -> None:
    lane.failures += 1
    lane.failed += 1
    if lane.is_open and not was_probe:
        return  # it was under way when the breaker opened; it says nothing new
    if not was_probe and lane.failures < FAILURES_THAT_OPEN:
        return
    lane.is_open = True
    lane.rest_s = min(max(FIRST_REST_S, lane.rest_s * 2), LONGEST_REST_S)
    lane.rests_until_s = max(lane.rests_until_s, now_s + lane.rest_s)


def _breaker(lane: _Lane, now_s: float) -> BreakerState:
    if not lane.is_open:
        return BreakerState.CLOSED
    return BreakerState.HALF_OPEN if lane.probes or lane.rests_until_s <= now_s else BreakerState.OPEN
