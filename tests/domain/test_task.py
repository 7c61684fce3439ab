from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.errors import InvalidInput, InvalidTransition
from conductor.domain.task import FINAL, TRANSITIONS, Level, Submission, Task, TaskId, TaskState, UserId
from conductor.domain.workload import Limits, Workload

times = st.floats(0, 4e9)
steps = st.lists(st.tuples(st.sampled_from(TaskState), times), max_size=40)


def a_task(**submission: Any) -> Task:
    return Task(
        task_id=TaskId("t"),
        submission=Submission(description="sharpen these photos", **submission),
        state=TaskState.SUBMITTED,
        submitted_at_unix_s=1000.0,
        updated_at_unix_s=1000.0,
    )


def lives(task: Task, steps: list[tuple[TaskState, float]]) -> list[Task]:
    """The task in all states it really entered when asked to take these steps."""
    life = [task]
    for state, at_unix_s in steps:
        try:
            life.append(life[-1].advance(state, at_unix_s=at_unix_s))
        except InvalidTransition:
            assert state not in TRANSITIONS[life[-1].state]
    return life


@given(steps)
def test_a_life_only_takes_steps_that_are_allowed(steps: list[tuple[TaskState, float]]) -> None:
    life = lives(a_task(), steps)

    assert all(after.state in TRANSITIONS[before.state] for before, after in pairwise(life))


@given(steps)
def test_time_never_runs_backwards_for_a_task(steps: list[tuple[TaskState, float]]) -> None:
    moments = [task.updated_at_unix_s for task in lives(a_task(), steps)]

    assert moments == sorted(moments)


@given(steps)
def test_attempts_count_how_often_a_task_began_to_run(steps: list[tuple[TaskState, float]]) -> None:
    life = lives(a_task(), steps)

    assert life[-1].attempt == sum(task.state is TaskState.RUNNING for task in life)


@given(st.sampled_from(sorted(FINAL)), st.sampled_from(TaskState))
def test_nothing_follows_a_final_state(final: TaskState, following: TaskState) -> None:
    assert following not in TRANSITIONS[final]


def test_a_refused_step_says_from_where_to_where() -> None:
    with pytest.raises(InvalidTransition, match="task t is submitted and cannot become running") as refused:
        a_task().advance(TaskState.RUNNING, at_unix_s=1000.0)
    assert refused.value.details == {"task_id": "t", "from": TaskState.SUBMITTED, "to": TaskState.RUNNING}


def test_every_state_can_be_reached_and_every_unfinished_one_can_be_cancelled() -> None:
    assert set(TRANSITIONS) == set(TaskState)
    assert frozenset().union(*TRANSITIONS.values()) == set(TaskState) - {TaskState.SUBMITTED}
    assert all(TaskState.CANCELLED in TRANSITIONS[state] for state in set(TaskState) - FINAL)


@pytest.mark.parametrize("state", TaskState)
def test_a_task_is_settled_when_nothing_more_will_happen(state: TaskState) -> None:
    def settled(task: Task) -> bool:
        return Task(
            task_id=task.task_id,
            submission=task.submission,
            state=state,
            submitted_at_unix_s=0.0,
            updated_at_unix_s=0.0,
        ).is_settled

    assert settled(a_task(workload=Workload(kind="noop"))) == (state in FINAL)
    assert settled(a_task()) == (state in FINAL or state is TaskState.DECIDED)


def test_priorities_map_to_four_levels() -> None:
    assert [Level.of_priority(priority) for priority in range(1, 6)] == [*Level, Level.LOW]


@pytest.mark.parametrize("priority", [0, 6, -1])
def test_other_priorities_are_refused(priority: int) -> None:
    with pytest.raises(InvalidInput, match=f"priority is {priority}; it must be 1"):
        Level.of_priority(priority)


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ("", "is empty"),
        (" \n\t ", "is empty"),
        ("x" * 100_001, "has 100,001 characters; at most 100,000"),
        ("\x7fELF\x02\x01\x01\x00", "control characters"),
        ("sharpen \x1b[31m", "control characters"),
        ("half \ud83d a pair", "half a surrogate pair"),
    ],
)
def test_a_description_that_is_no_text_is_refused(description: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint) as refused:
        Submission(description=description)
    assert refused.value.field == "description"


@pytest.mark.parametrize("description", ["x", "x" * 100_000, "two\nlines\tand a tab\r\n", "日本語 ñ 🎬 \u200f"])
def test_any_text_of_up_to_a_hundred_thousand_characters_is_taken(description: str) -> None:
    assert Submission(description=description).description == description


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    ("metadata", "at_fault", "complaint"),
    [
        ({"a": {"b": [1, "\ud800"]}}, "metadata.a.b[1]", "half a surrogate pair"),
        ({"a": float("nan")}, "metadata.a", "nan, which JSON cannot hold"),
        ({"a": [float("-inf")]}, "metadata.a[0]", "-inf, which JSON cannot hold"),
        ({"a": b"bytes"}, "metadata.a", "is a bytes"),
        ({"a": {1: 2}}, "metadata.a", "has the key 1; keys are text"),
        ({"a": {"\udfff": 2}}, "metadata.a", "half a surrogate pair"),
        ({"a": object()}, "metadata.a", "is a object"),
    ],
)
def test_metadata_that_is_not_plain_is_refused_with_its_path(metadata: Any, at_fault: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint) as refused:
        a_task(metadata=metadata)
    assert refused.value.field == at_fault


def test_data_may_be_nested_a_hundred_levels_deep_and_no_deeper() -> None:
    a_task(metadata=nested(100))
    Workload(kind="noop", spec=nested(100))

    with pytest.raises(InvalidInput, match="nested too deeply; 100 levels are taken"):
        a_task(metadata=nested(101))
    with pytest.raises(InvalidInput, match="nested too deeply"):
        Workload(kind="noop", spec=nested(10_000))


@pytest.mark.parametrize("key", ["", "k" * 256, "zero\x00", "line\nbreak", "\ud800"])
def test_an_idempotency_key_is_short_printable_text(key: str) -> None:
    with pytest.raises(InvalidInput, match="it must be 1 to 255 printable characters") as refused:
        a_task(idempotency_key=key)
    assert refused.value.field == "idempotency_key"


@pytest.mark.parametrize(("field", "value"), [("user_id", UserId("u" * 201)), ("max_retries", -1)])
def test_other_fields_have_bounds_too(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        a_task(**{field: value})
    assert refused.value.field == field


@pytest.mark.parametrize("name", ["memory_bytes", "wall_time_s", "cpu_time_s", "output_bytes", "processes"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_every_limit_is_a_number_above_zero(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=f"limits.{name} is {value}; it must be a number greater than 0") as refused:
        Limits(**{name: value})
    assert refused.value.field == f"limits.{name}"
