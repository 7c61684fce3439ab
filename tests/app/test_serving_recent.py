from hypothesis import given
from hypothesis import strategies as st

from conductor.app.serving.recent import STEP_S, STEPS, Recent


def test_a_call_counts_where_it_ended_and_what_it_wrote_over_the_time_it_took() -> None:
    recent = Recent()

    recent.add(1_005.0, completion_tokens=60, duration_s=15.0)  # from 990 on
    recent.add(1_006.0, errors=1)
    shown = recent.as_json(1_019.0)

    assert shown["calls"][-3:] == [0, 2, 0]
    assert shown["errors"][-3:] == [0, 1, 0]
    assert shown["completion_tokens"][-4:] == [0.0, 40.0, 20.0, 0.0]


def test_what_is_older_than_the_steps_is_forgotten() -> None:
    recent = Recent()
    recent.add(5.0, completion_tokens=7)

    assert sum(recent.as_json((STEPS - 1) * STEP_S)["calls"]) == 1
    assert sum(recent.as_json(STEPS * STEP_S)["calls"]) == 0


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1000), st.floats(0, 60)), min_size=1, max_size=30))
def test_nothing_that_was_written_within_the_steps_is_lost(calls: list[tuple[float, int, float]]) -> None:
    recent, now_s = Recent(), 1_000.0
    for after_s, tokens, duration_s in calls:
        recent.add(now_s := now_s + after_s / 100, completion_tokens=tokens, duration_s=duration_s)

    shown = recent.as_json(now_s)

    assert {len(shown[name]) for name in ("calls", "errors", "completion_tokens")} == {STEPS}
    assert sum(shown["calls"]) == len(calls)
    assert abs(sum(shown["completion_tokens"]) - sum(tokens for _, tokens, _ in calls)) < STEPS * 0.1
