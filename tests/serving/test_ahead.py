"""What is made ready before it is asked for: files, beginnings and models, in a world without waiting."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.simulated import (
    Server,
    SimulatedMachine,
    SimulatedModel,
    row,
    serving,
    simulate,
)

from conductor.domain.generation import Message, Role
from conductor.domain.model import Category, ModelName
from conductor.serving.lifetimes.ahead import Means
from conductor.serving.lifetimes.residence import Keeping
from conductor.serving.lifetimes.tallies import Kind, Tally

GB = 1_000_000_000
KEEPING = Keeping(idle_s=300.0)


@dataclass
class Disk:
    """Reads a stretch of 10 bytes a second; what was read stays read."""

    sizes: dict[str, int]
    read: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def fetch(self, model: ModelName) -> AsyncGenerator[int, None]:
        self.asked.append(model)
        while self.read.get(model, 0) < self.sizes.get(model, 0):
            await asyncio.sleep(1.0)
            self.read[model] = self.read.get(model, 0) + 10
            yield 10


@dataclass
class Rest:
    spare: int = 100 * GB

    async def spare_bytes(self) -> int:
        await asyncio.sleep(0)
        return self.spare


def system(text: str) -> tuple[Message, ...]:
    return (Message(role=Role.SYSTEM, content=text),)


def begins(text: str, *categories: str) -> "dict[Category, tuple[Message, ...]]":
    return {Category(category): system(f"{text} {category}") for category in categories}


def tally(server: Server, kind: Kind) -> Tally:
    return server.desk.ahead.tallies[kind]


async def habit(server: Server, *order: str, times: int = 2) -> None:
    """Have it seen so often which is asked for after which."""
    for _ in range(times):
        for category in order:
            await server.use(category)


# Beginnings.


def test_the_beginning_of_each_category_is_read_once_the_model_is_there() -> None:
    async def world() -> None:
        models = {"llama": SimulatedModel(GB)}
        rows = [row("chat", "llama", stays=True), row("code", "llama")]
        async with serving(SimulatedMachine(cpu=10 * GB), models, rows, KEEPING, Means(beginnings=True)) as server:
            server.desk.ahead.begin_with(lambda category: begins("You are", "chat", "code").get(category, ()))
            await asyncio.sleep(20)
            assert server.backend.runners[0].read == {"You are chat": 12, "You are code": 12}
            assert tally(server, Kind.BEGINNINGS) == Tally(fetched=2)
            await server.use("chat", "You are chat 1")
            await server.use("code", "Something else")
            assert tally(server, Kind.BEGINNINGS) == Tally(fetched=2, used=1, wasted=1)
            assert tally(server, Kind.BEGINNINGS).hit_rate == 0.5

    simulate(world())


def test_whoever_asks_goes_first_and_the_rest_is_read_afterwards() -> None:
    async def world() -> None:
        models = {"llama": SimulatedModel(GB), "other": SimulatedModel(GB)}
        rows = [row("chat", "llama", stays=True), row("code", "other", stays=True)]
        async with serving(SimulatedMachine(cpu=10 * GB), models, rows, KEEPING, Means(beginnings=True)) as server:
            server.desk.ahead.begin_with(lambda category: begins("x" * 100, "chat").get(category, ()))
            await asyncio.sleep(10)
            runner = next(one for one in server.backend.runners if one.name == "llama")
            before = next(iter(runner.read.values()))
            assert 0 < before < 100
            await server.use("code", "5")  # the runners fail the test where a beginning is read meanwhile
            assert next(iter(runner.read.values())) <= before + 10
            assert tally(server, Kind.BEGINNINGS) == Tally()
            await asyncio.sleep(20)
            assert tally(server, Kind.BEGINNINGS) == Tally(fetched=1)

    simulate(world())


def test_another_persona_is_read_anew_and_the_same_one_is_not() -> None:
    async def world() -> None:
        rows = [row("chat", "llama", stays=True)]
        async with serving(
            SimulatedMachine(cpu=10 * GB), {"llama": SimulatedModel(GB)}, rows, KEEPING, Means(beginnings=True)
        ) as server:
            for text in ("Ada", "Ada", "Bob"):
                server.desk.ahead.begin_with(lambda _category, said=text: system(said))
                await asyncio.sleep(10)
            assert server.backend.runners[0].read == {"Ada": 3, "Bob": 3}
            assert tally(server, Kind.BEGINNINGS) == Tally(fetched=2, wasted=1)
            await server.desk.unload(Category("chat"))
            assert tally(server, Kind.BEGINNINGS) == Tally(fetched=2, wasted=2)

    simulate(world())


def test_a_beginning_that_a_model_cannot_be_told_harms_nobody() -> None:
    async def world() -> None:
        rows = [row("chat", "llama", stays=True)]
        async with serving(
            SimulatedMachine(cpu=10 * GB), {"llama": SimulatedModel(GB)}, rows, KEEPING, Means(beginnings=True)
        ) as server:
            server.desk.ahead.begin_with(lambda _category: system("x" * 50))
            await asyncio.sleep(4)
            server.backend.runners[0].alive = False
            await asyncio.sleep(4)
            server.backend.runners[0].alive = True
            assert await server.use("chat") == "word"
            assert tally(server, Kind.BEGINNINGS) == Tally()

    simulate(world())


# Files.


def test_the_files_of_a_model_that_waits_for_its_turn_are_read() -> None:
    async def world() -> None:
        disk = Disk({"a": 100, "b": 30})
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB)}
        rows = [row("chat", "a"), row("code", "b")]
        async with serving(SimulatedMachine(cpu=1_500_000_000), models, rows, KEEPING, Means(files=disk)) as server:
            await server.use("chat")
            assert disk.asked == [], "what is loaded at once reads its files itself"
            async with asyncio.TaskGroup() as group:
                group.create_task(server.use("chat", "8"))
                await asyncio.sleep(0.1)
                group.create_task(server.use("code"))
            assert disk.asked == ["b"]
            assert disk.read == {"b": 30}
            assert tally(server, Kind.FILES) == Tally(fetched=1, used=1, bytes=30)

    simulate(world())


def test_the_files_of_what_comes_next_by_habit_are_read_and_count_as_wasted_when_it_does_not_come() -> None:
    async def world() -> None:
        disk = Disk({"a": 50, "b": 50})
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB)}
        rows = [row("chat", "a"), row("code", "b")]
        async with serving(SimulatedMachine(cpu=10 * GB), models, rows, KEEPING, Means(files=disk)) as server:
            await habit(server, "chat", "code")
            await asyncio.sleep(400)  # both are unloaded: nobody used them
            assert server.backend.loads() == 2
            await server.use("chat")
            await asyncio.sleep(60)
            assert disk.read == {"b": 50}
            assert tally(server, Kind.FILES) == Tally(fetched=1, bytes=50)
            await asyncio.sleep(2_000)
            await server.use("chat")
            assert tally(server, Kind.FILES).wasted == 1
            assert server.backend.loads("b") == 1, "only its files"

    simulate(world())


def test_reading_for_a_guess_gives_way_to_one_that_really_waits() -> None:
    async def world() -> None:
        disk = Disk({"b": 10_000, "c": 20})
        models = {name: SimulatedModel(GB) for name in "abc"}
        rows = [row("chat", "a"), row("code", "b"), row("law", "c")]
        async with serving(SimulatedMachine(cpu=1_500_000_000), models, rows, KEEPING, Means(files=disk)) as server:
            await habit(server, "chat", "code")
            async with asyncio.TaskGroup() as group:
                group.create_task(server.use("chat", "30"))
                await asyncio.sleep(12)
                assert disk.asked[-1] == "b"
                group.create_task(server.use("law"))
            assert disk.asked[-1] == "c"
            assert disk.read["b"] < 10_000
            assert disk.read["c"] == 20

    simulate(world())


def test_a_disk_that_fails_ends_nothing() -> None:
    class Broken(Disk):
        async def fetch(self, model: ModelName) -> AsyncGenerator[int, None]:
            self.asked.append(model)
            yield 10
            raise ZeroDivisionError

    async def world() -> None:
        disk = Broken({})
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB)}
        rows = [row("chat", "a"), row("code", "b")]
        async with serving(SimulatedMachine(cpu=10 * GB), models, rows, KEEPING, Means(files=disk)) as server:
            await habit(server, "chat", "code")
            await asyncio.sleep(400)
            await server.use("chat")
            await asyncio.sleep(5)
            assert disk.asked == ["b"]
            assert await server.use("code") == "word"
            assert tally(server, Kind.FILES) == Tally(fetched=1, used=1, bytes=10)

    simulate(world())


# Models.


def test_what_comes_next_by_habit_is_loaded_ahead_and_used() -> None:
    async def world() -> None:
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB)}
        rows = [row("chat", "a"), row("code", "b")]
        async with serving(SimulatedMachine(cpu=10 * GB), models, rows, KEEPING, Means(leisure=Rest())) as server:
            await habit(server, "chat", "code")
            await asyncio.sleep(400)
            assert server.state("b") == "absent"
            await server.use("chat")
            await asyncio.sleep(10)
            assert server.state("b") == "loaded"
            assert tally(server, Kind.MODELS) == Tally(fetched=1)
            await server.use("code")
            assert tally(server, Kind.MODELS) == Tally(fetched=1, used=1)
            assert server.backend.loads("b") == 2

    simulate(world())


def test_nothing_is_unloaded_for_what_nobody_has_asked_for() -> None:
    async def world() -> None:
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB)}
        rows = [row("chat", "a"), row("code", "b")]
        async with serving(SimulatedMachine(cpu=1_500_000_000), models, rows, KEEPING, Means(leisure=Rest())) as server:
            await habit(server, "chat", "code")
            await server.use("chat")
            loads = server.backend.loads()
            await asyncio.sleep(200)
            assert (server.state("a"), server.state("b")) == ("loaded", "absent")
            assert server.backend.loads() == loads

    simulate(world())


def test_a_busy_machine_or_one_without_spare_memory_loads_nothing_ahead() -> None:
    async def world(spare: int) -> int:
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB)}
        rows = [row("chat", "a"), row("code", "b")]
        async with serving(SimulatedMachine(cpu=10 * GB), models, rows, KEEPING, Means(leisure=Rest(spare))) as server:
            await habit(server, "chat", "code")
            await asyncio.sleep(400)
            await server.use("chat")
            await asyncio.sleep(250)
            assert server.state("b") == "absent"
            return server.backend.loads("b")

    assert simulate(world(0)) == 1
    assert simulate(world(GB // 2)) == 1


def test_what_was_loaded_ahead_is_the_first_to_go() -> None:
    async def world() -> None:
        models = {name: SimulatedModel(GB) for name in "abc"}
        rows = [row("chat", "a"), row("code", "b"), row("law", "c")]
        async with serving(SimulatedMachine(cpu=2_500_000_000), models, rows, KEEPING, Means(leisure=Rest())) as server:
            await habit(server, "chat", "code")
            await asyncio.sleep(400)
            await server.use("chat")
            await asyncio.sleep(10)
            assert server.state("b") == "loaded"
            await server.use("law")
            assert (server.state("a"), server.state("b"), server.state("c")) == ("loaded", "absent", "loaded")
            assert tally(server, Kind.MODELS) == Tally(fetched=1, wasted=1)

    simulate(world())


def test_a_load_ahead_is_called_off_when_somebody_waits_for_another_model() -> None:
    async def world() -> None:
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB, load_s=300.0), "c": SimulatedModel(GB)}
        rows = [row("chat", "a"), row("code", "b"), row("law", "c")]
        async with serving(
            SimulatedMachine(cpu=10 * GB), models, rows, Keeping(idle_s=3_000), Means(leisure=Rest())
        ) as server:
            await habit(server, "chat", "code")
            await server.desk.unload(Category("code"))
            await server.use("chat")
            await asyncio.sleep(10)
            assert server.state("b") == "loading"
            began_s = asyncio.get_running_loop().time()
            await server.use("law")
            assert asyncio.get_running_loop().time() - began_s < 20
            assert server.state("b") == "absent"

    simulate(world())


def test_who_asks_for_a_model_that_is_being_loaded_ahead_gets_that_load() -> None:
    async def world() -> None:
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB, load_s=100.0)}
        rows = [row("chat", "a"), row("code", "b")]
        async with serving(
            SimulatedMachine(cpu=10 * GB), models, rows, Keeping(idle_s=3_000), Means(leisure=Rest())
        ) as server:
            await habit(server, "chat", "code")
            await server.desk.unload(Category("code"))
            await server.use("chat")
            await asyncio.sleep(50)
            assert server.state("b") == "loading"
            await server.use("code")
            assert server.backend.loads("b") == 2

    simulate(world())


def test_a_model_whose_files_broke_is_tried_once_and_not_again() -> None:
    async def world() -> None:
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB)}
        rows = [row("chat", "a"), row("code", "b")]
        async with serving(SimulatedMachine(cpu=10 * GB), models, rows, KEEPING, Means(leisure=Rest())) as server:
            await habit(server, "chat", "code")
            await asyncio.sleep(400)
            models["b"].need_bytes = -1
            await server.use("chat")
            await asyncio.sleep(100)
            assert server.state("b") == "error"
            assert server.backend.loads("b") == 1

    simulate(world())


def test_a_row_that_is_gone_is_no_longer_expected() -> None:
    async def world() -> None:
        disk = Disk({"b": 50})
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB)}
        rows = [row("chat", "a"), row("code", "b")]
        means = Means(files=disk, leisure=Rest())
        async with serving(SimulatedMachine(cpu=10 * GB), models, rows, KEEPING, means) as server:
            await habit(server, "chat", "code")
            server.desk.use_table(rows[:1])
            await asyncio.sleep(400)
            asked = len(disk.asked)
            await server.use("chat")
            await asyncio.sleep(100)
            assert len(disk.asked) == asked
            assert server.backend.loads("b") == 1

    simulate(world())


def test_without_means_nothing_is_made_ready() -> None:
    async def world() -> None:
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB)}
        rows = [row("chat", "a", stays=True), row("code", "b")]
        async with serving(SimulatedMachine(cpu=10 * GB), models, rows, KEEPING) as server:
            server.desk.ahead.begin_with(lambda _category: system("You are"))
            await habit(server, "chat", "code")
            await asyncio.sleep(400)
            await server.use("chat")
            await asyncio.sleep(100)
            assert all(one == Tally() for one in server.desk.ahead.tallies.values())
            assert server.backend.loads() == 2
            assert not server.backend.runners[0].read

    simulate(world())


# All together.

#: After how many seconds who is asked for, and for how long; `unload` unloads it by hand.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 3.0, 40.0, 400.0]), st.sampled_from("abc"), st.sampled_from(["0", "2", "unload"])
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([1_500_000_000, 2_500_000_000, 10 * GB]))
def test_whatever_is_made_ready_everybody_is_served_and_the_counts_add_up(
    steps: list[tuple[float, str, str]], memory: int
) -> None:
    async def world() -> None:
        disk = Disk({"a": 30, "b": 200, "c": 10})
        models = {"a": SimulatedModel(GB), "b": SimulatedModel(GB, load_s=20.0), "c": SimulatedModel(GB, stubborn=True)}
        rows = [row(name, name) for name in models]
        means = Means(files=disk, beginnings=True, leisure=Rest())
        async with serving(SimulatedMachine(cpu=memory), models, rows, Keeping(idle_s=60.0), means) as server:
            server.desk.ahead.begin_with(lambda category: system(f"You are {category}"))

            async def step(category: str, what: str) -> None:
                if what == "unload":
                    await server.desk.unload(Category(category))
                else:
                    assert await server.use(category, what) == "word"

            async with asyncio.timeout(100_000), asyncio.TaskGroup() as group:
                for later_s, category, what in steps:
                    await asyncio.sleep(later_s)
                    group.create_task(step(category, what))
            tallies = server.desk.ahead.tallies.values()
        for one in tallies:
            assert 0 <= one.used + one.wasted <= one.fetched
            assert one.hit_rate is None or 0 <= one.hit_rate <= 1

    simulate(world())
