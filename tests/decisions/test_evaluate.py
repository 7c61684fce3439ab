import pytest
from tests.decisions.arrangement import WIDTH, HashingEncoder, StillClock

from conductor.decisions.evaluate import IdleFleet, Judged, evaluate, expected_calibration_error
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.device import DeviceType
from conductor.domain.task import Submission

GPU, NPU, CPU = DeviceType.GPU, DeviceType.NPU, DeviceType.CPU


def a_row(
    chosen: DeviceType,
    best: DeviceType,
    accept: set[DeviceType] | None = None,
    *,
    stated: float = 0.9,
    hard: bool = False,
    language: str = "en",
) -> Judged:
    return Judged(
        row_id=f"{chosen}-{best}",
        accept=frozenset(accept or {best}),
        best=best,
        chosen=chosen,
        probability=stated,
        confidence=stated / 2,
        hard=hard,
        language=language,
    )


ROWS = [
    a_row(GPU, GPU),
    a_row(GPU, NPU, {NPU, GPU}),
    a_row(CPU, GPU, hard=True, language="de"),
    a_row(CPU, CPU, hard=True),
]


def test_accuracy_counts_what_is_acceptable_and_what_is_best() -> None:
    report = evaluate(ROWS)

    assert (report.count, report.accept, report.best) == (4, 0.75, 0.5)
    assert report.wrong == ("CPU-GPU",)


def test_an_acceptable_choice_counts_for_its_own_class() -> None:
    gpu, npu, *_, cpu = evaluate(ROWS).classes

    assert (gpu.device, gpu.count, gpu.chosen, gpu.precision) == (GPU, 3, 2, 1.0)
    assert gpu.recall == pytest.approx(2 / 3)
    assert (npu.count, npu.chosen) == (0, 0)
    assert (cpu.device, cpu.precision, cpu.recall) == (CPU, 0.5, 1.0)
    assert evaluate(ROWS).macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)


def test_hard_rows_and_languages_are_reported_apart() -> None:
    assert evaluate(ROWS).groups == (
        ("hard", 0.5, 2),
        ("not hard", 1.0, 2),
        ("language en", 1.0, 3),
        ("language de", 0.0, 1),
    )


def test_calibration_error_is_the_weighted_gap_between_said_and_seen() -> None:
    assert expected_calibration_error([0.9, 0.9, 0.2], [True, False, False]) == pytest.approx((0.8 + 0.2) / 3)
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0.0
    assert expected_calibration_error([], []) == 0.0


def test_both_stated_numbers_are_scored() -> None:
    report = evaluate(ROWS)

    assert report.ece_probability == pytest.approx(0.9 - 0.75)
    assert report.ece_confidence == pytest.approx(0.75 - 0.45)
    assert report.brier_probability == pytest.approx((3 * 0.01 + 0.81) / 4)
    assert report.brier_confidence == pytest.approx((3 * 0.55**2 + 0.45**2) / 4)


def test_the_table_names_what_it_measures() -> None:
    text = evaluate(ROWS).text()

    assert "right (in accept)   0.7500" in text
    assert "language de" in text


def test_no_rows_give_zeros() -> None:
    assert (evaluate([]).accept, evaluate([]).macro_f1) == (0.0, 0.0)


def test_for_an_idle_fleet_the_confidence_is_the_probability_of_the_device(
    encoder: HashingEncoder, clock: StillClock
) -> None:
    maker = DecisionMaker(encoder, IdleFleet(), ExperienceMemory(width=WIDTH), clock)
    decision = maker.decide("t1", Submission(description="encode the video clip to h.264"))

    assert decision.confidence == pytest.approx(dict(decision.device_probabilities)[decision.device])
