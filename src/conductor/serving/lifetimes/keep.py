"""Keep models in memory for as long as they are worth it: load, lend, share, unload, and refuse what cannot fit.

One loop (`run`) decides, woken by whatever changes. Loads and unloads are tasks of its group: they belong to nobody who
waits, so that a caller who gives up ends nothing for the others. What is done next is `turns`, what gives way to what is
`swapping`, what fits is `memory_budget`, carrying it out is `moving`, what is made ready before anybody asks is `ahead`.

Rules: a model that is leased is never unloaded. At most one model is being loaded or unloaded on a device at a time.
A model that stays loaded gives way to none. One that died is loaded again by the next lease, after a rest that doubles
with each failure in a row.

Not covered: moving a loaded model to another device; more than one copy of a model; a caller who holds one model while
waiting for another that does not fit beside it (the wait ends after `give_up_s`).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final

from conductor.domain.clock import Clock
from conductor.domain.errors import ModelError, NotFound, Overloaded
from conductor.domain.generation import Usage
from conductor.domain.model import Category, ServedModel
from conductor.domain.units import format_duration
from conductor.serving.lifetimes.ahead import Ahead, Means
from conductor.serving.lifetimes.leased_runner import LeasedRunner
from conductor.serving.lifetimes.memory_budget import Corrections, Expectation
from conductor.serving.lifetimes.moving import Mover, backend_of
from conductor.serving.lifetimes.residence import Keeping, Loaded, Resident, Waiter
from conductor.serving.lifetimes.turns import Turns
from conductor.serving.ports import Backend, MemoryMeter, Runner
from conductor.serving.registry import ModelKey, Registry

#: Times that are almost now are not worth a timer.
_SHORTEST_WAIT_S: Final = 0.001
_BACK_AGAIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Demand:
    """How much a model is asked for now."""

    key: ModelKey
    leases: int
    waiting: int


class Lifetimes:
    """The `ModelDesk` over some backends. `run` must be running as a task of the owner.

    Args:
        backends: asked in this order who can load a name.
        registry: kept up to date from here; nobody else may write into it.
        corrections: taught by each load.
        means: what may be made ready before it is asked for; None makes nothing ready.
    """

    def __init__(
        self,
        *,
        backends: Sequence[Backend],
        meter: MemoryMeter,
        registry: Registry,
        corrections: Corrections,
        clock: Clock,
        keeping: Keeping | None = None,
        means: Means | None = None,
    ) -> None:
        self._backends = tuple(backends)
        self._registry = registry
        self._corrections = corrections
        self._clock = clock
        self._keeping = keeping or Keeping()
        self._wake = asyncio.Event()
        self._mover = Mover(
            registry=registry,
            corrections=corrections,
            clock=clock,
            keeping=self._keeping,
            settled=lambda: self._turns.settled(),
        )
        self._residents: dict[ModelKey, Resident] = {}
        #: What was made ready, and what became of it.
        self.ahead = Ahead(
            self._residents,
            means=means or Means(),
            registry=registry,
            clock=clock,
            spawn=self._spawn,
            wake=self._wake.set,
            doubt=self._doubt,
        )
        self._turns = Turns(
            self._residents,
            meter=meter,
            registry=registry,
            mover=self._mover,
            clock=clock,
            keeping=self._keeping,
            ahead=self.ahead,
            spawn=self._spawn,
            wake=self._wake.set,
        )
        self._by_category: dict[Category, Resident] = {}
        self._group: asyncio.TaskGroup | None = None
        self._closing = False
        self._running = False
        self._ended = asyncio.Event()

    # The table.

    def use_table(self, rows: Iterable[ServedModel], *, preload: bool = True) -> None:
        """Serve these rows from now on; what no row names any more is unloaded once nobody uses it.

        Args:
            preload: have what stays loaded be loaded without waiting for its first use.
        """
        by_key: dict[ModelKey, list[ServedModel]] = {}
        for row in rows:
            by_key.setdefault(ModelKey(row.name, row.precision), []).append(row)
        for key, resident in self._residents.items():
            if key not in by_key:
                resident.dropped = resident.leaving = True
                resident.disappoint(NotFound(f"{key.name} is no longer in the model table", field="category"))
        for key, same in by_key.items():
            self._keep_resident(key, same, preload=preload)
        self._by_category = {row.category: self._residents[key] for key, same in by_key.items() for row in same}
        self._wake.set()

    def _keep_resident(self, key: ModelKey, rows: Sequence[ServedModel], *, preload: bool) -> None:
        categories = tuple(row.category for row in rows)
        stays = any(row.stay_loaded for row in rows)
        resident = self._residents.get(key)
        if resident is None:
            backend = next((one for one in self._backends if one.can_load(key.name)), None)
            resident = Resident(key=key, row=rows[0], backend=backend, stays=stays)
            self._residents[key] = resident
        elif resident.dropped:
            resident.dropped = resident.leaving = False
        resident.row, resident.stays = rows[0], stays
        self._registry.enter(key, categories)
        if stays and preload and resident.loaded is None and resident.backend is not None:
            resident.preload_since_s = min(resident.preload_since_s, self._clock.monotonic_s())

    # What callers ask for.

    @asynccontextmanager
    async def lease(self, category: Category) -> AsyncGenerator[Runner, None]:
        """As `ModelDesk.lease`."""
        resident = self._resident(category)
        self.ahead.asked(resident.key)
        loaded = await self._have(resident, leases=True)
        try:
            self._registry.use(resident.key)
            yield LeasedRunner(
                loaded.runner,
                done=partial(self._generated, resident, category),
                failed=partial(self._failed, resident, loaded),
            )
        finally:
            self._give_back(loaded)

    async def load(self, category: Category) -> None:
        """As `ModelDesk.load`."""
        await self._have(self._resident(category), leases=False)

    async def unload(self, category: Category) -> None:
        """As `ModelDesk.unload`; returns when it is gone, and waits for as long as somebody uses it.

        Other categories with the same model lose it too, and load it again at their next use.
        """
        resident = self._resident(category)
        if self._closing or (resident.loaded is None and not resident.busy):
            return
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        resident.gone.append(told)
        resident.leaving = True
        self._wake.set()
        await told

    async def expect(self, category: Category) -> Expectation:
        """What loading the category's model would take, by its files and by experience; loads nothing.

        Raises:
            NotFound, ModelError: as `ModelDesk.lease`.
        """
        resident = self._resident(category)
        backend = backend_of(resident)
        need = await backend.need(resident.key.name, resident.key.precision)
        return self._corrections.expect(backend.name, resident.key.precision, need)

    async def check(self) -> None:
        """Ask every model in memory how it is; one that does not answer is dead and given up."""
        for resident in tuple(self._residents.values()):
            loaded = resident.loaded
            if loaded is not None and not (resident.busy or loaded.suspect or self._closing):
                await self._mover.probe(resident, loaded)

    def demand(self) -> tuple[Demand, ...]:
        """How much each model is asked for."""
        return tuple(
            Demand(one.key, one.loaded.leases if one.loaded else 0, len(one.waiters))
            for one in self._residents.values()
        )

    def _resident(self, category: Category) -> Resident:
        resident = self._by_category.get(category)
        if resident is None:
            served = ", ".join(sorted(self._by_category)) or "none"
            raise NotFound(
                f"no model serves {category!r}; add a row for it to SETTINGS.md (served now: {served})",
                field="category",
            )
        return resident

    # Waiting for a model.

    async def _have(self, resident: Resident, *, leases: bool) -> Loaded:
        """The model in memory, leased if that was asked for; waits for it."""
        now_s = self._clock.monotonic_s()
        self._check_taken(resident, now_s)
        if resident.is_open:
            assert resident.loaded is not None, "open ones are in memory"
            return resident.take(now_s) if leases else resident.loaded
        waiter = Waiter(asyncio.get_running_loop().create_future(), now_s, leases)
        resident.waiters.append(waiter)
        self._wake.set()
        try:
            async with asyncio.timeout(self._keeping.give_up_s):
                return await waiter.future
        except TimeoutError:
            self._withdraw(resident, waiter)
            holds_up = "it is still being loaded" if resident.busy_on else "other models are in use"
            raise Overloaded(
                f"{resident.row.title} could not be had within {format_duration(self._keeping.give_up_s)}: {holds_up}; "
                "try again later, or let it stay loaded",
                retry_after_s=self._keeping.patience.longest_wait_s,
                field="category",
            ) from None
        except asyncio.CancelledError:
            self._withdraw(resident, waiter)
            raise

    def _withdraw(self, resident: Resident, waiter: Waiter) -> None:
        """Somebody has left: forget the wish; a lease that was granted at the same moment is given back."""
        if waiter in resident.waiters:
            resident.waiters.remove(waiter)
            self._wake.set()
        elif (loaded := waiter.granted()) is not None:
            self._give_back(loaded)

    def _check_taken(self, resident: Resident, now_s: float) -> None:
        """See that one more request for the model would be taken."""
        backend_of(resident)
        if self._closing:
            raise _stopping()
        if len(resident.waiters) >= self._keeping.most_waiting:
            raise Overloaded(
                f"{len(resident.waiters)} requests wait for {resident.row.title}; try again later",
                retry_after_s=self._keeping.patience.longest_wait_s,
                field="category",
            )
        rest_s = resident.rests_until_s - now_s
        if resident.loaded is None and rest_s > self._keeping.patience.longest_wait_s:
            why = self._registry.record(resident.key).last_error
            said = (
                f"{resident.row.title} failed {resident.failures} times in a row ({why}); "
                f"it is tried again in {format_duration(rest_s)}"
            )
            if resident.fails_for_good:
                raise ModelError(said, field="category", details={"reason": "fails_for_good"})
            raise Overloaded(said, retry_after_s=rest_s, field="category")

    def _give_back(self, loaded: Loaded) -> None:
        loaded.leases -= 1
        loaded.last_used_s = self._clock.monotonic_s()
        self.ahead.given_back()
        if not loaded.leases:
            self._wake.set()

    def _generated(self, resident: Resident, category: Category, usage: Usage | None) -> None:
        resident.failures = 0
        if resident.key in self._residents:
            self.ahead.generated(resident.key, category, usage)
            self._registry.generated(resident.key, usage)

    def _failed(self, resident: Resident, loaded: Loaded, failure: ModelError) -> None:
        """A generation failed: find out whether the model still lives before anybody else gets it."""
        if resident.key in self._residents:
            self._registry.failed(resident.key, failure.message)
        self._doubt(resident, loaded)

    def _doubt(self, resident: Resident, loaded: Loaded) -> None:
        if resident.loaded is loaded and not (resident.busy or loaded.suspect or self._closing):
            loaded.suspect = True
            self._spawn(self._mover.probe(resident, loaded))

    # The loop.

    async def run(self) -> None:
        """Load and unload until `close`; then let generations end and give everything back."""
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while not self._closing:
                    self._wake.clear()
                    again_s = await self._turns.look()
                    await self._woken_by(min(again_s, self.ahead.look(self._clock.monotonic_s())))
                await self._drain()
        finally:
            self._closing, self._group = True, None
            for resident in self._residents.values():
                resident.disappoint(_stopping())
                await self._mover.close(resident)
            await self._mover.close_departing()
            for resident in self._residents.values():
                resident.now_gone()
            self._ended.set()

    async def close(self) -> None:
        """Take nobody new, let those who generate finish within `drain_s`, and give everything back."""
        self._closing = True
        self._wake.set()
        if self._running:
            await self._ended.wait()

    async def _woken_by(self, again_s: float) -> None:
        wait_s = None if again_s == inf else max(again_s - self._clock.monotonic_s(), _SHORTEST_WAIT_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait_s)

    async def _drain(self) -> None:
        self._mover.interrupt()
        self.ahead.close()
        for resident in self._residents.values():
            resident.disappoint(_stopping())
        until_s = self._clock.monotonic_s() + self._keeping.drain_s
        while any(one.loaded and one.loaded.leases for one in self._residents.values()):
            if self._clock.monotonic_s() >= until_s:
                return
            self._wake.clear()
            await self._woken_by(until_s)

    def _spawn(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        assert self._group is not None, "`run` is running"
        return self._group.create_task(work)


def _stopping() -> Overloaded:
    return Overloaded("the server is stopping; try again when it is back", retry_after_s=_BACK_AGAIN_S)
