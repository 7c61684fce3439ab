"""The device that was chosen for a model is the one that it is loaded onto, where the backend can be told."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.serving.simulated import (
    LoopClock,
    SimulatedBackend,
    SimulatedMachine,
    SimulatedModel,
    SimulatedRunner,
    row,
    simulate,
)

from conductor.domain.errors import Exhausted
from conductor.domain.model import Category, ModelName, Precision
from conductor.serving.lifetimes.keep import Lifetimes
from conductor.serving.lifetimes.memory_budget import Corrections
from conductor.serving.lifetimes.residence import Loaded
from conductor.serving.ports import PlacingBackend, RunnerFacts
from conductor.serving.registry import Registry

GB = 10**9
CHAT, CODE = Category("chat"), Category("code")


class ObedientBackend(SimulatedBackend):
    """Loads where it is told."""

    def __init__(self, machine: SimulatedMachine, models: dict[str, SimulatedModel]) -> None:
        super().__init__(machine, models)
        self.told: list[tuple[str, ...]] = []
        self._device_told = ""

    async def load_on(self, devices: Sequence[str], model: ModelName, precision: Precision) -> SimulatedRunner:
        self.told.append(tuple(devices))
        self._device_told = devices[0]
        return await self.load(model, precision)

    def _device(self, count: int) -> str:
        return self._device_told


@asynccontextmanager
async def desk_over(backend: SimulatedBackend) -> AsyncGenerator[Lifetimes, None]:
    """A running desk with the backend's first two models, for `CHAT` and `CODE`."""
    clock = LoopClock()
    desk = Lifetimes(
        backends=[backend],
        meter=backend.machine,
        registry=Registry(clock=clock),
        corrections=Corrections(),
        clock=clock,
    )
    desk.use_table([row(category, name) for category, name in zip((CHAT, CODE), backend.models, strict=False)])
    running = asyncio.create_task(desk.run())
    try:
        yield desk
    finally:
        await desk.close()
        await asyncio.wait([running])


def told(machine: SimulatedMachine, models: dict[str, SimulatedModel], *wanted: Category) -> list[tuple[str, ...]]:
    """Where the models of these categories were to go, in this order."""
    backend = ObedientBackend(machine, models)
    assert isinstance(backend, PlacingBackend)
    assert not isinstance(SimulatedBackend(machine, models), PlacingBackend)

    async def story() -> None:
        async with desk_over(backend) as desk:
            for category in wanted:
                await desk.load(category)

    simulate(story())
    return backend.told


def test_two_models_that_do_not_fit_on_one_card_lie_on_two() -> None:
    machine = SimulatedMachine(cuda_0=8 * GB, cuda_1=8 * GB)
    models = {"one": SimulatedModel(5 * GB), "two": SimulatedModel(5 * GB)}

    assert told(machine, models, CHAT, CODE) == [("cuda:0",), ("cuda:1",)]


def test_a_model_larger_than_one_card_is_given_both() -> None:
    machine = SimulatedMachine(cuda_0=8 * GB, cuda_1=8 * GB)

    assert told(machine, {"large": SimulatedModel(12 * GB, takes_bytes=6 * GB)}, CHAT) == [("cuda:0", "cuda:1")]


class CardsFirst(SimulatedMachine):
    """Models are meant for the cards, though there is a processor too."""

    def devices(self, backend: str) -> Sequence[str]:
        return tuple(name for name in self.total if name != "cpu")


class StrayingBackend(ObedientBackend):
    """Has no use for the first card that it is told, and computes on the processor."""

    def _device(self, count: int) -> str:
        return "cpu" if len(self.told) == 1 else self._device_told


def test_a_model_that_could_not_use_its_card_does_not_give_way_to_one_that_needs_it() -> None:
    machine = CardsFirst(cuda_0=8 * GB, cpu=8 * GB)
    backend = StrayingBackend(machine, {"one": SimulatedModel(5 * GB), "two": SimulatedModel(5 * GB)})

    async def story() -> None:
        async with desk_over(backend) as desk:
            await desk.load(CHAT)
            machine.taken["cuda:0"] = 4 * GB  # by somebody else
            with pytest.raises(Exhausted):
                await desk.load(CODE)
            assert backend.log == ["load one"]

    simulate(story())
    assert machine.taken == {"cuda:0": 4 * GB, "cpu": 0}


class Spread(SimulatedRunner):
    """8 GB over two cards, of which it tells so much each."""

    def __init__(self, *memory_on: tuple[str, int]) -> None:
        super().__init__(ModelName("m"), "", 0, SimulatedModel(0), SimulatedBackend(SimulatedMachine(), {}))
        self._memory_on = memory_on

    @property
    def facts(self) -> RunnerFacts:
        return replace(super().facts, memory_bytes=8 * GB, memory_on=self._memory_on)


def test_what_lies_unevenly_on_two_cards_is_counted_as_it_lies() -> None:
    def counted(*memory_on: tuple[str, int]) -> dict[str, int]:
        cards = ("cuda:0", "cuda:1")
        return Loaded(runner=Spread(*memory_on), devices=cards, expected_bytes=10 * GB, last_used_s=0).bytes_on()

    assert counted(("cuda:0", 6 * GB), ("cuda:1", 2 * GB)) == {"cuda:0": 7_500_000_000, "cuda:1": 2_500_000_000}
    assert counted() == {"cuda:0": 5 * GB, "cuda:1": 5 * GB}
    assert counted(("cuda:7", GB)) == {"cuda:0": 5 * GB, "cuda:1": 5 * GB}


def test_what_is_larger_than_the_machine_is_refused_before_it_is_loaded_and_the_remedy_is_told() -> None:
    machine = SimulatedMachine(cuda_0=8 * GB, cuda_1=8 * GB)
    backend = ObedientBackend(machine, {"huge": SimulatedModel(15 * GB)})

    async def story() -> None:
        async with desk_over(backend) as desk:
            await desk.load(CHAT)

    with pytest.raises(Exhausted, match="split it over several machines") as refused:
        simulate(story())
    assert refused.value.details["reason"] == "larger_than_memory"
    assert not backend.log
