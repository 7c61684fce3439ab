"""The estimator against workloads whose true cost is known: a + b·sizeᶜ, with noise and with outliers."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.decisions.curve import fit_cost
from conductor.decisions.estimate import Estimates, Estimator
from conductor.decisions.evidence import Evidence
from conductor.domain.device import DeviceType

CPU = DeviceType.CPU
NOISE = 0.08

#: name → (start-up seconds, seconds per unit, power, sizes); 20 ms to 10 s, like the examples.
WORKLOADS = {
    "encode a clip": (0.15, 0.08, 1.0, (2, 5, 10, 30)),
    "filter photos": (0.10, 0.03, 1.0, (4, 12, 40)),
    "resample audio": (0.02, 0.004, 1.0, (3, 10, 60, 200)),
    "embed reviews": (0.40, 0.009, 0.9, (10, 100, 800)),
    "simulate": (0.05, 2e-5, 1.5, (200, 800, 2000, 4000)),
}


def estimate(estimator: Estimator, sizes: dict[str, float], evidence: Evidence | None = None) -> Estimates:
    return estimator.estimate(
        signature="w",
        device=CPU,
        sizes=sizes,
        prior_duration_s=5.0,
        prior_compute_units=2.0,
        evidence=evidence or Evidence(),
    )


def observe(estimator: Estimator, sizes: dict[str, float], duration_s: float, units: float = 1.0) -> None:
    estimator.observe(signature="w", device=CPU, sizes=sizes, duration_s=duration_s, compute_units=units)


def last_ten_of_thirty(name: str, seed: int, *, outliers: float = 0.0) -> Iterator[tuple[Estimates, float, float]]:
    """(estimate before the run, measured seconds, measured compute units) of runs 21–30."""
    start, per_unit, power, sizes = WORKLOADS[name]
    random, estimator = np.random.default_rng(seed), Estimator()
    for run in range(30):
        size = float(random.choice(sizes))
        growth = per_unit * size**power
        seconds = (start + growth) * float(random.lognormal(0.0, NOISE))
        if random.random() < outliers:
            seconds *= float(random.uniform(2.0, 4.0))
        units = (0.8 * start + 2.0 * growth) / (start + growth) * float(random.lognormal(0.0, 0.04))
        given_sizes = {"input_bytes": size, "arg.fixed": 7.0}
        if run >= 20:
            yield estimate(estimator, given_sizes), seconds, units
        observe(estimator, given_sizes, seconds, units)


@pytest.mark.parametrize("name", WORKLOADS)
def test_after_thirty_runs_eight_of_the_last_ten_lie_within_a_fifth_of_the_prediction(name: str) -> None:
    for seed in range(20):
        hits = [abs(s - e.duration_s.value) <= 0.2 * e.duration_s.value for e, s, _ in last_ten_of_thirty(name, seed)]
        assert sum(hits) >= 8, seed


@pytest.mark.parametrize("name", WORKLOADS)
def test_outliers_cost_hardly_more_than_themselves(name: str) -> None:
    hits = [
        abs(seconds - made.duration_s.value) <= 0.2 * made.duration_s.value
        for seed in range(20)
        for made, seconds, _ in last_ten_of_thirty(name, seed, outliers=0.05)
    ]

    # Five in a hundred are outliers by construction, about one in a hundred is noise beyond a fifth.
    assert sum(hits) / len(hits) >= 0.88


def test_compute_units_lie_within_fifteen_per_cent() -> None:
    hits = [
        abs(units - made.compute_units.value) <= 0.15 * made.compute_units.value
        for name in WORKLOADS
        for seed in range(10)
        for made, _, units in last_ten_of_thirty(name, seed)
    ]

    assert sum(hits) / len(hits) >= 0.95


def test_the_intervals_hold_about_four_in_five() -> None:
    held = [
        made.duration_s.low <= seconds <= made.duration_s.high
        for name in WORKLOADS
        for seed in range(30)
        for made, seconds, _ in last_ten_of_thirty(name, seed)
    ]

    assert 0.75 <= sum(held) / len(held) <= 0.9


def test_the_first_run_replaces_the_prior() -> None:
    estimator = Estimator()
    before = estimate(estimator, {"input_bytes": 10.0})
    observe(estimator, {"input_bytes": 10.0}, 0.2, 1.5)
    after = estimate(estimator, {"input_bytes": 10.0})

    assert (before.basis, before.duration_s.source, before.duration_s.value) == ("prior", "prior", 5.0)
    assert (after.basis, after.duration_s.source) == ("workload", "history")
    assert after.duration_s.value == pytest.approx(0.2)
    assert after.compute_units.value == pytest.approx(1.5)


def test_one_run_is_scaled_towards_another_size_and_admits_more_doubt() -> None:
    estimator = Estimator()
    observe(estimator, {"arg.fixed": 3.0, "input_bytes": 10.0}, 1.0)
    same = estimate(estimator, {"arg.fixed": 3.0, "input_bytes": 10.0}).duration_s
    larger = estimate(estimator, {"arg.fixed": 3.0, "input_bytes": 100.0}).duration_s

    assert 2.0 < larger.value < 10.0
    assert larger.high / larger.value > same.high / same.value


def test_of_two_sizes_that_vary_the_one_that_matters_is_found() -> None:
    estimator, random = Estimator(), np.random.default_rng(3)
    for _ in range(24):
        steps, noise = float(random.choice([100, 400, 900])), float(random.choice([1, 5, 50]))
        observe(estimator, {"arg.steps": steps, "arg.seed": noise}, 0.1 + 0.01 * steps)

    assert estimate(estimator, {"arg.steps": 1800.0, "arg.seed": 3.0}).duration_s.value == pytest.approx(18.1, rel=0.05)


def test_a_cost_that_grows_with_the_product_of_two_sizes_is_found() -> None:
    estimator, random = Estimator(), np.random.default_rng(4)
    for _ in range(24):
        steps, cells = float(random.choice([100, 400, 900])), float(random.choice([10, 50, 200]))
        observe(estimator, {"arg.steps": steps, "arg.cells": cells}, 0.1 + 1e-4 * steps * cells)

    predicted = estimate(estimator, {"arg.steps": 700.0, "arg.cells": 120.0}).duration_s.value
    assert predicted == pytest.approx(0.1 + 1e-4 * 700 * 120, rel=0.05)


def test_similar_tasks_are_believed_before_the_prior() -> None:
    evidence = Evidence(runs=2.0, log_duration_s={CPU: (math.log(30.0), 2.0)})
    made = estimate(Estimator(), {}, evidence)

    assert made.duration_s.value == pytest.approx(30.0)
    assert (made.basis, made.duration_s.source, made.compute_units.source) == ("similar", "history", "prior")


def test_another_device_type_starts_from_the_prior() -> None:
    estimator = Estimator()
    estimator.observe(signature="w", device=DeviceType.GPU, sizes={}, duration_s=1.0, compute_units=1.0)

    assert estimate(estimator, {}).basis == "prior"


sizes_and_costs = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["a", "b", "c"]), st.floats(1e-9, 1e15), max_size=3), st.floats(1e-9, 1e9)
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(runs=sizes_and_costs, asked=st.dictionaries(st.sampled_from(["a", "b", "d"]), st.floats(0.0, 1e15)))
def test_any_history_gives_a_finite_interval_around_a_positive_value(
    runs: list[tuple[dict[str, float], float]], asked: dict[str, float]
) -> None:
    predicted = fit_cost([sizes for sizes, _ in runs], [cost for _, cost in runs]).predict(asked)

    assert 0.0 < predicted.low <= predicted.value <= predicted.high < math.inf


@settings(deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_same_history_gives_the_same_estimate(seed: int) -> None:
    once = [made.duration_s for made, _, _ in last_ten_of_thirty("filter photos", seed)]

    assert once == [made.duration_s for made, _, _ in last_ten_of_thirty("filter photos", seed)]


def test_when_the_machine_slows_down_a_workload_that_did_not_run_since_is_expected_to_take_longer() -> None:
    random, estimator = np.random.default_rng(3), Estimator()

    def predicted_s(name: str) -> float:
        return estimator.estimate(
            signature=name,
            device=CPU,
            sizes={"n": 1.0},
            prior_duration_s=1.0,
            prior_compute_units=1.0,
            evidence=Evidence(),
        ).duration_s.value

    for name, runs, slowdown in (("rested", 20, 1.0), ("busy", 20, 1.0), ("busy", 6, 1.25)):
        for _ in range(runs):
            estimator.observe(
                signature=name,
                device=CPU,
                sizes={"n": 1.0},
                duration_s=slowdown * float(random.lognormal(0.0, 0.03)),
                compute_units=1.0,
                predicted_s=predicted_s(name),
            )

    assert 1.08 < predicted_s("rested") < 1.3
