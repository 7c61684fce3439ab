from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.errors import Conflict, Exhausted, InvalidInput
from conductor.domain.node import NodeId
from conductor.domain.task import TaskId
from conductor.domain.units import GIB
from conductor.scheduling.pools import Pool, PoolNeed, Pools, Reservation, Shortage

NODE = NodeId("desk")
CAPACITY = PoolNeed(millicores=4000, memory_bytes=8 * GIB, storage_bytes=100 * GIB, network_slots=2)


def some_pools() -> Pools:
    return Pools(NODE, CAPACITY)


def gib(amount: int, millicores: int = 1000) -> PoolNeed:
    return PoolNeed(millicores=millicores, memory_bytes=amount * GIB)


def test_a_reservation_takes_from_all_pools_and_a_release_gives_all_back() -> None:
    pools = some_pools()
    need = PoolNeed(millicores=1500, memory_bytes=3 * GIB, storage_bytes=10 * GIB, network_slots=1)

    held = pools.reserve(TaskId("a"), need)
    left = pools.free()

    assert isinstance(held, Reservation)
    assert left == PoolNeed(millicores=2500, memory_bytes=5 * GIB, storage_bytes=90 * GIB, network_slots=1)
    assert pools.release(held) is True
    assert pools.free() == CAPACITY


def test_a_second_release_changes_nothing_even_after_the_task_reserved_again() -> None:
    pools = some_pools()
    first = pools.reserve(TaskId("a"), gib(2))
    assert isinstance(first, Reservation)
    pools.release(first)
    second = pools.reserve(TaskId("a"), gib(2))

    assert pools.release(first) is False
    assert isinstance(second, Reservation)
    assert pools.free().memory_bytes == 6 * GIB


def test_what_does_not_fit_now_is_a_shortage_that_takes_nothing() -> None:
    pools = some_pools()
    pools.reserve(TaskId("a"), gib(6))

    shortage = pools.reserve(TaskId("b"), gib(4))

    assert shortage == Shortage(node_id=NODE, pool=Pool.MEMORY, needed=4 * GIB, free=2 * GIB, total=8 * GIB)
    assert str(shortage) == "needs 4.0 GiB of memory; desk has 2.0 GiB of 8.0 GiB free"
    assert pools.free() == PoolNeed(millicores=3000, memory_bytes=2 * GIB, storage_bytes=100 * GIB, network_slots=2)


def test_what_never_fits_is_an_error_with_numbers_and_remedy() -> None:
    pools = some_pools()

    with pytest.raises(
        Exhausted, match=r"needs 24.0 GiB of memory and desk has 8.0 GiB .* lower limits.memory_bytes"
    ) as error:
        pools.reserve(TaskId("a"), gib(24))

    assert error.value.details == {"pool": "memory", "needed": 24 * GIB, "total": 8 * GIB, "node": "desk"}
    assert pools.could_hold(gib(24)) is False
    assert pools.could_hold(gib(8)) is True


def test_a_task_cannot_hold_two_parts_of_a_node() -> None:
    pools = some_pools()
    pools.reserve(TaskId("a"), gib(1))

    with pytest.raises(Conflict, match="task a already holds a part of desk"):
        pools.reserve(TaskId("a"), gib(1))


def test_small_tasks_do_not_pass_a_task_that_was_promised_what_becomes_free() -> None:
    pools = some_pools()
    running = [pools.reserve(TaskId(f"r{i}"), gib(2)) for i in range(3)]
    assert pools.promise(TaskId("large"), gib(7)) is True

    refused = pools.reserve(TaskId("small"), gib(1))
    for held in running:
        assert isinstance(held, Reservation)
        pools.release(held)

    assert isinstance(refused, Shortage)
    assert refused.promised_to == "large"
    assert isinstance(pools.reserve(TaskId("fits beside"), gib(1)), Reservation)
    assert isinstance(pools.reserve(TaskId("large"), gib(7)), Reservation)
    assert pools.promise(TaskId("other"), gib(8)) is True


def test_a_promise_stands_until_it_is_kept_or_withdrawn() -> None:
    pools = some_pools()
    pools.promise(TaskId("a"), gib(8))

    assert pools.promise(TaskId("b"), gib(1)) is False
    pools.withdraw(TaskId("b"))
    assert isinstance(pools.reserve(TaskId("c"), gib(1)), Shortage)
    pools.withdraw(TaskId("a"))
    assert isinstance(pools.reserve(TaskId("c"), gib(1)), Reservation)


def test_a_smaller_capacity_leaves_what_is_held_and_frees_nothing() -> None:
    pools = some_pools()
    held = pools.reserve(TaskId("a"), gib(6))
    pools.resize(gib(4, millicores=4000))

    assert pools.free().memory_bytes == 0
    assert pools.utilisation()[Pool.MEMORY] == 1.5
    assert isinstance(held, Reservation)
    assert pools.release(held) is True
    assert pools.free().memory_bytes == 4 * GIB


def test_a_negative_amount_is_refused() -> None:
    with pytest.raises(InvalidInput, match="negative"):
        PoolNeed(memory_bytes=-1)


small_needs = st.builds(
    PoolNeed,
    millicores=st.integers(0, 4500),
    memory_bytes=st.integers(0, 9 * GIB),
    storage_bytes=st.integers(0, 101 * GIB),
    network_slots=st.integers(0, 3),
)
steps = st.lists(
    st.tuples(st.sampled_from(["reserve", "release", "promise", "withdraw"]), st.integers(0, 5), small_needs)
)


@given(steps)
def test_pools_are_never_over_committed_and_never_leak(drawn: Sequence[tuple[str, int, PoolNeed]]) -> None:
    pools = some_pools()
    held: dict[TaskId, Reservation] = {}
    given_back: list[Reservation] = []
    for action, number, need in drawn:
        task_id = TaskId(f"t{number}")
        try:
            if action == "reserve" and task_id not in held:
                answer = pools.reserve(task_id, need)
                if isinstance(answer, Reservation):
                    held[task_id] = answer
            elif action == "release" and task_id in held:
                given_back.append(held.pop(task_id))
                assert pools.release(given_back[-1])
            elif action == "promise":
                pools.promise(task_id, need)
            elif action == "withdraw":
                pools.withdraw(task_id)
        except Exhausted:
            assert not pools.could_hold(need)
        assert not any(pools.release(old) for old in given_back)
        taken = [sum(amounts) for amounts in zip(*(r.need.amounts() for r in held.values()), strict=True)] or [0] * 4
        assert list(pools.free().amounts()) == [t - u for t, u in zip(CAPACITY.amounts(), taken, strict=True)]
        assert min(pools.free().amounts()) >= 0
    for reservation in held.values():
        pools.release(reservation)
    assert pools.free() == CAPACITY
