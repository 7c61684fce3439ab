"""A world without waiting: an event loop whose time jumps, and a backend whose models are numbers of bytes in it."""

import asyncio
import selectors
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from conductor.domain.errors import ModelError
from conductor.domain.generation import Finish, Generation, Message, Piece, Usage
from conductor.domain.model import Category, ModelName, Precision, ServedModel
from conductor.serving.lifetimes.ahead import Means
from conductor.serving.lifetimes.keep import Keeping, Lifetimes
from conductor.serving.lifetimes.memory_budget import Corrections
from conductor.serving.ports import MemoryNeed, RunnerFacts, Warmed
from conductor.serving.registry import Registry

T = TypeVar("T")
STARTED_UNIX_S = 1_800_000_000.0


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: time jumps to the next timer instead."""

    loop: "SimulatedLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everybody waits and nothing will ever happen")
        if not ready:
            self.loop.now_s += max(timeout or 0.0, 0.0)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now_s = 0.0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s


def simulate(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(work)


class LoopClock:
    def now_unix_s(self) -> float:
        return STARTED_UNIX_S + asyncio.get_running_loop().time()

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class SimulatedModel:
    """What a name stands for.

    `need_bytes` is what its files say, `takes_bytes` what it takes when loaded; equal unless said otherwise. A `stubborn`
    one is loaded even when the load is cancelled.
    """

    need_bytes: int
    takes_bytes: int | None = None
    load_s: float = 2.0
    close_s: float = 0.5
    stubborn: bool = False
    refusals: list[Exception] = field(default_factory=list)

    def refuse(self) -> None:
        """Fail to load, for as long as there are refusals."""
        if self.refusals:
            raise self.refusals.pop(0)


class SimulatedMachine:
    """Devices with so many bytes; the meter of this world. More than there is cannot be taken: that fails the test."""

    def __init__(self, *, measures_s: float = 0.0, **devices: int) -> None:
        self.measures_s = measures_s
        self.total = {name.replace("_", ":"): count for name, count in devices.items()}
        self.taken = dict.fromkeys(self.total, 0)
        self.busy: set[str] = set()

    def devices(self, backend: str) -> Sequence[str]:
        return tuple(self.total)

    async def free_bytes(self) -> Mapping[str, int]:
        free = {device: self.total[device] - self.taken[device] for device in self.total}
        await asyncio.sleep(self.measures_s)  # what is told is of the beginning
        return free

    def take(self, device: str, count: int) -> None:
        self.taken[device] += count
        assert self.taken[device] <= self.total[device], f"{device} ran out of memory"


class SimulatedRunner:
    """Reads ten tokens of a beginning a second, where it is warmed, and remembers them."""

    def __init__(self, name: ModelName, device: str, count: int, model: SimulatedModel, backend: "SimulatedBackend"):
        self.name, self.device, self.count, self.model, self.backend = name, device, count, model, backend
        self.alive, self.closed, self.generating = True, False, 0
        self.read: dict[str, int] = {}

    @property
    def facts(self) -> RunnerFacts:
        return RunnerFacts(
            backend=self.backend.name,
            device=self.device,
            precision=None,
            context_tokens=1_000,
            memory_bytes=self.count,
            constrains=False,
            embeds=False,
            fills_in=False,
        )

    async def generate(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        """Takes as many seconds as the prompt says, and writes a token a second; `die` kills the process."""
        self._check()
        self.generating += 1
        try:
            if asked.prompt == "die":
                self.alive = False
            if asked.prompt == "stumble":
                raise ModelError("out of breath; ask again")
            seconds = float(asked.prompt) if asked.prompt.replace(".", "").isdigit() else 0.0
            await asyncio.sleep(seconds)
            self._check()
            yield Piece(text="word")
            known = max((count for text, count in self.read.items() if asked.prompt.startswith(text)), default=0)
            usage = Usage(prompt_tokens=1, completion_tokens=max(round(seconds), 1), cached_tokens=known)
            yield Piece(finish=Finish.STOP, usage=usage)
        finally:
            self.generating -= 1

    async def warm(self, beginning: Sequence[Message]) -> Warmed:
        """A token a letter."""
        self._check()
        text = "".join(message.content for message in beginning)
        known = self.read.get(text, 0)
        while self.read.get(text, 0) < len(text):
            assert not any(one.generating for one in self.backend.runners), (
                "a beginning is read while somebody is served"
            )
            await asyncio.sleep(1.0)
            self._check()
            self.read[text] = min(self.read.get(text, 0) + 10, len(text))
        return Warmed(len(text), known, self.read.get(text, 0))

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        self._check()
        return [[1.0] for _ in texts], Usage(prompt_tokens=len(texts), completion_tokens=0)

    async def count_tokens(self, asked: Generation) -> int:
        self._check()
        return 1

    async def close(self) -> None:
        assert not self.closed, "closed twice"
        self.alive = False
        self.backend.began(self.device, f"unload {self.name}")
        try:
            await asyncio.sleep(self.model.close_s)
        finally:
            self.backend.ended(self.device)
        self.closed = True
        if self.device:
            self.backend.machine.taken[self.device] -= self.count

    def _check(self) -> None:
        if not self.alive or self.closed:
            raise ModelError(f"the process of {self.name} is gone")


class SimulatedBackend:
    """Loads its models one at a time on each device, or fails the test; takes the last that fits where `contrary`."""

    name = "simulated"
    contrary = False

    def __init__(self, machine: SimulatedMachine, models: Mapping[str, SimulatedModel]) -> None:
        self.machine = machine
        self.models = {ModelName(name): model for name, model in models.items()}
        self.log: list[str] = []
        self.runners: list[SimulatedRunner] = []

    def can_load(self, model: ModelName) -> bool:
        return model in self.models

    async def need(self, model: ModelName, precision: Precision) -> MemoryNeed:
        await asyncio.sleep(0)
        if self.models[model].need_bytes < 0:
            raise ModelError(f"{model} is damaged", details={"reason": "corrupt"})
        return MemoryNeed(weights_bytes=self.models[model].need_bytes, context_bytes=0, overhead_bytes=0)

    async def load(self, model: ModelName, precision: Precision) -> SimulatedRunner:
        loaded = self.models[model]
        count = loaded.takes_bytes if loaded.takes_bytes is not None else loaded.need_bytes
        device = self._device(count)
        self.began(device, f"load {model}")
        try:
            await asyncio.sleep(loaded.load_s)
            loaded.refuse()
        except asyncio.CancelledError:
            if not loaded.stubborn:
                raise
        finally:
            self.ended(device)
        if device:
            self.machine.take(device, count)
        runner = SimulatedRunner(model, device, count, loaded, self)
        self.runners.append(runner)
        return runner

    def loads(self, name: str = "") -> int:
        return sum(line.startswith(f"load {name}") for line in self.log)

    def began(self, device: str, what: str) -> None:
        self.log.append(what)
        if device:
            assert device not in self.machine.busy, f"{what} while another is loaded or unloaded on {device}"
            self.machine.busy.add(device)

    def ended(self, device: str) -> None:
        self.machine.busy.discard(device)

    def _device(self, count: int) -> str:
        if count == 0:
            return ""
        idle = [name for name in self.machine.total if name not in self.machine.busy]
        fits = [name for name in idle if self.machine.total[name] - self.machine.taken[name] >= count]
        return fits[-1 if self.contrary else 0] if fits else next(iter(self.machine.total))


def row(category: str, name: str, *, stays: bool = False, precision: Precision = Precision.FP16) -> ServedModel:
    return ServedModel(
        category=Category(category),
        title=name.title(),
        name=ModelName(name),
        memory_bytes=None,
        stay_loaded=stays,
        precision=precision,
    )


@dataclass
class Server:
    """A desk that runs, and what it stands on."""

    desk: Lifetimes
    registry: Registry
    backend: SimulatedBackend
    machine: SimulatedMachine
    running: "asyncio.Task[None]"

    async def use(self, category: str, prompt: str = "1") -> str:
        """Lease, generate, give back; what was written."""
        async with self.desk.lease(Category(category)) as runner:
            return "".join([piece.text async for piece in runner.generate(Generation(prompt=prompt))])

    def state(self, name: str) -> str:
        return next(record.state.value for record in self.registry.records() if record.key.name == name)


@asynccontextmanager
async def serving(
    machine: SimulatedMachine,
    models: Mapping[str, SimulatedModel],
    rows: Sequence[ServedModel],
    keeping: Keeping | None = None,
    means: Means | None = None,
) -> AsyncGenerator[Server, None]:
    """A running desk; when it ends, everything must have been given back."""
    clock = LoopClock()
    registry = Registry(clock=clock)
    backend = SimulatedBackend(machine, models)
    desk = Lifetimes(
        backends=[backend],
        meter=machine,
        registry=registry,
        corrections=Corrections(),
        clock=clock,
        keeping=keeping,
        means=means,
    )
    desk.use_table(rows)
    running = asyncio.create_task(desk.run())
    try:
        yield Server(desk, registry, backend, machine, running)
    finally:
        await desk.close()
        await asyncio.wait([running])
    assert running.cancelled() or running.exception() is None
    assert all(runner.closed for runner in backend.runners)
    assert set(machine.taken.values()) <= {0}
    assert {record.state.value for record in registry.records()} <= {"absent", "error"}
