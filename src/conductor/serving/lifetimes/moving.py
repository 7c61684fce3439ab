"""Carry out what was decided about a model: look at its files, load it, unload it, find out whether it lives.

Each of these leaves the model settled, however it ends, and then wakes whoever decides. What a backend raises that is no
error of ours is told as a failure of that one model: the others must go on.
"""

import asyncio
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, Final, TypeVar

from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, ModelError
from conductor.domain.generation import Generation
from conductor.domain.model import ModelState
from conductor.domain.units import format_duration
from conductor.serving.lifetimes.memory_budget import Corrections
from conductor.serving.lifetimes.residence import Keeping, Loaded, Resident
from conductor.serving.ports import Backend, PlacingBackend, Runner
from conductor.serving.registry import ModelKey, Registry

_STOPPING: Final = "the server is stopping"
_CALLED_OFF: Final = "another model was asked for while it was loaded ahead"

T = TypeVar("T")


class Mover:
    """Moves models into memory and out of it.

    Args:
        settled: called whenever a model has come to rest in a new state.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        corrections: Corrections,
        clock: Clock,
        keeping: Keeping,
        settled: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._corrections = corrections
        self._clock = clock
        self._keeping = keeping
        self._settled = settled
        self._asked: set[asyncio.Task[Any]] = set()
        self._ahead: dict[ModelKey, asyncio.Task[Any]] = {}
        self._departing: set[Loaded] = set()
        self._interrupted = False

    async def estimate(self, resident: Resident) -> None:
        """Look at the model's files; it is busy and waiting."""
        backend, key = backend_of(resident), resident.key
        try:
            need = await self._interruptible(backend.need(key.name, key.precision))
        except asyncio.CancelledError:
            self._registry.move(key, ModelState.ABSENT, _STOPPING)
            _raise_if_cancelled()
        except ConductorError as failure:
            self.refuse(resident, failure)
        except Exception as broken:
            self.refuse(resident, _fault(resident, "estimated", broken))
        else:
            resident.expectation = self._corrections.expect(backend.name, key.precision, need)
            resident.need = need
            self._registry.expect(key, backend=backend.name, estimated_bytes=resident.expectation.bytes)
        finally:
            self._settle(resident)

    async def load(self, resident: Resident, devices: tuple[str, ...]) -> None:
        """Load it; it is busy and waiting, and there is room. All who wait get it, or hear why not."""
        backend, key, started_s = backend_of(resident), resident.key, self._clock.monotonic_s()
        self._registry.move(key, ModelState.LOADING)
        try:
            if isinstance(backend, PlacingBackend) and devices:
                loading = backend.load_on(devices, key.name, key.precision)
            else:
                loading = backend.load(key.name, key.precision)
            runner = await self._interruptible(loading, self._keeping.load_limit_s, key if resident.ahead else None)
        except asyncio.CancelledError:
            self._registry.move(
                key, ModelState.ABSENT, _CALLED_OFF if resident.ahead and not self._interrupted else _STOPPING
            )
            _raise_if_cancelled()
        except TimeoutError:
            limit = format_duration(self._keeping.load_limit_s)
            self._give_up(resident, ModelError(f"{key.name} was not loaded within {limit}", field="model"))
        except ConductorError as failure:
            self._give_up(resident, failure)
        except Exception as broken:
            self._give_up(resident, _fault(resident, "loaded", broken))
        else:
            self._welcome(resident, runner, devices, started_s)
        finally:
            self._settle(resident)

    async def unload(self, resident: Resident, reason: str) -> None:
        """Give a model's memory back; it is busy and nobody uses it."""
        loaded = resident.loaded
        assert loaded is not None, "only what is in memory is unloaded"
        assert not loaded.leases, "what is used is not unloaded"
        resident.loaded = None
        try:
            self._registry.move(resident.key, ModelState.UNLOADING, reason)
            failure = await self._close(loaded)
            self._registry.move(resident.key, ModelState.ERROR if failure else ModelState.ABSENT, failure or reason)
        finally:
            self._settle(resident)

    async def probe(self, resident: Resident, loaded: Loaded) -> None:
        """Ask a model a small question; if it does not answer it is dead, and what is left of it is cleared away."""
        why = await self._why_dead(loaded)
        if resident.loaded is not loaded or resident.busy:
            return  # somebody else has seen to it meanwhile
        loaded.suspect = False
        if not why:
            self._registry.answers(resident.key, True)
            self._settled()
            return
        resident.loaded, resident.busy, resident.busy_on = None, True, loaded.devices
        resident.rest(self._clock.monotonic_s())
        self._registry.move(resident.key, ModelState.ERROR, why)
        try:
            await self._close(loaded)
        finally:
            self._settle(resident)

    def refuse(self, resident: Resident, error: ConductorError) -> None:
        """It cannot be had as it is; all who wait hear why."""
        resident.need = None
        resident.fails_for_good = isinstance(error, ModelError) and error.lasts
        self._registry.move(resident.key, ModelState.ERROR, error.message)
        resident.disappoint(error)

    def call_off(self, resident: Resident) -> None:
        """End the load of a model that nobody waits for."""
        loading = self._ahead.get(resident.key)
        if loading is not None:
            loading.cancel()

    def interrupt(self) -> None:
        """End the loads under way and begin none; unloading goes on."""
        self._interrupted = True
        for asked in tuple(self._asked):
            asked.cancel()

    async def close(self, resident: Resident) -> None:
        """Give a model back at the end, whoever uses it."""
        loaded, resident.loaded = resident.loaded, None
        if loaded is not None:
            self._registry.move(resident.key, ModelState.UNLOADING, _STOPPING)
            await self._close(loaded)
        if self._registry.record(resident.key).state is ModelState.UNLOADING:
            self._registry.move(resident.key, ModelState.ABSENT, _STOPPING)

    async def close_departing(self) -> None:
        """Give back what was being unloaded when everything was cancelled."""
        for loaded in tuple(self._departing):
            await self._close(loaded)

    def _welcome(self, resident: Resident, runner: Runner, devices: tuple[str, ...], started_s: float) -> None:
        assert resident.need is not None, "it was estimated"
        assert resident.expectation is not None, "it was estimated"
        now_s, key, measured_bytes = self._clock.monotonic_s(), resident.key, runner.facts.memory_bytes
        self._corrections.observe(backend_of(resident).name, key.precision, resident.need, measured_bytes)
        expected_bytes = resident.expectation.bytes
        resident.need = None  # its files may be others when it is loaded again
        resident.loaded = Loaded(
            runner=runner,
            devices=devices,
            expected_bytes=expected_bytes,
            last_used_s=now_s,
            ahead=resident.ahead and resident.wanted_since_s == inf,
        )
        self._registry.measure(key, runner.facts, load_s=now_s - started_s)
        self._registry.move(key, ModelState.LOADED)
        resident.grant(now_s)

    async def _why_dead(self, loaded: Loaded) -> str:
        """Why it counts as dead; empty where it answers."""
        try:
            async with asyncio.timeout(self._keeping.probe_s):
                await loaded.runner.count_tokens(Generation(prompt="?"))
        except TimeoutError:
            return f"it did not answer within {format_duration(self._keeping.probe_s)}"
        except ConductorError as failure:
            return failure.message
        except Exception as broken:
            return f"{type(broken).__name__}: {broken}"
        return ""

    async def _close(self, loaded: Loaded) -> str:
        """What went wrong, empty where nothing did."""
        self._departing.add(loaded)
        try:
            async with asyncio.timeout(self._keeping.close_limit_s):
                await loaded.runner.close()
        except TimeoutError:
            failure = f"it did not give its memory back within {format_duration(self._keeping.close_limit_s)}"
        except Exception as broken:
            failure = f"giving its memory back failed: {broken or type(broken).__name__}"
        else:
            failure = ""
        self._departing.discard(loaded)  # not where this was cancelled
        return failure

    def _give_up(self, resident: Resident, error: ConductorError) -> None:
        resident.rest(self._clock.monotonic_s())
        self.refuse(resident, error)

    def _settle(self, resident: Resident) -> None:
        resident.settle()
        self._settled()

    async def _interruptible(
        self, work: Coroutine[None, None, T], limit_s: float | None = None, ahead: ModelKey | None = None
    ) -> T:
        """Work that `interrupt` and the limit end, and `call_off` where it is done ahead for a model.

        A result that comes all the same is not thrown away: it holds memory.

        Raises:
            TimeoutError: it took longer than `limit_s`.
            CancelledError: it was interrupted, or must not begin any more.
        """
        if self._interrupted:
            work.close()
            raise asyncio.CancelledError
        asked, left = asyncio.ensure_future(work), False
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        if ahead is not None:
            self._ahead[ahead] = asked
            asked.add_done_callback(lambda _: self._ahead.pop(ahead, None))
        try:
            await asyncio.wait({asked}, timeout=limit_s)
        except asyncio.CancelledError:
            left = True
        if not asked.done():
            asked.cancel()
            await asyncio.wait({asked})
            if asked.cancelled() and not left:
                raise TimeoutError
        return asked.result()


def backend_of(resident: Resident) -> Backend:
    """What runs it.

    Raises:
        ModelError: nothing here does.
    """
    if resident.backend is None:
        raise ModelError(
            f"nothing here can run {resident.key.name}; `conductor doctor` says which extra it needs",
            field="model",
            details={"reason": "no_backend"},
        )
    return resident.backend


def _raise_if_cancelled() -> None:
    """Go on where only the work was interrupted, and not the task that waits for it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _fault(resident: Resident, what: str, broken: Exception) -> ModelError:
    return ModelError(
        f"{resident.key.name} could not be {what}: {type(broken).__name__}: {broken}; this is a fault of the backend",
        field="model",
    )
