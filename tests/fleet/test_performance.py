import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending
from conductor.fleet.performance import NEUTRAL, WEIGHTS, PerformanceBook, PerformanceParts

NODE = NodeId("n")
FAILURES = [ending for ending in Ending if ending not in (Ending.SUCCEEDED, Ending.CANCELLED)]

attempts = st.tuples(
    st.sampled_from(Ending),
    st.floats(0, 1e6),
    st.none() | st.floats(0, 1e6),
)
gaps = st.tuples(st.floats(0, 1e4), st.floats(0.01, 100))
histories = st.lists(st.one_of(attempts, gaps), max_size=40)


def replay(history: list[tuple[object, ...]]) -> PerformanceBook:
    book = PerformanceBook()
    for entry in history:
        match entry:
            case (Ending() as ending, float(duration), predicted):
                book.observe(NODE, ending, duration_s=duration, predicted_duration_s=predicted)
            case (float(gap), float(expected)):
                book.heard(NODE, gap_s=gap, expected_gap_s=expected)
    return book


def after(ending: Ending, times: int, *, duration_s: float = 10.0) -> PerformanceParts:
    return replay([(ending, duration_s, 10.0)] * times).parts(NODE)


def test_the_weights_sum_to_one_and_a_new_node_is_neutral() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)
    assert PerformanceBook().score(NODE) == pytest.approx(NEUTRAL)


@given(histories)
def test_every_part_and_the_score_stay_within_zero_and_one(history: list[tuple[object, ...]]) -> None:
    parts = replay(history).parts(NODE)

    assert all(0.0 <= value <= 1.0 for value in [parts.score, *(getattr(parts, name) for name in WEIGHTS)])


@given(histories, st.integers(0, 40), st.sampled_from(FAILURES))
def test_a_failure_anywhere_in_the_past_never_raises_any_part(
    history: list[tuple[object, ...]], position: int, failure: Ending
) -> None:
    without = replay(history).parts(NODE)
    with_failure = replay([*history[:position], (failure, 1.0, 1.0), *history[position:]]).parts(NODE)

    assert all(getattr(with_failure, name) <= getattr(without, name) + 1e-12 for name in WEIGHTS)


@given(histories, st.floats(0.001, 1e6), st.floats(0.001, 1e6))
def test_a_slower_success_never_scores_higher(history: list[tuple[object, ...]], one: float, other: float) -> None:
    quick, slow = sorted([one, other])
    scores = [replay([*history, (Ending.SUCCEEDED, d, 10.0)]).score(NODE) for d in (quick, slow)]

    assert scores[1] <= scores[0] + 1e-12


@given(histories)
def test_the_same_history_gives_the_same_parts(history: list[tuple[object, ...]]) -> None:
    assert replay(history).parts(NODE) == replay(history).parts(NODE)


def test_few_observations_move_a_new_node_moderately_and_many_decide() -> None:
    assert 0.5 < after(Ending.NODE_LOST, 2).score < NEUTRAL < after(Ending.SUCCEEDED, 2).score < 0.7
    assert after(Ending.SUCCEEDED, 200, duration_s=5.0).score > 0.9
    assert after(Ending.NODE_LOST, 200).score < 0.25


def test_a_program_that_fails_by_itself_is_not_held_against_the_machine_as_an_error() -> None:
    assert after(Ending.EXIT_CODE, 5).errors == NEUTRAL
    assert after(Ending.EXIT_CODE, 5).completions < NEUTRAL
    assert after(Ending.NODE_LOST, 5).errors < after(Ending.OUT_OF_MEMORY, 5).errors < NEUTRAL


def test_a_cancelled_attempt_says_nothing() -> None:
    assert after(Ending.CANCELLED, 9) == PerformanceParts()


def test_a_success_without_a_prediction_leaves_latency_as_it_is() -> None:
    assert replay([(Ending.SUCCEEDED, 3.0, None)]).parts(NODE).latency == NEUTRAL


def test_late_readings_lower_connectivity_and_punctual_ones_raise_it() -> None:
    assert replay([(30.0, 1.0)] * 5).parts(NODE).connectivity < NEUTRAL
    assert replay([(1.0, 1.0)] * 5).parts(NODE).connectivity > NEUTRAL


def test_a_node_that_left_for_good_is_neutral_again() -> None:
    book = replay([(Ending.NODE_LOST, 1.0, 1.0)] * 9)

    book.forget(NODE)

    assert book.score(NODE) == pytest.approx(NEUTRAL)
