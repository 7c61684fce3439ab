from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.domain.errors import Conflict, Overloaded
from conductor.domain.task import Level, TaskId, UserId
from conductor.scheduling.queue import COST_CEILING, COST_FLOOR, WEIGHTS, Ahead, FairQueue, QueueRules, Waiting

levels = st.sampled_from(list(Level))
users = st.sampled_from([UserId("ann"), UserId("bob"), UserId("eve")])
costs = st.floats(min_value=0.1, max_value=20.0)


def a_task(
    name: str, level: Level = Level.MEDIUM, user: str = "ann", cost: float = 1.0, enqueued_at_s: float = 0.0
) -> Waiting:
    return Waiting(TaskId(name), level, UserId(user), cost, enqueued_at_s)


def a_queue(*items: Waiting, **rules: float) -> FairQueue:
    queue = FairQueue(QueueRules(depth=10_000, **rules))
    for item in items:
        queue.push(item)
    return queue


def drained(queue: FairQueue, now_s: float = 0.0) -> list[Waiting]:
    order = []
    while (item := queue.pop(now_s)) is not None:
        order.append(item)
    return order


def names(items: list[Waiting]) -> list[str]:
    return [item.task_id for item in items]


@st.composite
def backlogs(draw: st.DrawFn, *, min_size: int = 1, max_size: int = 60) -> list[Waiting]:
    drawn = draw(st.lists(st.tuples(levels, users, costs), min_size=min_size, max_size=max_size))
    return [a_task(f"t{i}", level, user, cost, float(i)) for i, (level, user, cost) in enumerate(drawn)]


def test_one_users_tasks_of_one_level_keep_their_order() -> None:
    queue = a_queue(a_task("a", cost=9), a_task("b", cost=1), a_task("c", cost=5))

    assert names(drained(queue)) == ["a", "b", "c"]


def test_two_users_take_turns_however_many_tasks_one_of_them_has() -> None:
    queue = a_queue(*(a_task(f"a{i}", user="ann") for i in range(4)), *(a_task(f"b{i}", user="bob") for i in range(2)))

    assert names(drained(queue)) == ["a0", "b0", "a1", "b1", "a2", "a3"]


def test_a_user_who_was_idle_has_not_saved_up_turns() -> None:
    queue = a_queue(*(a_task(f"a{i}", user="ann") for i in range(20)))
    served = [queue.pop(0.0) for _ in range(10)]
    for i in range(5):
        queue.push(a_task(f"b{i}", user="bob"))

    following = [queue.pop(0.0) for _ in range(6)]

    assert len(served) == 10
    assert Counter(item.user_id for item in following if item) == {"ann": 3, "bob": 3}


def test_a_level_that_was_idle_has_not_saved_up_turns() -> None:
    queue = a_queue(*(a_task(f"c{i}", Level.CRITICAL) for i in range(200)))
    queue.pop_many(80, 0.0)
    for i in range(20):
        queue.push(a_task(f"l{i}", Level.LOW))

    following = queue.pop_many(27, 0.0)

    assert Counter(item.level for item in following) == {Level.CRITICAL: 24, Level.LOW: 3}


def test_a_pop_that_took_nothing_does_not_use_up_the_turn_of_the_overdue() -> None:
    queue = a_queue(
        *(a_task(f"c{i}", Level.CRITICAL, enqueued_at_s=50.0) for i in range(10)),
        a_task("dear", Level.LOW, cost=100.0, enqueued_at_s=50.0),
        a_task("old", Level.LOW),
        aging_turn=4,
    )
    in_turn = queue.pop_many(3, 50.0)
    refused_all = queue.pop(50.0, lambda _: False)

    assert names(in_turn) == ["c0", "dear", "c1"]
    assert refused_all is None
    assert queue.pop(50.0) == a_task("old", Level.LOW)


def test_levels_share_by_weight_while_all_have_tasks() -> None:
    queue = a_queue(*(a_task(f"{level.name}{i}", level) for level in Level for i in range(200)))

    served = Counter(item.level for item in queue.pop_many(150, 0.0))

    assert served == {Level.CRITICAL: 80, Level.HIGH: 40, Level.MEDIUM: 20, Level.LOW: 10}


@given(backlogs(min_size=20, max_size=120), st.data())
def test_the_share_of_two_levels_stays_within_the_stated_bound(backlog: list[Waiting], data: st.DataObject) -> None:
    queue = a_queue(*backlog, aging_s=1e9)
    order = drained(queue)
    one, other = data.draw(st.permutations(list(Level)))[:2]
    last = min(max((i for i, item in enumerate(order) if item.level is lv), default=-1) for lv in (one, other))
    begin = data.draw(st.integers(0, max(0, last)))
    stretch = order[begin : last + 1] if last >= 0 else []

    def share(level: Level) -> float:
        return sum(item.cost for item in stretch if item.level is level) / WEIGHTS[level]

    def largest(level: Level) -> float:
        return max((item.cost for item in backlog if item.level is level), default=0.0) / WEIGHTS[level]

    assert abs(share(one) - share(other)) <= largest(one) + largest(other) + 1e-9


@given(st.lists(st.tuples(users, costs), min_size=2, max_size=80))
def test_the_share_of_two_users_of_a_level_stays_within_the_stated_bound(drawn: list[tuple[UserId, float]]) -> None:
    backlog = [a_task(f"t{i}", user=user, cost=cost) for i, (user, cost) in enumerate(drawn)]
    order = drained(a_queue(*backlog, aging_s=1e9))
    largest = Counter[UserId]()
    for item in backlog:
        largest[item.user_id] = max(largest[item.user_id], item.cost)

    served = Counter[UserId]()
    left = Counter(item.user_id for item in backlog)
    for item in order:
        waiting = [user for user in left if left[user] > 0]
        for one, other in pairwise(waiting):
            assert abs(served[one] - served[other]) <= largest[one] + largest[other] + 1e-9
        served[item.user_id] += item.cost
        left[item.user_id] -= 1


@given(backlogs(), st.integers(1, 10), st.data())
def test_an_overdue_task_is_taken_within_the_stated_number_of_pops(
    backlog: list[Waiting], aging_turn: int, data: st.DataObject
) -> None:
    queue = a_queue(*backlog, aging_s=30.0, aging_turn=aging_turn)
    queue.pop_many(data.draw(st.integers(0, len(backlog) - 1)), 0.0)
    waiting = sorted(queue.line(), key=lambda item: item.enqueued_at_s)
    older = data.draw(st.integers(0, len(waiting) - 1))
    overdue_at_s = waiting[older].enqueued_at_s + 30.0

    for pop in range(1, aging_turn * (older + 1) + 1):  # tasks of the highest level keep arriving
        queue.push(a_task(f"flood{pop}", Level.CRITICAL, f"user{pop}", 0.1, overdue_at_s))
        if queue.pop(overdue_at_s) == waiting[older]:
            return

    pytest.fail(f"{waiting[older]} was not taken within {aging_turn} · ({older} + 1) pops")


@given(backlogs())
def test_the_line_foretells_the_order_of_service(backlog: list[Waiting]) -> None:
    queue = a_queue(*backlog, aging_s=1e9)
    queue.pop_many(len(backlog) // 3, 0.0)

    foretold = queue.line()

    assert foretold == drained(queue)


@given(backlogs(), st.data())
def test_ahead_of_a_task_are_those_that_are_served_before_it(backlog: list[Waiting], data: st.DataObject) -> None:
    queue = a_queue(*backlog, aging_s=1e9)
    chosen = data.draw(st.sampled_from(backlog))

    ahead = queue.ahead(chosen.task_id)
    order = drained(queue)
    before = order[: order.index(chosen)]

    assert ahead == Ahead(
        tasks=len(before),
        cost=sum(item.cost for item in before),
        by_level={level: sum(item.level is level for item in before) for level in Level},
    )


operations = st.lists(
    st.one_of(
        st.tuples(st.just("push"), levels, users, costs),
        st.tuples(st.just("later"), levels, users, costs),
        st.tuples(st.just("pop"), st.integers(1, 4)),
        st.tuples(st.just("pick"), st.sampled_from(list(Level))),
        st.tuples(st.just("remove"), st.integers(0, 50)),
        st.tuples(st.just("wait"), st.floats(0.1, 50.0)),
    ),
    max_size=80,
)


@settings(max_examples=200)
@given(operations)
def test_every_task_leaves_exactly_once_whatever_happens(steps: list[tuple[object, ...]]) -> None:
    queue = a_queue(aging_s=20.0, aging_turn=3)
    now_s, pushed, left = 0.0, [], []
    for number, step in enumerate(steps):
        match step:
            case ("push" | "later" as kind, Level() as level, str() as user, float() as cost):
                item = a_task(f"t{number}", level, user, cost, now_s)
                pushed.append(item.task_id)
                if kind == "push":
                    queue.push(item)
                else:
                    queue.push_later(item, now_s + 15.0)
            case ("pop", int() as many):
                left += [item.task_id for item in queue.pop_many(many, now_s)]
            case ("pick", Level() as level):
                picked = queue.pop(now_s, lambda item, level=level: item.level is level)
                left += [picked.task_id] if picked else []
                assert picked is None or picked.level is level
            case ("remove", int() as which) if pushed:
                removed = queue.remove(TaskId(pushed[which % len(pushed)]))
                left += [removed.task_id] if removed else []
            case ("wait", float() as seconds):
                now_s += seconds
        assert len(queue) == len(pushed) - len(left)
    left += names(drained(queue, now_s + 100.0))

    assert sorted(left) == sorted(pushed)
    assert len(queue) == 0


def test_a_refused_task_keeps_its_place_and_later_ones_pass() -> None:
    queue = a_queue(a_task("large"), a_task("small"), a_task("next"))

    passing = queue.pop(0.0, lambda item: item.task_id != "large")

    assert passing == a_task("small")
    assert names(drained(queue)) == ["large", "next"]


def test_a_user_whose_tasks_were_refused_for_long_gets_his_turn_but_no_burst() -> None:
    queue = a_queue(
        *(a_task(f"a{i}", user="ann") for i in range(10)), *(a_task(f"b{i}", user="bob") for i in range(30))
    )
    for _ in range(20):
        queue.pop(0.0, lambda item: item.user_id == "bob")

    order = [item.user_id for item in queue.pop_many(8, 0.0)]

    assert order[0] == "ann"
    assert Counter(order) == {"ann": 5, "bob": 3}


def test_no_task_is_asked_about_twice_in_one_call() -> None:
    queue = a_queue(
        *(a_task(f"t{i}", Level(i % 4), f"user{i % 3}", enqueued_at_s=-100.0) for i in range(40)), aging_turn=2
    )
    asked: Counter[str] = Counter()

    def accept(item: Waiting) -> bool:
        asked[item.task_id] += 1
        return item.task_id.endswith("7")

    taken = queue.pop_many(100, 0.0, accept)

    assert sorted(names(taken)) == ["t17", "t27", "t37", "t7"]
    assert set(asked.values()) == {1}
    assert len(asked) == 40


def test_tasks_taken_before_an_error_of_accept_are_not_lost() -> None:
    queue = a_queue(a_task("good"), a_task("bad"))

    def accept(item: Waiting) -> bool:
        if item.task_id == "bad":
            raise ZeroDivisionError
        return True

    assert names(queue.pop_many(2, 0.0, accept)) == ["good"]
    with pytest.raises(ZeroDivisionError):
        queue.pop(0.0, accept)
    assert names(drained(queue)) == ["bad"]


def test_a_full_queue_refuses_with_a_time_to_retry_but_takes_back_accepted_tasks() -> None:
    queue = FairQueue(QueueRules(depth=2))
    queue.push(a_task("a"))
    queue.push_later(a_task("b"), 60.0)

    with pytest.raises(Overloaded, match="2 tasks are waiting and the queue holds 2") as refusal:
        queue.push(a_task("c"))
    queue.push(a_task("d"), accepted_before=True)

    assert refusal.value.retry_after_s > 0
    assert len(queue) == 3


def test_the_time_to_retry_follows_the_rate_of_service_and_spreads_the_callers() -> None:
    queue = a_queue(*(a_task(f"t{i}") for i in range(200)))
    for second in range(20):
        queue.pop_many(2, float(second))
    queue.rules = QueueRules(depth=100)

    def told() -> float:
        with pytest.raises(Overloaded) as refusal:
            queue.push(a_task("late", enqueued_at_s=19.0))
        return refusal.value.retry_after_s

    waits_s = [told() for _ in range(200)]

    assert waits_s[9] == pytest.approx(10 / 2, rel=0.15)
    assert waits_s[0] < waits_s[4] < waits_s[9] < waits_s[-1] <= 60.0


def test_a_delayed_task_enters_when_its_time_has_come_and_ages_from_then() -> None:
    queue = a_queue(aging_s=30.0)
    queue.push_later(a_task("retry", enqueued_at_s=0.0), 100.0)

    assert queue.pop(99.9) is None
    assert (queue.next_ready_at_s(), queue.ready_at_s(TaskId("retry"))) == (100.0, 100.0)
    assert queue.ready(100.0) == [a_task("retry", enqueued_at_s=100.0)]
    assert queue.overdue(129.0) is None
    assert queue.overdue(130.0) == a_task("retry", enqueued_at_s=100.0)
    assert queue.next_ready_at_s() is None


def test_a_task_cannot_wait_twice() -> None:
    queue = a_queue(a_task("a"))
    queue.push_later(a_task("b"), 5.0)

    for item in (a_task("a"), a_task("b")):
        with pytest.raises(Conflict, match=f"task {item.task_id} is in the queue already"):
            queue.push(item)
        with pytest.raises(Conflict):
            queue.push_later(item, 9.0)


@pytest.mark.parametrize(
    ("stated", "counted"), [(0.0, COST_FLOOR), (-5.0, COST_FLOOR), (float("nan"), COST_FLOOR), (1e12, COST_CEILING)]
)
def test_an_impossible_cost_is_counted_within_the_limits(stated: float, counted: float) -> None:
    queue = a_queue(a_task("odd", cost=stated))

    assert queue.pop(0.0) == a_task("odd", cost=counted)


def test_users_who_come_once_are_forgotten_while_their_level_stays_busy() -> None:
    queue = a_queue(a_task("stays", user="ann", cost=3600.0))
    for i in range(5000):
        queue.push(a_task(f"t{i}", user=f"user{i}", cost=0.01))
        queue.push(a_task(f"a{i}", user="ann", cost=0.01))
        queue.pop_many(2, 0.0)

    assert len(queue) == 1
    assert len(queue._lanes[Level.MEDIUM]._users) < 1000
    assert len(queue._by_age) < 200
