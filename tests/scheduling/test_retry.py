import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.errors import InvalidInput
from conductor.domain.outcome import RETRYABLE, Ending
from conductor.domain.task import TaskState
from conductor.scheduling.retry import RetryPolicy, final_state


def test_delays_grow_by_half_and_end_after_three_repetitions() -> None:
    policy = RetryPolicy(jitter=0.0)

    delays = [policy.delay_s(attempt, Ending.EXIT_CODE, 0.5) for attempt in range(1, 6)]

    assert delays == [1.0, 1.5, 2.25, None, None]


def test_the_limit_of_the_task_goes_before_that_of_the_policy() -> None:
    policy = RetryPolicy(max_retries=3)

    assert policy.delay_s(1, Ending.SIGNAL, 0.5, max_retries=0) is None
    assert policy.delay_s(4, Ending.SIGNAL, 0.5, max_retries=4) is not None


@pytest.mark.parametrize("ending", list(Ending))
def test_only_endings_that_may_change_are_repeated(ending: Ending) -> None:
    assert (RetryPolicy().delay_s(1, ending, 0.5) is not None) == (ending in RETRYABLE)


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(1, 10), st.floats(0, 1))
def test_a_delay_is_within_the_jitter_and_never_above_the_largest(
    attempt: int, unit: float, factor: float, jitter: float
) -> None:
    policy = RetryPolicy(factor=factor, jitter=jitter, max_delay_s=60.0)

    delay_s = policy.delay_s(attempt, Ending.NODE_LOST, unit, max_retries=10**6)
    plain_s = math.exp(min((attempt - 1) * math.log(factor), math.log(60.0)))

    assert delay_s is not None
    assert plain_s * (1 - jitter) - 1e-9 <= delay_s <= min(60.0, plain_s * (1 + jitter)) + 1e-9


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (Ending.SUCCEEDED, TaskState.SUCCEEDED),
        (Ending.CANCELLED, TaskState.CANCELLED),
        (Ending.EXIT_CODE, TaskState.DEAD),
        (Ending.NODE_LOST, TaskState.DEAD),
        (Ending.OUT_OF_MEMORY, TaskState.FAILED),
        (Ending.CANNOT_START, TaskState.FAILED),
    ],
)
def test_the_last_ending_decides_the_final_state(ending: Ending, state: TaskState) -> None:
    assert final_state(ending) is state


@pytest.mark.parametrize(
    "wrong", [{"max_retries": -1}, {"factor": 0.5}, {"first_delay_s": 0}, {"max_delay_s": 0.1}, {"jitter": 2}]
)
def test_an_impossible_policy_names_the_setting(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput) as error:
        RetryPolicy(**wrong)

    assert error.value.field == f"retry.{next(iter(wrong))}"
