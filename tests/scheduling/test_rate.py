import pytest

from conductor.scheduling.rate import ServiceRate


@pytest.mark.parametrize("lasting_s", [5, 30, 300])
def test_a_steady_rate_is_found_however_long_it_lasts(lasting_s: int) -> None:
    rate = ServiceRate()
    for tenth in range(lasting_s * 10):
        rate.count(3, tenth / 10)

    assert rate.per_s(float(lasting_s)) == pytest.approx(30.0, rel=0.02)


def test_nothing_is_said_before_a_second_has_passed() -> None:
    rate = ServiceRate()
    rate.count(100, 50.0)

    assert ServiceRate().per_s(50.0) is None
    assert rate.per_s(50.9) is None


def test_the_rate_falls_when_nothing_is_served() -> None:
    rate = ServiceRate(window_s=10.0)
    for second in range(60):
        rate.count(5, float(second))

    before, after = rate.per_s(60.0), rate.per_s(90.0)

    assert before is not None
    assert after is not None
    assert after < before * 0.06


def test_a_clock_that_stands_still_or_jumps_back_loses_no_events() -> None:
    rate = ServiceRate()
    for now_s in (10.0, 10.0, 5.0, 12.0):
        rate.count(1, now_s)

    assert rate.per_s(12.0) == pytest.approx(2.0, rel=0.1)
