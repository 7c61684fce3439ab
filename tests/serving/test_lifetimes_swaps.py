"""Models that do not fit together and requests that alternate: few swaps, and a bound on every wait."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.simulated import SimulatedMachine, SimulatedModel, row, serving, simulate

from conductor.domain.model import Category
from conductor.serving.lifetimes.residence import Keeping
from conductor.serving.lifetimes.swapping import Holding, Patience, Plan, Turn, plan_room, turn

GB = 10**9
LOAD_S, CLOSE_S = 3.0, 0.5

Request = tuple[float, str, float]  # when it comes, which model it is for, how long it generates


async def play(
    requests: list[Request], patience: Patience, *, fitting: int = 1, give_up_s: float = 1e6
) -> tuple[list[float], list[str]]:
    """Every request's wait, and what was loaded; `fitting` models fit at a time. The world checks the memory."""
    names = sorted({name for _, name, _ in requests})
    models = {name: SimulatedModel(6 * GB, load_s=LOAD_S, close_s=CLOSE_S) for name in names}
    keeping = Keeping(patience=patience, give_up_s=give_up_s, idle_s=1e6, most_waiting=10_000)
    machine = SimulatedMachine(cpu=fitting * 7 * GB)
    waits: list[float] = [0.0] * len(requests)
    async with serving(machine, models, [row(name, name) for name in names], keeping) as it:
        clock = asyncio.get_running_loop().time

        async def one(number: int, request: Request) -> None:
            came_s, name, generates_s = request
            await asyncio.sleep(came_s - clock())
            async with it.desk.lease(Category(name)):
                waits[number] = clock() - came_s
                await asyncio.sleep(generates_s)

        await asyncio.gather(*(one(number, request) for number, request in enumerate(requests)))
        return waits, [line.removeprefix("load ") for line in it.backend.log if line.startswith("load ")]


def swaps_in_order_of_arrival(requests: list[Request]) -> int:
    """What a queue without collation loads: a model each time the next request is for another one."""
    names = [name for _, name, _ in sorted(requests)]
    return 1 + sum(before != after for before, after in pairwise(names))


def test_alternating_requests_swap_a_small_part_of_what_a_plain_queue_would() -> None:
    requests = [(0.5 * number, "AB"[number % 2], 1.0) for number in range(400)]  # 200 s of A, B, A, B …

    waits, loads = simulate(play(requests, Patience(longest_wait_s=10)))

    assert swaps_in_order_of_arrival(requests) == 400
    assert len(loads) <= 25
    assert max(waits) <= 10 + (1 + CLOSE_S + LOAD_S)


def test_what_waits_together_is_served_together() -> None:
    requests = [(0.0, "A", 1.0), *((1.0 + 0.01 * number, "BA"[number % 2], 1.0) for number in range(20))]

    _, loads = simulate(play(requests, Patience(longest_wait_s=5)))

    assert loads == ["A", "B"]


def test_models_that_fit_together_are_not_swapped() -> None:
    requests = [(0.5 * number, "AB"[number % 2], 1.0) for number in range(100)]

    waits, loads = simulate(play(requests, Patience(), fitting=2))

    assert sorted(loads) == ["A", "B"]
    assert max(waits) <= 2 * LOAD_S


def test_an_idle_model_gives_way_almost_at_once() -> None:
    waits, _ = simulate(play([(0.0, "A", 1.0), (60.0, "B", 1.0)], Patience(longest_wait_s=10)))

    assert waits[1] == pytest.approx(CLOSE_S + LOAD_S)


def test_a_model_that_was_used_a_moment_ago_lingers() -> None:
    soon = [(0.0, "A", 1.0), (4.1, "B", 1.0)]  # A is done at 4.0
    waits, _ = simulate(play(soon, Patience(longest_wait_s=10, linger_s=0.5)))

    assert waits[1] == pytest.approx(0.4 + CLOSE_S + LOAD_S)


def test_a_stream_of_requests_for_one_model_cannot_starve_another() -> None:
    flood = [(0.1 * number, "A", 2.0) for number in range(600)]

    waits, loads = simulate(play([*flood, (5.0, "B", 1.0)], Patience(longest_wait_s=10)))

    assert waits[-1] <= 10 + 2.0 + CLOSE_S + LOAD_S
    assert loads == ["A", "B", "A"]


def test_turns_are_taken_in_the_order_of_the_oldest_request() -> None:
    requests = [(0.0, "A", 20.0), (5.0, "C", 1.0), (6.0, "B", 1.0), (7.0, "C", 1.0)]

    _, loads = simulate(play(requests, Patience(longest_wait_s=10)))

    assert loads == ["A", "C", "B"]


def test_a_smaller_model_does_not_take_the_room_that_a_larger_one_waits_for() -> None:
    async def story() -> tuple[str, ...]:
        sizes = {"used": 3 * GB, "large": 8 * GB, "later": 6 * GB}
        models = {name: SimulatedModel(size) for name, size in sizes.items()}
        async with serving(SimulatedMachine(cpu=10 * GB), models, [row(name, name) for name in models]) as it:
            waiting = [asyncio.create_task(it.use("used", "8"))]
            for name in ("large", "later"):
                await asyncio.sleep(3)
                waiting.append(asyncio.create_task(it.use(name)))
            await asyncio.gather(*waiting)
            return tuple(it.backend.log)

    assert simulate(story()) == ("load used", "unload used", "load large", "unload large", "load later")


GENERATES_S = 4.0
TURN_S = GENERATES_S + CLOSE_S + LOAD_S


def requests_for(names: str) -> st.SearchStrategy[list[Request]]:
    one = st.tuples(
        st.floats(0, 60, allow_nan=False).map(lambda value: round(value, 2)),
        st.sampled_from(names),
        st.floats(0, GENERATES_S, allow_nan=False).map(lambda value: round(value, 2)),
    )
    return st.lists(one, min_size=1, max_size=40)


@settings(max_examples=150)
@given(
    requests=requests_for("AB"), longest_wait_s=st.sampled_from([0.0, 1.0, 5.0, 20.0]), linger_s=st.sampled_from([0, 1])
)
def test_no_request_waits_longer_than_the_bound(
    requests: list[Request], longest_wait_s: float, linger_s: float
) -> None:
    waits, loads = simulate(play(requests, Patience(longest_wait_s=longest_wait_s, linger_s=linger_s)))

    # Put off for the others' sake, or a turn of the other that was asked for before; then its own turn.
    assert max(waits) <= max(longest_wait_s, TURN_S) + TURN_S + 0.01
    assert len(loads) <= max(swaps_in_order_of_arrival(requests), 1)


@settings(max_examples=100)
@given(requests=requests_for("ABCD"), fitting=st.integers(1, 3), longest_wait_s=st.sampled_from([0.0, 2.0, 10.0]))
def test_the_bound_holds_for_more_models_with_a_turn_for_each(
    requests: list[Request], fitting: int, longest_wait_s: float
) -> None:
    waits, _ = simulate(play(requests, Patience(longest_wait_s=longest_wait_s), fitting=fitting))

    assert max(waits) <= max(longest_wait_s, 3 * TURN_S) + TURN_S + 0.01


@settings(max_examples=60)
@given(
    requests=requests_for("ABC"),
    cancelled=st.lists(st.tuples(st.integers(0, 39), st.floats(0, 70)), max_size=20),
    fitting=st.integers(1, 2),
)
def test_whoever_gives_up_the_others_are_served_and_no_lease_leaks(
    requests: list[Request], cancelled: list[tuple[int, float]], fitting: int
) -> None:
    async def story() -> None:
        models = {name: SimulatedModel(6 * GB, load_s=LOAD_S, close_s=CLOSE_S) for name in "ABC"}
        machine = SimulatedMachine(cpu=fitting * 7 * GB)
        async with serving(machine, models, [row(name, name) for name in "ABC"]) as it:
            loop = asyncio.get_running_loop()

            async def one(request: Request) -> None:
                came_s, name, generates_s = request
                await asyncio.sleep(came_s)
                await it.use(name, str(generates_s))

            tasks = [asyncio.create_task(one(request)) for request in requests]
            for number, at_s in cancelled:
                loop.call_at(at_s, tasks[number % len(tasks)].cancel)
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(how is None or isinstance(how, asyncio.CancelledError) for how in ended)
            assert all((one.leases, one.waiting) == (0, 0) for one in it.desk.demand())

    simulate(story())


# The rules by themselves.


def holding(key: str, count: int, *, leases: int = 0, last_used_s: float = 0.0, stays: bool = False) -> Holding[str]:
    return Holding(key=key, bytes_on={"cpu": count}, leases=leases, last_used_s=last_used_s, stays=stays)


def victims(needed: int, free: int, *held: Holding[str]) -> list[str] | None:
    plan = plan_room(needed, ["cpu"], {"cpu": free}, held)
    return None if plan is None else [victim.key for victim in plan.victims]


def test_nobody_gives_way_where_there_is_room() -> None:
    assert victims(5, 5, holding("a", 9)) == []


def test_idle_models_give_way_before_used_ones_and_older_use_before_newer() -> None:
    old, new = holding("old", 5, last_used_s=1), holding("new", 5, last_used_s=2)
    used = holding("used", 5, last_used_s=0, leases=1)

    assert victims(5, 0, used, new, old) == ["old"]
    assert victims(10, 0, used, new, old) == ["old", "new"]
    assert victims(15, 0, used, new, old) == ["old", "new", "used"]


def test_a_small_model_is_spared_when_a_larger_one_makes_the_room_alone() -> None:
    assert victims(9, 0, holding("small", 2, last_used_s=1), holding("large", 9, last_used_s=2)) == ["large"]


def test_what_stays_gives_way_to_nothing() -> None:
    assert victims(5, 0, holding("a", 9, stays=True)) is None
    assert victims(5, 4, holding("a", 9, stays=True), holding("b", 1)) == ["b"]


def test_only_models_on_the_devices_in_question_give_way() -> None:
    elsewhere = Holding(key="cpu", bytes_on={"cpu": 9}, leases=0, last_used_s=0, stays=False)
    here = Holding(key="gpu", bytes_on={"cuda:0": 9}, leases=0, last_used_s=1, stays=False)

    plan = plan_room(9, ["cuda:0"], {"cuda:0": 0, "cpu": 0}, [elsewhere, here])

    assert plan == Plan(("cuda:0",), (here,))


def test_the_turn_by_the_clock() -> None:
    patience = Patience(longest_wait_s=10, linger_s=1)

    def at(now_s: float, victim: Holding[str]) -> Turn:
        return turn(Plan(("cpu",), (victim,)), waiting_since_s=100, now_s=now_s, patience=patience)

    used, rested = holding("a", 1, leases=1, last_used_s=100), holding("a", 1, last_used_s=103)
    assert at(105, used) == Turn(now=False, again_at_s=110)
    assert at(110, used) == Turn(now=False, closes=True)
    assert at(103.5, rested) == Turn(now=False, again_at_s=104)
    assert at(104, rested) == Turn(now=True)
    assert at(110, holding("a", 1, last_used_s=109.9)) == Turn(now=True, closes=True)
