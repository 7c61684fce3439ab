"""What is learned of nodes: speeds told apart from the size of the work, failures, repair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.decisions.estimate import Estimator
from conductor.decisions.evidence import Evidence
from conductor.decisions.node_speeds import NodeSpeeds
from conductor.domain.decision import Forecast
from conductor.domain.device import DeviceType

CPU = DeviceType.CPU


def ran(estimator: Estimator, node: str, seconds: float, *, signature: str = "w", size: float = 1.0) -> None:
    estimator.observe(
        signature=signature, device=CPU, sizes={"items": size}, duration_s=seconds, compute_units=1.0, node_id=node
    )
    estimator.attempted(signature=signature, device=CPU, node_id=node, succeeded=True, at_unix_s=0.0)


def expected_s(estimator: Estimator, node: str, *, signature: str = "w", size: float = 1.0) -> float:
    return estimator.estimate(
        signature=signature,
        device=CPU,
        sizes={"items": size},
        prior_duration_s=10.0,
        prior_compute_units=1.0,
        evidence=Evidence(),
        node_id=node,
    ).duration_s.value


def repeated(speeds: NodeSpeeds, *ends: bool) -> None:
    """One task on `desk` whose attempts ended so."""
    for number, succeeded in enumerate(ends):
        speeds.attempted(
            CPU,
            "desk",
            signature="w",
            succeeded=succeeded,
            at_unix_s=0.0,
            failed_before=ends[:number].count(False),
        )


def success_of(speeds: NodeSpeeds, node: str, *, at_s: float = 0.0) -> float:
    forecast = speeds.forecast(CPU, {}, typical_s=1.0, now_unix_s=at_s)
    assert forecast is not None
    return dict(zip(forecast.node_ids, forecast.success, strict=True))[node]  # type: ignore[index]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(1.5, 8.0))
def test_speed_of_a_node_and_size_of_the_work_are_told_apart(seed: int, factor: float) -> None:
    random, estimator = np.random.default_rng(seed), Estimator()
    for number in range(30):
        slow, size = number % 3 == 0, float(random.uniform(1.0, 10.0))
        seconds = (2.0 + 3.0 * size) * (factor if slow else 1.0) * float(np.exp(random.normal(0.0, 0.05)))
        ran(estimator, "pi" if slow else "desk", seconds, size=size)

    assert expected_s(estimator, "desk", size=5.0) == pytest.approx(17.0, rel=0.2)
    assert expected_s(estimator, "pi", size=5.0) == pytest.approx(17.0 * factor, rel=0.25)


def test_a_node_that_is_fast_in_other_work_is_expected_to_be_fast_in_new_work() -> None:
    estimator = Estimator()
    for signature in ("a", "b", "c"):
        for _ in range(4):
            ran(estimator, "pi", 40.0, signature=signature)
            ran(estimator, "desk", 10.0, signature=signature)
        expected_s(estimator, "pi", signature=signature)
    ran(estimator, "pi", 80.0, signature="new")

    assert expected_s(estimator, "desk", signature="new") < 40.0 < 60.0 < expected_s(estimator, "pi", signature="new")


def test_a_forecast_names_every_node_that_ran_anything_and_is_surer_of_those_that_ran_this() -> None:
    estimator = Estimator()
    for _ in range(5):
        ran(estimator, "desk", 10.0)
    ran(estimator, "pi", 1.0, signature="other")

    forecast = estimator.forecast(signature="w", device=CPU, typical_s=10.0, now_unix_s=0.0)

    assert isinstance(forecast, Forecast)
    assert (forecast.node_ids, forecast.runs) == (("desk", "pi"), [5, 0])
    assert forecast.spread[0] < forecast.spread[1] == pytest.approx(forecast.elsewhere_spread)
    assert estimator.forecast(signature="w", device=DeviceType.GPU, typical_s=10.0, now_unix_s=0.0) is None


def test_three_failures_of_good_work_cost_a_node_its_chances_and_time_gives_them_back() -> None:
    speeds = NodeSpeeds()
    for _ in range(20):
        speeds.attempted(CPU, "desk", signature="w", succeeded=True, at_unix_s=0.0)
    before = success_of(speeds, "desk")
    for _ in range(3):
        speeds.attempted(CPU, "desk", signature="w", succeeded=False, at_unix_s=0.0)

    assert before > 0.9
    assert success_of(speeds, "desk") < 0.25
    assert success_of(speeds, "desk", at_s=7200.0) > 0.85


def test_one_success_redeems_a_node() -> None:
    speeds = NodeSpeeds()
    for succeeded in (True, True, False, False, False, True, True):
        speeds.attempted(CPU, "desk", signature="w", succeeded=succeeded, at_unix_s=0.0)

    assert success_of(speeds, "desk") > 0.8


def test_a_task_that_fails_four_times_says_less_of_its_node_than_two_tasks_that_fail_once() -> None:
    chances = {}
    for name, tasks in {"one task": [4], "two tasks": [1, 1], "one attempt": [1]}.items():
        speeds = NodeSpeeds()
        repeated(speeds, *[True] * 20)
        for attempts in tasks:
            repeated(speeds, *[False] * attempts)
        chances[name] = success_of(speeds, "desk")

    assert chances["two tasks"] < chances["one task"] < chances["one attempt"]


def test_tasks_that_need_a_second_attempt_cost_a_node_some_of_its_chances() -> None:
    steady, unsteady = NodeSpeeds(), NodeSpeeds()
    for _ in range(10):
        repeated(steady, True)
        repeated(unsteady, False, True)

    assert 0.5 < success_of(unsteady, "desk") < success_of(steady, "desk") - 0.05


def test_a_program_that_fails_everywhere_is_not_held_against_the_nodes() -> None:
    speeds = NodeSpeeds()
    for number in range(40):
        speeds.attempted(CPU, f"node-{number % 5}", signature="broken", succeeded=False, at_unix_s=0.0)
    for number in range(5):
        speeds.attempted(CPU, f"node-{number}", signature="good", succeeded=True, at_unix_s=0.0)

    assert all(success_of(speeds, f"node-{number}") > 0.7 for number in range(5))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e5), st.integers(0, 100)), max_size=60), st.integers(0, 100))
def test_chances_stay_within_zero_and_one_and_a_further_failure_never_raises_them(
    attempts: list[tuple[bool, float, int]], failed_before: int
) -> None:
    speeds, at_s = NodeSpeeds(), 0.0
    speeds.attempted(CPU, "desk", signature="w", succeeded=True, at_unix_s=0.0)
    for succeeded, later_s, failed in attempts:
        at_s += later_s
        speeds.attempted(CPU, "desk", signature="w", succeeded=succeeded, at_unix_s=at_s, failed_before=failed)
    before = success_of(speeds, "desk", at_s=at_s)
    speeds.attempted(CPU, "desk", signature="w", succeeded=False, at_unix_s=at_s, failed_before=failed_before)

    assert 0.0 <= success_of(speeds, "desk", at_s=at_s) <= before + 1e-9 <= 1.0 + 1e-9


def test_what_a_forgotten_workload_said_of_nodes_is_forgotten_with_it() -> None:
    estimator = Estimator()
    for _ in range(4):
        ran(estimator, "pi", 40.0)
        ran(estimator, "desk", 10.0)
    expected_s(estimator, "pi")
    before = estimator.forecast(signature="", device=CPU, typical_s=10.0, now_unix_s=0.0)
    for number in range(2048):
        ran(estimator, "desk", 10.0, signature=f"other-{number}")
    after = estimator.forecast(signature="", device=CPU, typical_s=10.0, now_unix_s=0.0)

    assert before is not None
    assert after is not None
    assert before.duration_s[0] > 12.0 > 8.0 > before.duration_s[1]
    assert after.duration_s == pytest.approx([10.0, 10.0])
