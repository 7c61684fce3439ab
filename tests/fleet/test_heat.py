import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.node import NodeId, NodeReading
from conductor.fleet.heat import ThermalState, thermal_score, thermal_state


def a_reading(cpu: float | None = None, gpu: float | None = None) -> NodeReading:
    return NodeReading(
        node_id=NodeId("n"), taken_at_unix_s=0.0, cpu_utilisation=0.0, free_memory_bytes=0, free_disk_bytes=0,
        load_average_1m=0.0, cpu_temperature_celsius=cpu, gpu_temperature_celsius=gpu,
    )  # fmt: skip


celsius = st.floats(-50, 200)


@pytest.mark.parametrize(
    ("cpu", "gpu", "expected"),
    [
        (40, None, 1.0),
        (75, None, 1.0),
        (77.5, None, 0.85),
        (80, None, 0.7),
        (87.5, None, 0.35),
        (95, None, 0.0),
        (None, 80, 0.85),
        (None, 85, 0.7),
        (80, 76, 0.7),
    ],
)
def test_the_score_falls_from_recovery_over_the_limit_to_nothing(
    cpu: float | None, gpu: float | None, expected: float
) -> None:
    assert thermal_score(a_reading(cpu, gpu)) == pytest.approx(expected)


def test_the_remark_names_what_is_hottest_or_that_nothing_is_known() -> None:
    assert thermal_state(a_reading()) == ThermalState(1.0, "no sensor")
    assert thermal_state(a_reading(cpu=50, gpu=90)).remark == "GPU at 90 °C, limit 85 °C"


@given(cooler=celsius, warmer=celsius, gpu=st.none() | celsius)
def test_a_warmer_node_never_scores_higher(cooler: float, warmer: float, gpu: float | None) -> None:
    cooler, warmer = sorted([cooler, warmer])

    assert 0.0 <= thermal_score(a_reading(warmer, gpu)) <= thermal_score(a_reading(cooler, gpu)) <= 1.0
