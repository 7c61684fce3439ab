"""Which upstream takes the next request."""

from conductor.serving.traffic.routing import Ending, Router, Turn, Upstream


def router(*names: str, **weights: float) -> Router:
    return Router([Upstream(name=name) for name in names] + [Upstream(name=n, weight=w) for n, w in weights.items()])


def take(router: Router, now_s: float = 0.0) -> Turn:
    turn = router.take(now_s)
    assert turn is not None
    return turn


def fail(router: Router, times: int, now_s: float = 0.0) -> None:
    for _ in range(times):
        router.give_back(take(router, now_s), Ending.FAILED, now_s)


def test_the_one_with_the_fewest_requests_under_way_is_next() -> None:
    two = router("a", "b")
    first, second = take(two), take(two)
    two.give_back(second, Ending.ANSWERED, 0.0)

    assert {first.upstream.name, second.upstream.name} == {"a", "b"}
    assert take(two).upstream.name == second.upstream.name


def test_equals_take_turns_even_when_nothing_is_under_way() -> None:
    two = router("a", "b")
    names = []
    for _ in range(4):
        turn = take(two)
        names.append(turn.upstream.name)
        two.give_back(turn, Ending.ANSWERED, 0.0)

    assert names == ["a", "b", "a", "b"]


def test_work_is_shared_by_weight() -> None:
    two = router(small=1.0, large=3.0)
    names = [take(two).upstream.name for _ in range(8)]

    assert (names.count("small"), names.count("large")) == (2, 6)


def test_three_failures_in_a_row_open_the_breaker_and_two_do_not() -> None:
    one = router("a")
    fail(one, 2)
    one.give_back(take(one), Ending.ANSWERED, 0.0)
    fail(one, 2)

    assert one.snapshot(0.0)[0]["breaker"] == "closed"
    fail(one, 1)
    assert one.take(0.5) is None
    assert one.rests_for_s(0.5) == 0.5


def test_one_request_alone_probes_and_its_success_closes_the_breaker() -> None:
    one = router("a")
    fail(one, 3)
    probe = take(one, 1.0)

    assert probe.is_probe
    assert one.take(1.0) is None
    one.give_back(probe, Ending.ANSWERED, 1.1)
    assert [take(one, 1.1).is_probe, take(one, 1.1).is_probe] == [False, False]


def test_each_failed_probe_doubles_the_rest_up_to_a_minute() -> None:
    one = router("a")
    fail(one, 3)
    now_s, rests = 0.0, []
    for _ in range(8):
        rests.append(one.rests_for_s(now_s))
        now_s += rests[-1]
        fail(one, 1, now_s)

    assert rests == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_probe_that_the_client_abandoned_lets_the_next_one_probe() -> None:
    one = router("a")
    fail(one, 3)
    one.give_back(take(one, 1.0), Ending.ABANDONED, 1.0)

    assert take(one, 1.0).is_probe


def test_a_busy_upstream_rests_as_long_as_it_asked_and_has_not_failed() -> None:
    one = router("a")
    for _ in range(5):
        one.give_back(take(one, 100.0), Ending.BUSY, 0.0, retry_after_s=7.0)

    assert one.take(6.9) is None
    assert not take(one, 7.0).is_probe
    assert one.snapshot(7.0)[0]["failures"] == 0


def test_what_was_under_way_when_the_breaker_opened_does_not_lengthen_the_rest() -> None:
    one = router("a")
    turns = [take(one) for _ in range(10)]
    for turn in turns:
        one.give_back(turn, Ending.FAILED, 0.0)

    assert one.rests_for_s(0.0) == 1.0


def test_an_upstream_that_was_tried_is_left_out() -> None:
    two = router("a", "b")

    assert [two.take(0.0, without={"a"}).upstream.name, two.take(0.0, without={"a", "b"})] == ["b", None]  # type: ignore[union-attr]
