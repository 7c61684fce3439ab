import numpy as np
import pytest
from benchmarks.mcp import slope
from hypothesis import given
from hypothesis import strategies as st

POINTS = st.lists(st.integers(0, 10**6), min_size=4, max_size=30).map(lambda found: list(enumerate(found)))


@given(POINTS)
def test_slope_and_its_error_are_those_of_least_squares(points: list[tuple[int, int]]) -> None:
    x, y = np.array(points, dtype=float).T
    (expected, _), covariance = np.polyfit(x, y, 1, cov=True)

    found, error = slope(points)

    scale = float(np.ptp(y)) + 1
    assert found == pytest.approx(expected, abs=1e-9 * scale)
    assert error == pytest.approx(covariance[0, 0] ** 0.5, abs=1e-7 * scale)


def test_memory_that_stays_the_same_has_no_slope_and_no_error() -> None:
    assert slope([(calls, 5) for calls in range(0, 1000, 10)]) == (0.0, 0.0)
