"""The report on past decisions against outcomes whose figures are known."""

import json

import numpy as np
import pytest

from conductor.decisions.ports import Experience
from conductor.decisions.report import report
from conductor.domain.device import DeviceType, TaskKind


def an_experience(at_s: float, **more: object) -> Experience:
    facts: dict[str, object] = {
        "task_id": f"t{at_s}",
        "description": "sort",
        "embedding": np.zeros(4, dtype=np.float32),
        "device": DeviceType.CPU,
        "available_device": DeviceType.CPU,
        "task_kind": TaskKind.DATA_PROCESSING,
        "signature": "command:sort",
        "sizes": {},
        "node_id": "desk",
        "succeeded": True,
        "duration_s": 10.0,
        "compute_units": 1.0,
        "predicted_duration_s": 10.0,
        "confidence": 0.8,
        "at_unix_s": at_s,
    }
    return Experience(**facts | more)  # type: ignore[arg-type]


def test_no_history_is_an_empty_report() -> None:
    assert report([]).count == 0
    assert report([an_experience(5.0)], since_unix_s=6.0).as_json()["periods"] == ()


def test_calibration_compares_what_was_said_with_what_was_seen() -> None:
    found = report([an_experience(float(n), confidence=0.8, succeeded=n % 2 == 0) for n in range(10)])

    assert [(each.said, each.seen, each.count) for each in found.bins] == [(pytest.approx(0.8), 0.5, 10)]
    assert found.expected_calibration_error == pytest.approx(0.3)
    assert found.brier == pytest.approx((0.04 + 0.64) / 2)


def test_accuracy_is_told_by_period_and_failures_predict_nothing() -> None:
    early = [an_experience(float(n), predicted_duration_s=20.0, device=DeviceType.GPU) for n in range(5)]
    late = [an_experience(10.0 + n, predicted_duration_s=11.0, succeeded=n > 0) for n in range(5)]

    first, second = report([*early, *late]).periods

    assert (first.within, first.succeeded, first.ideal_device) == (0.0, 1.0, 0.0)
    assert (second.within, second.succeeded, second.ideal_device) == (1.0, 0.8, 1.0)


def test_regret_is_the_extra_time_against_the_best_place_known_today() -> None:
    slow = [an_experience(float(n), node_id="pi", duration_s=40.0) for n in range(10)]
    fast = [an_experience(20.0 + n, node_id="desk", duration_s=10.0) for n in range(10)]

    found = report([*slow, *fast])

    assert found.periods[0].regret == pytest.approx(3.0, rel=0.1)
    assert found.periods[-1].regret == pytest.approx(0.0, abs=1e-9)


def test_work_that_ran_in_one_place_only_tells_no_regret() -> None:
    assert [each.regret for each in report([an_experience(float(n)) for n in range(12)]).periods] == [None, None, None]


def test_the_report_is_plain_json() -> None:
    found = report([an_experience(float(n)) for n in range(7)])

    assert json.loads(json.dumps(found.as_json()))["count"] == 7
