import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.decisions.calibration import Calibration, TrackRecord
from conductor.decisions.confidence import SuccessRates, confidence_parts, weighted_sum
from conductor.decisions.evaluate import expected_calibration_error
from conductor.decisions.evidence import Evidence
from conductor.domain.decision import ConfidenceParts, Ranking
from conductor.domain.device import DeviceType

GPU = DeviceType.GPU
shares = st.floats(0.0, 1.0)


def parts(
    *,
    probability: float = 0.9,
    evidence: Evidence | None = None,
    device_runs: tuple[float, float] = (0.0, 0.0),
    nodes: float = 1.0,
    resources: float = 1.0,
) -> ConfidenceParts:
    ranking = Ranking(device=GPU, best=(), rejected=(), node_availability=nodes, resource_availability=resources)
    return confidence_parts(
        probability=probability,
        chosen=GPU,
        evidence=evidence or Evidence(),
        device_runs=device_runs,
        ranking=ranking,
    )


def test_the_four_parts_weigh_forty_thirty_twenty_and_ten_per_cent() -> None:
    one_each = ConfidenceParts(similarity=0.5, device_success=0.25, node_availability=0.75, resource_availability=0.1)

    assert weighted_sum(one_each) == pytest.approx(0.4 * 0.5 + 0.3 * 0.25 + 0.2 * 0.75 + 0.1 * 0.1)


@settings(deadline=None)
@given(st.floats(0.3, 0.99))
def test_without_history_on_an_idle_fleet_the_confidence_is_the_class_probability(probability: float) -> None:
    assert weighted_sum(parts(probability=probability)) == pytest.approx(probability)


def test_a_busy_fleet_lowers_the_confidence_by_its_weight() -> None:
    assert weighted_sum(parts()) - weighted_sum(parts(nodes=0.0, resources=0.5)) == pytest.approx(0.25)


@settings(deadline=None)
@given(
    probability=shares,
    successes=st.floats(0, 100),
    failures=st.floats(0, 100),
    agreed=st.floats(0, 50),
    other=st.floats(0, 50),
    more=st.floats(0.1, 20),
)
def test_parts_lie_between_zero_and_one_and_failures_never_raise_them(
    probability: float, successes: float, failures: float, agreed: float, other: float, more: float
) -> None:
    evidence = Evidence(runs=agreed + other, agreed={GPU: agreed})
    worse = Evidence(runs=agreed + other + more, agreed={GPU: agreed})
    now = parts(probability=probability, evidence=evidence, device_runs=(successes, failures))
    then = parts(probability=probability, evidence=worse, device_runs=(successes, failures + more))

    assert 0.0 <= weighted_sum(now) <= 1.0
    assert then.similarity <= now.similarity
    assert then.device_success <= now.device_success


def test_old_outcomes_fade() -> None:
    rates = SuccessRates(fade=0.5)
    for succeeded in (False, True, True):
        rates.observe("GPU", succeeded=succeeded)

    assert rates.runs("GPU") == (1.5, 0.25)
    assert rates.runs("NPU") == (0.0, 0.0)


@settings(deadline=None)
@given(successes=st.floats(0, 1e6), agreed=st.floats(0, 1e6))
def test_no_part_that_is_judged_is_ever_shown_as_certainty(successes: float, agreed: float) -> None:
    found = parts(probability=1.0, evidence=Evidence(runs=agreed, agreed={GPU: agreed}), device_runs=(successes, 0.0))

    assert [f"{part:.0%}" for part in (found.similarity, found.device_success)] == ["99%", "99%"]


@settings(deadline=None)
@given(shares)
def test_before_any_outcome_the_confidence_is_the_raw_sum_short_of_certainty(raw: float) -> None:
    assert Calibration().confidence(raw) == min(raw, 0.99)


@pytest.mark.parametrize("outcomes", [0, 3, 2000])
def test_no_confidence_is_ever_shown_as_certainty(outcomes: int) -> None:
    calibration = Calibration()
    for _ in range(outcomes):
        calibration.observe(raw=1.0, stated=calibration.confidence(1.0), succeeded=True)

    assert f"{calibration.confidence(1.0):.0%}" == "99%"


def a_replay(seed: int, count: int, *, true_share: float) -> tuple[Calibration, list[float], list[bool]]:
    """Decisions whose raw sum is overconfident: they succeed `true_share` as often as they say."""
    calibration, random = Calibration(), np.random.default_rng(seed)
    stated, outcomes = [], []
    for _ in range(count):
        raw = float(random.uniform(0.6, 1.0))
        succeeded = bool(random.random() < raw * true_share)
        stated.append(calibration.confidence(raw))
        outcomes.append(succeeded)
        calibration.observe(raw=raw, stated=stated[-1], succeeded=succeeded)
    return calibration, stated, outcomes


def test_calibration_error_falls_over_a_replay() -> None:
    for seed in range(5):
        _, stated, outcomes = a_replay(seed, 1200, true_share=0.6)
        early = expected_calibration_error(stated[:100], outcomes[:100])
        late = expected_calibration_error(stated[-600:], outcomes[-600:])
        assert late < early
        assert late < 0.08


def test_the_record_is_the_error_of_what_was_stated() -> None:
    calibration, stated, outcomes = a_replay(1, 300, true_share=0.8)

    errors = [(value - hit) ** 2 for value, hit in zip(stated, outcomes, strict=True)]
    assert calibration.record() == TrackRecord(
        count=300,
        brier=pytest.approx(sum(errors) / 300),
        expected_calibration_error=pytest.approx(expected_calibration_error(stated, outcomes)),
    )


@settings(deadline=None)
@given(seed=st.integers(0, 50), low=shares, high=shares)
def test_correction_keeps_the_order_and_the_bounds(seed: int, low: float, high: float) -> None:
    calibration, _, _ = a_replay(seed, 40, true_share=0.3)
    low, high = sorted((low, high))

    assert 0.0 <= calibration.confidence(low) <= calibration.confidence(high) <= 1.0


@settings(deadline=None)
@given(raw=st.floats(0.05, 0.95))
def test_a_stated_confidence_leads_back_to_its_raw_sum(raw: float) -> None:
    calibration, _, _ = a_replay(7, 200, true_share=0.7)

    assert calibration.raw(calibration.confidence(raw)) == pytest.approx(raw, abs=0.02)


def test_one_task_repeated_endlessly_does_not_speak_for_all_others() -> None:
    seldom, endless = Calibration(), Calibration()
    for run in range(1, 2001):
        endless.observe(raw=0.9, stated=0.9, succeeded=True, weight=min(1.0, 20 / run))
    for _ in range(2000):
        seldom.observe(raw=0.9, stated=0.9, succeeded=True)

    assert 0.6 <= endless.confidence(0.6) < seldom.confidence(0.6)
    assert endless.record() == seldom.record()
