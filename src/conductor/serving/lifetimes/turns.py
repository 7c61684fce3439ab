"""Take turns: look at what is wanted, what is used and what is free, and start what is to be done about it.

One look is one decision over all models; whatever it starts runs on its own and wakes the next look when it is done.
Models are brought in the order of the oldest wish, on each device. Who waits and why is `serving.lifetimes.keep`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from math import inf
from typing import Final

from conductor.domain.clock import Clock
from conductor.domain.model import ModelState
from conductor.serving.lifetimes.ahead import Ahead
from conductor.serving.lifetimes.memory_budget import fitting_devices
from conductor.serving.lifetimes.moving import Mover, backend_of
from conductor.serving.lifetimes.placing import busy_devices, plan_for, too_large, unclaimed_bytes
from conductor.serving.lifetimes.residence import Keeping, Resident
from conductor.serving.lifetimes.swapping import Plan, turn
from conductor.serving.ports import MemoryMeter
from conductor.serving.registry import ModelKey, Registry

#: As `RunnerFacts.device` has it: where a model lies that could not use the card it was meant for.
_PROCESSOR: Final = "cpu"
#: When a machine that is busy is looked at again.
_BUSY_MACHINE_S: Final = 10.0


class Turns:
    """Decides over the residents; the dictionary is shared with its owner, who adds to it.

    Args:
        spawn: runs work beside the loop, as long as it lasts.
        wake: asks for another look.
    """

    def __init__(
        self,
        residents: dict[ModelKey, Resident],
        *,
        meter: MemoryMeter,
        registry: Registry,
        mover: Mover,
        clock: Clock,
        keeping: Keeping,
        ahead: Ahead,
        spawn: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"],
        wake: Callable[[], None],
    ) -> None:
        self._residents = residents
        self._ahead = ahead
        self._meter = meter
        self._registry = registry
        self._mover = mover
        self._clock = clock
        self._keeping = keeping
        self._spawn = spawn
        self._wake = wake
        self._settled = 0

    def settled(self) -> None:
        """Some model has come to rest in a new state."""
        self._settled += 1
        self._wake()

    async def look(self) -> float:
        """Start whatever is to be done now; when to look again, monotonic, if nothing happens before."""
        wanted = any(one.wanted_since_s < inf and one.loaded is None for one in self._residents.values())
        chosen = self._ahead.candidate(self._clock.monotonic_s())
        spare_bytes = await self._ahead.spare_bytes() if chosen else 0
        measured = await self._measured() if wanted or chosen else {}
        now_s = self._clock.monotonic_s()
        for resident in tuple(self._residents.values()):
            resident.closed = False
            self._tidy(resident)
        again_s = min(self._unload_unused(now_s), self._bring_wanted(measured, now_s))
        if chosen is not None and chosen is self._ahead.candidate(now_s):  # nothing has happened meanwhile
            again_s = min(again_s, self._bring_ahead(chosen, measured, spare_bytes, now_s))
        for resident in self._residents.values():
            if resident.waiters and resident.is_open:
                resident.grant(now_s)  # what they waited for was called off
        return again_s

    def _tidy(self, resident: Resident) -> None:
        """A model that nobody waits for any more is not waiting; one that no row names is forgotten."""
        if resident.busy or resident.loaded is not None:
            return
        if resident.ahead and self._ahead.candidate(self._clock.monotonic_s()) is not resident:
            resident.ahead = False
        if not resident.dropped:
            resident.now_gone()
        if resident.wanted_since_s == inf and not resident.ahead:
            resident.need = None
            if self._registry.record(resident.key).state is ModelState.WAITING:
                self._registry.move(resident.key, ModelState.ABSENT, "nobody waits for it any more")
        if resident.dropped:
            resident.now_gone()
            self._ahead.forget(resident.key)
            self._registry.forget(resident.key)
            del self._residents[resident.key]

    def _unload_unused(self, now_s: float) -> float:
        again_s = inf
        for resident in self._residents.values():
            loaded = resident.loaded
            if loaded is None or resident.busy or loaded.leases or loaded.suspect:
                continue
            due_s = inf if resident.stays or resident.waiters else loaded.last_used_s + self._keeping.idle_s
            if due_s > now_s and not resident.leaving:
                again_s = min(again_s, due_s)
            elif not set(loaded.devices) & busy_devices(self._residents.values()):
                resident.busy, resident.busy_on = True, loaded.devices
                reason = "unloaded by hand" if resident.leaving else "nobody used it"
                self._spawn(self._mover.unload(resident, reason))
        return again_s

    def _bring_wanted(self, measured: Mapping[str, int], now_s: float) -> float:
        """Start what can be loaded now, in the order of the oldest wish."""
        again_s, promised = inf, set[str]()
        wanted = [one for one in self._residents.values() if one.wanted_since_s < inf]
        for resident in sorted(wanted, key=lambda one: one.wanted_since_s):
            if resident.busy or resident.loaded is not None:
                continue
            if resident.rests_until_s > now_s:
                again_s = min(again_s, resident.rests_until_s)
            elif resident.need is None:
                self._start_estimate(resident)
            else:
                again_s = min(again_s, self._place(resident, measured, promised, now_s))
        return again_s

    def _place(self, resident: Resident, measured: Mapping[str, int], promised: set[str], now_s: float) -> float:
        """Load it now, keep its place for it, or refuse it; when to look again.

        Args:
            promised: devices whose next turn belongs to somebody who has waited longer; those of this one are added.
        """
        everyone = tuple(self._residents.values())
        preferred = self._meter.devices(backend_of(resident).name)
        free_bytes = unclaimed_bytes(measured, everyone)
        plan = plan_for(resident, preferred, free_bytes, everyone)
        self._call_off_for(resident, preferred)
        taken = busy_devices(everyone) | promised
        touched = set(preferred) if plan is None else set(plan.devices).union(*(one.bytes_on for one in plan.victims))
        if touched & taken:
            promised |= touched
            return inf
        if plan is None:
            self._mover.refuse(resident, too_large(resident, preferred, free_bytes, everyone))
            return inf
        decided = turn(plan, waiting_since_s=resident.wanted_since_s, now_s=now_s, patience=self._keeping.patience)
        if decided.now:
            self._start_load(resident, plan)
            return inf
        for victim in plan.victims:
            victim.key.closed = decided.closes
        promised |= touched
        return decided.again_at_s

    def _bring_ahead(self, resident: Resident, measured: Mapping[str, int], spare_bytes: int, now_s: float) -> float:
        """Load a model that nobody has asked for, if nothing need be unloaded for it; when to look again."""
        if not spare_bytes:
            resident.ahead = False
            return now_s + (_BUSY_MACHINE_S if resident.need is None else 0.0)
        if resident.need is None:
            if resident.ahead:  # its files cannot be used
                resident.ahead = False
                self._ahead.tried(resident)
            else:
                resident.ahead = True
                self._start_estimate(resident)
            return inf
        assert resident.expectation is not None, "it was estimated"
        self._ahead.tried(resident)
        everyone = tuple(self._residents.values())
        plan = plan_for(
            resident, self._meter.devices(backend_of(resident).name), unclaimed_bytes(measured, everyone), everyone
        )
        needs_spare = plan is not None and _PROCESSOR in plan.devices
        too_much = needs_spare and resident.expectation.with_margin_bytes > spare_bytes
        if plan is None or plan.victims or not plan.devices or too_much:
            resident.ahead = False
            self._wake()
        else:
            self._start_load(resident, plan)
        return inf

    def _call_off_for(self, wanted: Resident, preferred: Sequence[str]) -> None:
        """A model that somebody waits for need not wait for one that nobody has asked for."""
        for other in self._residents.values():
            if (
                other.ahead
                and other is not wanted
                and other.wanted_since_s == inf
                and set(other.busy_on) & set(preferred)
            ):
                self._mover.call_off(other)

    async def _measured(self) -> Mapping[str, int]:
        """What is free; measured anew where a load or unload ended meanwhile, which may or may not be counted in."""
        while True:
            before = self._settled
            measured = await self._meter.free_bytes()
            if before == self._settled:
                return measured

    def _start_estimate(self, resident: Resident) -> None:
        resident.busy = True
        if self._registry.record(resident.key).state is not ModelState.WAITING:
            self._registry.move(resident.key, ModelState.WAITING)
        self._spawn(self._mover.estimate(resident))

    def _start_load(self, resident: Resident, plan: Plan[Resident]) -> None:
        assert resident.expectation is not None, "it was estimated"
        resident.busy, resident.busy_on = True, plan.devices
        resident.arriving_bytes = resident.expectation.with_margin_bytes if plan.devices else 0
        for victim in plan.victims:
            assert victim.key.loaded is not None, "victims are in memory"
            victim.key.busy, victim.key.busy_on = True, victim.key.loaded.devices
        self._spawn(self._bring(resident, plan))

    async def _bring(self, resident: Resident, plan: Plan[Resident]) -> None:
        """Unload what gives way, see that this made room, and load."""
        try:
            for victim in plan.victims:
                await self._mover.unload(victim.key, f"it gave way to {resident.row.title}")
            if plan.victims and not await self._has_room(resident):
                return  # the memory did not come back: the loop plans again by what is free now, or refuses
            await self._mover.load(resident, plan.devices)
            self._correct_devices(resident)
        finally:
            for victim in plan.victims:
                if victim.key.loaded is not None:  # this was cancelled before it came to it
                    victim.key.settle()
            if resident.busy:
                resident.settle()
            resident.ahead = False
            self.settled()

    def _correct_devices(self, resident: Resident) -> None:
        """A backend has the last word on where it loads: believe it, where it names devices that are known."""
        loaded = resident.loaded
        if loaded is not None and loaded.devices:
            told = tuple(loaded.runner.facts.device.split("+"))
            if set(told) <= {*self._meter.devices(backend_of(resident).name), _PROCESSOR}:
                loaded.devices = told

    async def _has_room(self, resident: Resident) -> bool:
        assert resident.expectation is not None, "it was estimated"
        measured = await self._measured()
        others = (one for one in self._residents.values() if one is not resident)
        preferred = self._meter.devices(backend_of(resident).name)
        needed_bytes = resident.expectation.with_margin_bytes
        return bool(fitting_devices(needed_bytes, unclaimed_bytes(measured, others), preferred))
