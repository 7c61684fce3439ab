"""The books of the models: which state follows which, what is counted, who is told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.errors import InvalidTransition, NotFound
from conductor.domain.generation import Usage
from conductor.domain.model import Category, ModelName, ModelState, Precision
from conductor.serving.ports import RunnerFacts
from conductor.serving.registry import FOLLOWING, ModelKey, Registry, StateChange

KEY = ModelKey(ModelName("llama"), Precision.FP16)
ABSENT, WAITING, LOADING = ModelState.ABSENT, ModelState.WAITING, ModelState.LOADING
LOADED, UNLOADING, ERROR = ModelState.LOADED, ModelState.UNLOADING, ModelState.ERROR
FACTS = RunnerFacts(
    backend="any",
    device="cpu",
    precision=None,
    context_tokens=1,
    memory_bytes=5,
    constrains=False,
    embeds=False,
    fills_in=False,
)


class HandClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def now_unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


def entered() -> tuple[Registry, HandClock]:
    clock = HandClock()
    registry = Registry(clock=clock)
    registry.enter(KEY, [Category("chat")])
    return registry, clock


def test_the_life_of_a_model_is_told_to_listeners_with_its_times() -> None:
    registry, clock = entered()
    told: list[StateChange] = []
    registry.listen(told.append)
    for state in (WAITING, LOADING, LOADED, UNLOADING, ABSENT):
        clock.now_s += 1
        registry.move(KEY, state, f"because {state}")

    assert [(change.before, change.record.state, change.record.since_unix_s) for change in told] == [
        (ABSENT, WAITING, 101),
        (WAITING, LOADING, 102),
        (LOADING, LOADED, 103),
        (LOADED, UNLOADING, 104),
        (UNLOADING, ABSENT, 105),
    ]
    assert told[-1].record.reason == "because absent"
    assert told[-1].record == registry.record(KEY)


@given(path=st.lists(st.sampled_from(list(ModelState)), max_size=12))
def test_only_what_the_table_allows_can_happen_and_all_else_changes_nothing(path: list[ModelState]) -> None:
    registry, _ = entered()
    told: list[StateChange] = []
    registry.listen(told.append)
    for state in path:
        before = registry.record(KEY)
        if state in FOLLOWING[before.state]:
            registry.move(KEY, state)
            assert registry.record(KEY).state is state
        else:
            count = len(told)
            with pytest.raises(InvalidTransition, match=f"is {before.state} and cannot become {state}"):
                registry.move(KEY, state)
            assert (registry.record(KEY), len(told)) == (before, count)


def test_a_model_comes_into_memory_only_by_loading_and_every_state_can_be_left() -> None:
    assert {state for state, after in FOLLOWING.items() if LOADED in after} == {LOADING}
    assert {state for state, after in FOLLOWING.items() if UNLOADING in after} == {LOADED}
    assert all(FOLLOWING[state] for state in ModelState)


def test_use_is_counted() -> None:
    registry, clock = entered()
    for state in (WAITING, LOADING):
        registry.move(KEY, state)
    registry.expect(KEY, backend="any", estimated_bytes=4)
    registry.measure(KEY, FACTS, load_s=2.5)
    registry.move(KEY, LOADED)
    clock.now_s = 200
    registry.use(KEY)
    registry.generated(KEY, Usage(prompt_tokens=3, completion_tokens=4))
    registry.generated(KEY, None)
    registry.failed(KEY, "out of breath")
    registry.answers(KEY, True)

    expected = replace(
        registry.record(KEY),
        backend="any",
        facts=FACTS,
        estimated_bytes=4,
        measured_bytes=5,
        load_s=2.5,
        loads=1,
        generations=2,
        prompt_tokens=3,
        completion_tokens=4,
        errors=1,
        last_error="out of breath",
        last_used_unix_s=200,
        healthy=True,
    )
    assert registry.record(KEY) == expected


def test_health_is_known_only_of_what_is_loaded_and_an_error_is_remembered() -> None:
    registry, _ = entered()
    for state in (WAITING, LOADING, LOADED):
        registry.move(KEY, state)
    assert registry.record(KEY).healthy is True
    registry.move(KEY, ERROR, "it died")
    registry.move(KEY, WAITING)
    record = registry.record(KEY)
    assert (record.healthy, record.errors, record.last_error, record.reason) == (None, 1, "it died", "")


def test_books_are_closed_only_when_nothing_is_in_memory() -> None:
    registry, _ = entered()
    registry.move(KEY, WAITING)
    with pytest.raises(InvalidTransition, match="must be unloaded"):
        registry.forget(KEY)
    registry.move(KEY, ABSENT)
    registry.forget(KEY)
    assert registry.records() == ()
    with pytest.raises(NotFound, match="llama in FP16"):
        registry.record(KEY)


def test_a_model_that_serves_others_now_keeps_its_counts() -> None:
    registry, _ = entered()
    registry.generated(KEY, None)
    registry.enter(KEY, [Category("code"), Category("math")])
    assert registry.record(KEY).categories == ("code", "math")
    assert registry.record(KEY).generations == 1
