"""Which model is asked for after which: counts that fade, and what follows from them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.serving.lifetimes.transitions import Transitions

KEYS = "abcd"
#: Who was asked for, and how many seconds after the one before.
HISTORY = st.lists(st.tuples(st.sampled_from(KEYS), st.floats(0, 5_000)), max_size=60)


def after(history: list[tuple[str, float]]) -> tuple[Transitions[str], float]:
    habits, now_s = Transitions[str](half_life_s=1_000), 0.0
    for key, later_s in history:
        now_s += later_s
        habits.seen(key, now_s)
    return habits, now_s


def changes(history: list[tuple[str, float]], before: str, to: str) -> int:
    keys = [key for key, _ in history]
    return sum(pair == (before, to) for pair in pairwise(keys))


@given(HISTORY)
def test_no_count_is_worth_more_than_what_was_seen(history: list[tuple[str, float]]) -> None:
    habits, now_s = after(history)
    for before in KEYS:
        for to in KEYS:
            seen = 0 if before == to else changes(history, before, to)
            assert 0 <= habits.count(before, to, now_s) <= seen + 1e-9


@given(HISTORY, st.floats(0, 1e7))
def test_shares_are_shares_and_waiting_changes_none_of_them(history: list[tuple[str, float]], later_s: float) -> None:
    habits, now_s = after(history)
    for key in KEYS:
        shares = habits.shares(key, now_s)
        assert key not in shares
        assert all(0 <= share <= 1 for share in shares.values())
        assert not shares or sum(shares.values()) == pytest.approx(1)
        if later_s < 100_000:  # beyond, they are worth less than a number can say
            assert habits.shares(key, now_s + later_s) == pytest.approx(shares)


@given(HISTORY, st.floats(0, 1e6), st.floats(0, 1e6))
def test_counts_only_fade_and_halve_in_their_half_life(
    history: list[tuple[str, float]], one_s: float, more_s: float
) -> None:
    habits, now_s = after(history)
    for before in KEYS:
        for to in KEYS:
            sooner = habits.count(before, to, now_s + one_s)
            assert habits.count(before, to, now_s + one_s + more_s) <= sooner
            assert habits.count(before, to, now_s + one_s + 1_000) == pytest.approx(sooner / 2)


@given(HISTORY)
def test_what_is_likely_was_seen_and_is_among_the_largest_shares(history: list[tuple[str, float]]) -> None:
    habits, now_s = after(history)
    for key in KEYS:
        likely, shares = habits.likely_after(key, now_s), habits.shares(key, now_s)
        assert len(likely) <= 3
        assert all(changes(history, key, one) >= 2 for one in likely)
        assert list(likely) == sorted(likely, key=lambda one: -shares[one])


@given(HISTORY, st.sampled_from(KEYS))
def test_what_is_forgotten_leaves_no_trace(history: list[tuple[str, float]], gone: str) -> None:
    habits, now_s = after(history)
    habits.forget(gone)

    assert habits.shares(gone, now_s) == {}
    assert all(gone not in habits.shares(key, now_s) for key in KEYS)
    kept = next(key for key in KEYS if key != gone)
    before = habits.count(gone, kept, now_s)
    habits.seen(kept, now_s)
    assert habits.count(gone, kept, now_s) == before == 0


def test_asking_for_the_same_again_says_nothing_of_what_comes_next() -> None:
    habits = Transitions[str]()
    for key in "aaabaaab":
        habits.seen(key, 0.0)

    assert habits.likely_after("a", 0.0) == ("b",)
    assert habits.count("a", "b", 0.0) == 2


def test_once_is_no_habit_and_an_old_habit_is_none() -> None:
    habits = Transitions[str](half_life_s=100)
    for key in "ab":
        habits.seen(key, 0.0)
    assert habits.likely_after("a", 0.0) == ()
    for key in "ab":
        habits.seen(key, 0.0)
    assert habits.likely_after("a", 0.0) == ("b",)
    assert habits.likely_after("a", 500.0) == ()
