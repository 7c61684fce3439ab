"""What is made ready ahead with all parts real but the model: engine processes, files, the kernel's page cache."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.adapters.test_reading_ahead import kernel, share_in_memory, weights

from conductor.adapters.clock import SystemClock
from conductor.adapters.memory_meter import MachineMemory
from conductor.adapters.reading_ahead import PageCache
from conductor.adapters.runners.process import EngineCommand, ProcessRunner, start
from conductor.domain.generation import Generation, Message, Piece, Role
from conductor.domain.model import Category, ModelName, Precision, ServedModel
from conductor.domain.units import GIB, MIB
from conductor.serving.lifetimes.ahead import Means
from conductor.serving.lifetimes.keep import Lifetimes
from conductor.serving.lifetimes.memory_budget import Corrections
from conductor.serving.lifetimes.tallies import Kind, Tally
from conductor.serving.ports import MemoryNeed
from conductor.serving.registry import Registry

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing is read ahead elsewhere"),
]
ROOT = Path(__file__).parents[2]
SOON_S = 60.0


class ScriptedBackend:
    """Starts `scripted_engine` for every name."""

    name = "transformers"

    def __init__(self) -> None:
        self.runners: list[ProcessRunner] = []

    def can_load(self, model: ModelName) -> bool:
        return True

    async def need(self, model: ModelName, precision: Precision) -> MemoryNeed:
        return MemoryNeed(weights_bytes=MIB, context_bytes=0, overhead_bytes=0)

    async def load(self, model: ModelName, precision: Precision) -> ProcessRunner:
        command = EngineCommand(
            program=(sys.executable, str(Path(__file__).with_name("scripted_engine.py"))),
            environment={"PATH": os.defpath, "PYTHONPATH": str(ROOT / "src")},
        )
        runner = await start(command, [model], name=model, clock=SystemClock())
        self.runners.append(runner)
        return runner


@dataclass
class Desk:
    lifetimes: Lifetimes
    backend: ScriptedBackend
    registry: Registry

    async def use(self, category: str, *said: str) -> Piece:
        turns = tuple(Message(role=Role.SYSTEM, content=text) for text in said)
        last = Piece()
        async with self.lifetimes.lease(Category(category)) as runner:
            async for piece in runner.generate(Generation(messages=turns)):
                last = piece
        return last

    def tally(self, kind: Kind) -> Tally:
        return self.lifetimes.ahead.tallies[kind]

    def state(self, name: str) -> str:
        return next(record.state.value for record in self.registry.records() if record.key.name == name)


@asynccontextmanager
async def desk(means: Means, *names: str, begins: str = "", stays: bool = False) -> AsyncIterator[Desk]:
    """Models of these names, each serving the category of its name."""
    backend, clock = ScriptedBackend(), SystemClock()
    registry = Registry(clock=clock)
    lifetimes = Lifetimes(
        backends=[backend], meter=MachineMemory(on_cards=set(), cards=""), registry=registry, corrections=Corrections(),
        clock=clock, means=means,
    )  # fmt: skip
    begun: Sequence[Message] = [Message(role=Role.SYSTEM, content=begins)] if begins else []
    lifetimes.ahead.begin_with(lambda _category: begun)
    rows = [
        ServedModel(
            category=Category(name), title=name, name=ModelName(name), memory_bytes=None, stay_loaded=stays,
            precision=Precision.BF16,
        )
        for name in names
    ]  # fmt: skip
    lifetimes.use_table(rows)
    running = asyncio.create_task(lifetimes.run())
    try:
        yield Desk(lifetimes, backend, registry)
    finally:
        await lifetimes.close()
        await running
    assert not any(psutil.pid_exists(runner.process_id) for runner in backend.runners)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_process_reads_the_beginning_and_the_first_request_finds_it() -> None:
    async with desk(Means(beginnings=True), "chat", begins="You know all rivers. " * 5, stays=True) as here:
        await until(lambda: here.tally(Kind.BEGINNINGS).fetched == 1)
        last = await here.use("chat", "You know all rivers. " * 5, "Which river?")
        assert last.usage is not None
        assert last.usage.cached_tokens == 105
        assert here.tally(Kind.BEGINNINGS) == Tally(fetched=1, used=1)


async def test_a_request_in_the_middle_of_it_is_answered_at_once_and_the_rest_is_read_later() -> None:
    begins = "x" * 200_000  # more steps than can be taken before the request
    async with desk(Means(beginnings=True), "chat", begins=begins, stays=True) as here:
        await until(lambda: here.state("chat") == "loaded")
        for _ in range(3):
            async with asyncio.timeout(SOON_S):
                assert (await here.use("chat", "Which river?")).text == "Which river?"
        assert here.tally(Kind.BEGINNINGS) == Tally()


@pytest.mark.parametrize("misfortune", ["kill", "fail"])
async def test_an_engine_that_dies_or_fails_over_a_beginning_costs_no_request(misfortune: str) -> None:
    async with desk(Means(beginnings=True), "chat", begins=f"You {misfortune} everybody", stays=True) as here:
        await until(lambda: here.state("chat") == ("error" if misfortune == "kill" else "loaded"))
        async with asyncio.timeout(SOON_S):
            assert (await here.use("chat", "Which river?")).text == "Which river?"
        await asyncio.sleep(0.3)
        assert here.state("chat") == "loaded", "what failed is not tried again"
        assert here.tally(Kind.BEGINNINGS).fetched == 0


async def test_the_files_of_what_comes_next_are_in_memory_before_it_is_asked_for(tmp_path: Path) -> None:
    (path,) = weights(tmp_path, 40 * MIB)
    files = PageCache(lambda model: [path] if model == "code" else [], lambda: GIB)
    async with desk(Means(files=files), "chat", "code") as here:
        for category in ("chat", "code") * 2:
            await here.use(category, "?")
        await here.lifetimes.unload(Category("code"))
        assert share_in_memory(path) < 0.5
        await here.use("chat", "?")
        await until(lambda: here.tally(Kind.FILES).fetched == 1 and share_in_memory(path) == 1.0)
        await here.use("code", "?")
        assert here.tally(Kind.FILES).used == 1
        assert here.tally(Kind.FILES).bytes > 30 * MIB


async def test_what_comes_next_is_loaded_on_an_idle_machine_and_not_on_a_busy_one(tmp_path: Path) -> None:
    spare = kernel(tmp_path, available_bytes=8 * GIB, load=1_000.0)
    async with desk(Means(leisure=spare, quiet_s=0.05), "chat", "code") as here:
        for category in ("chat", "code") * 2:
            await here.use(category, "?")
        await here.lifetimes.unload(Category("code"))
        await here.use("chat", "?")
        await asyncio.sleep(0.3)
        assert here.state("code") == "absent"
        kernel(tmp_path, available_bytes=8 * GIB, load=0.0)
        await here.use("chat", "?")
        await until(lambda: here.state("code") == "loaded")
        assert here.tally(Kind.MODELS) == Tally(fetched=1)
        await here.use("code", "?")
        assert here.tally(Kind.MODELS) == Tally(fetched=1, used=1)
        assert len(here.backend.runners) == 3
