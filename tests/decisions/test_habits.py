import numpy as np
import pytest

from conductor.decisions.habits import Habits
from conductor.domain.device import DeviceType

VIDEO, CPU = DeviceType.VIDEO, DeviceType.CPU


def reading(**shares: float) -> np.ndarray:
    left = (1.0 - sum(shares.values())) / (len(DeviceType) - len(shares))
    return np.array([shares.get(device.value, left) for device in DeviceType])


def winner(shares: np.ndarray) -> DeviceType:
    return list(DeviceType)[int(shares.argmax())]


def after(count: int, device: DeviceType = VIDEO) -> Habits:
    habits = Habits()
    for _ in range(count):
        habits.observe("w", device)
    return habits


def test_a_misread_description_of_well_known_work_is_put_right() -> None:
    misread = reading(CPU=0.7, VIDEO=0.15)

    assert winner(after(0).weigh(misread, "w")) is CPU
    assert winner(after(12).weigh(misread, "w")) is VIDEO
    assert winner(after(12).weigh(misread, "another")) is CPU


def test_one_earlier_run_does_not_overturn_a_reading() -> None:
    assert winner(after(1).weigh(reading(CPU=0.6, VIDEO=0.3), "w")) is CPU


@pytest.mark.parametrize("count", [0, 1, 30])
def test_the_shares_sum_to_one(count: int) -> None:
    assert after(count).weigh(reading(CPU=0.999999), "w").sum() == pytest.approx(1.0)
