"""What `serving.lifetimes.keep` knows of each model between two decisions: who waits, who uses it, what it holds."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Final

from conductor.domain.model import ServedModel
from conductor.serving.lifetimes.memory_budget import Expectation
from conductor.serving.lifetimes.swapping import Holding, Patience
from conductor.serving.ports import Backend, MemoryNeed, Runner
from conductor.serving.registry import ModelKey

_FIRST_REST_S: Final = 1.0
_LONGEST_REST_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How models are kept.

    Args:
        idle_s: a model that nobody used for this long is unloaded, unless it stays loaded.
        patience: how swaps are put off.
        give_up_s: nobody waits for a model longer than this.
        load_limit_s: of one load.
        close_limit_s: of giving a model's memory back.
        drain_s: at the end, generations under way are given this long.
        probe_s: a model that does not answer a small question for this long is dead.
        most_waiting: requests that wait for one model; more are turned away.
    """

    idle_s: float = 600.0
    patience: Patience = field(default_factory=Patience)
    give_up_s: float = 600.0
    load_limit_s: float = 1_800.0
    close_limit_s: float = 30.0
    drain_s: float = 30.0
    probe_s: float = 30.0
    most_waiting: int = 256


@dataclass(slots=True, eq=False, kw_only=True)
class Loaded:
    """A model in memory.

    Args:
        suspect: it is being found out whether it is dead.
        ahead: nobody has asked for it yet.
    """

    runner: Runner
    devices: tuple[str, ...]
    expected_bytes: int
    last_used_s: float
    leases: int = 0
    suspect: bool = False
    ahead: bool = False

    def bytes_on(self) -> dict[str, int]:
        """What each device has again when it is gone: what it took and what was set aside for it."""
        most = max(self.expected_bytes, self.runner.facts.memory_bytes)
        return self._divided(most)

    def still_to_take_on(self) -> dict[str, int]:
        """What it may yet take on each device, as its cache fills; 0 where what it took cannot be measured."""
        taken = self.runner.facts.memory_bytes or self.expected_bytes
        return self._divided(max(self.expected_bytes - taken, 0))

    def _divided(self, count: int) -> dict[str, int]:
        """So many bytes by device: as it lies there, evenly where that is not known."""
        lies = dict(self.runner.facts.memory_on)
        if set(lies) != set(self.devices) or not any(lies.values()):
            lies = dict.fromkeys(self.devices, 1)
        return {device: count * share // sum(lies.values()) for device, share in lies.items()}


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for a model, to lease it or just to have it loaded."""

    future: "asyncio.Future[Loaded]"
    since_s: float
    leases: bool

    def granted(self) -> Loaded | None:
        """The lease it was given; None where it was given none."""
        future = self.future
        if not self.leases or not future.done() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()


@dataclass(slots=True, eq=False, kw_only=True)
class Resident:
    """One model of the table.

    Args:
        row: the first of the table's rows that name it.
        stays: whether any of them has it stay loaded.
        busy_on: devices on which it is being loaded or unloaded now; `busy` also while its files are looked at.
        arriving_bytes: what the load under way will take on these devices together.
        closed: takes nobody new, because it is to give way.
        leaving: is to be unloaded once nobody uses it.
        dropped: no row names it any more.
        preload_since_s: to be loaded without anybody waiting, since then; infinite where not.
        ahead: is to be loaded, or is being loaded, because it may be asked for next.
        failures: in a row; decides how long it rests.
        fails_for_good: what it failed by last will not pass by itself.
    """

    key: ModelKey
    row: ServedModel
    backend: Backend | None
    stays: bool
    loaded: Loaded | None = None
    waiters: deque[Waiter] = field(default_factory=deque)
    need: MemoryNeed | None = None
    expectation: Expectation | None = None
    busy: bool = False
    busy_on: tuple[str, ...] = ()
    arriving_bytes: int = 0
    closed: bool = False
    leaving: bool = False
    dropped: bool = False
    preload_since_s: float = inf
    ahead: bool = False
    failures: int = 0
    fails_for_good: bool = False
    rests_until_s: float = -inf
    gone: "list[asyncio.Future[None]]" = field(default_factory=list)

    @property
    def wanted_since_s(self) -> float:
        """When the oldest wish to have it came, monotonic; infinite where there is none."""
        return min(self.waiters[0].since_s if self.waiters else inf, self.preload_since_s)

    @property
    def is_open(self) -> bool:
        """Whether it can be leased at once."""
        return not (self.loaded is None or self.busy or self.closed or self.leaving or self.loaded.suspect)

    def holding(self) -> "Holding[Resident]":
        """As the swapping rules see it; it must be loaded. What nobody has asked for yet is the first to give way."""
        assert self.loaded is not None, "only what is in memory holds any"
        return Holding(
            key=self,
            bytes_on=self.loaded.bytes_on(),
            leases=self.loaded.leases,
            last_used_s=-inf if self.loaded.ahead else self.loaded.last_used_s,
            stays=self.stays,
        )

    def take(self, now_s: float) -> Loaded:
        """One more lease."""
        assert self.loaded is not None, "only what is in memory is leased"
        self.loaded.leases += 1
        self.loaded.last_used_s = now_s
        self.loaded.ahead = False
        return self.loaded

    def grant(self, now_s: float) -> None:
        """Let all who wait have it."""
        assert self.loaded is not None, "only what is in memory is granted"
        self.preload_since_s = inf
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.future.done():
                waiter.future.set_result(self.take(now_s) if waiter.leases else self.loaded)

    def disappoint(self, error: Exception) -> None:
        """Tell all who wait that they will not have it."""
        self.preload_since_s = inf
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.future.done():
                waiter.future.set_exception(error)

    def rest(self, now_s: float) -> None:
        """After a failure: leave it alone for a while, longer each time."""
        self.failures += 1
        self.rests_until_s = now_s + min(_FIRST_REST_S * 2 ** min(self.failures - 1, 30), _LONGEST_REST_S)

    def settle(self) -> None:
        """Nothing is being done with it any more."""
        self.busy, self.busy_on, self.arriving_bytes = False, (), 0

    def now_gone(self) -> None:
        """Tell those who wait for it to be gone."""
        self.leaving = False
        while self.gone:
            if not (told := self.gone.pop()).done():
                told.set_result(None)
