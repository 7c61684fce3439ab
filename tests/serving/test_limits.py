"""How much each caller may do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.serving.traffic.limits import Allowance, Limits, RateLimited


def admitted(limits: Limits, caller: str, now_s: float) -> bool:
    try:
        limits.admit(caller, now_s)
    except RateLimited:
        return False
    return True


def test_a_burst_passes_and_then_the_rate_counts() -> None:
    limits = Limits(Allowance(requests_per_s=2.0, burst=3))

    assert [admitted(limits, "a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert [admitted(limits, "a", 0.5), admitted(limits, "a", 0.5)] == [True, False]


def test_the_refusal_says_how_long_to_wait_and_then_it_is_so() -> None:
    limits = Limits(Allowance(requests_per_s=4.0))
    limits.admit("a", 0.0)

    with pytest.raises(RateLimited) as refused:
        limits.admit("a", 0.0)

    assert refused.value.retry_after_s == 0.25
    assert admitted(limits, "a", 0.25)


def test_callers_do_not_use_up_each_others_allowance() -> None:
    limits = Limits(Allowance(requests_per_s=1.0))

    assert [admitted(limits, caller, 0.0) for caller in "abab"] == [True, True, False, False]


def test_tokens_are_charged_afterwards_and_debt_is_waited_for() -> None:
    limits = Limits(Allowance(tokens_per_min=60.0))
    limits.admit("a", 0.0)
    limits.charge("a", 90, 0.0)

    assert not admitted(limits, "a", 30.0)
    assert admitted(limits, "a", 30.1)


def test_without_bounds_nothing_is_kept() -> None:
    limits = Limits(Allowance())
    for number in range(100):
        limits.admit(str(number), 0.0)
        limits.charge(str(number), 5, 0.0)

    assert len(limits) == 0


def test_callers_whose_buckets_are_full_again_are_forgotten() -> None:
    limits = Limits(Allowance(requests_per_s=1.0))
    for number in range(1000):
        limits.admit(str(number), float(number * 2))

    assert len(limits) == 1


def test_too_many_callers_do_not_take_more_memory() -> None:
    limits = Limits(Allowance(requests_per_s=1.0), most_callers=10)
    for number in range(1000):
        limits.admit(str(number), 0.0)

    assert len(limits) == 10


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_never_more_than_burst_and_rate_allow(gaps: list[float], rate: float, burst: int) -> None:
    limits, now_s, passed = Limits(Allowance(requests_per_s=rate, burst=burst)), 0.0, 0
    for gap in gaps:
        now_s += gap
        passed += admitted(limits, "a", now_s)

    assert passed <= burst + rate * now_s + 1e-6


@pytest.mark.parametrize("wrong", [{"requests_per_s": 0.0}, {"burst": 0.5}, {"tokens_per_min": -1.0}])
def test_an_allowance_that_allows_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Allowance(**wrong)
