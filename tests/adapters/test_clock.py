"""Wall time that never runs backwards."""

from hypothesis import given
from hypothesis import strategies as st

from conductor.adapters.clock import TOLERANCE_S, ClockJump, SystemClock


class Raw:
    """Raw clocks that a test sets."""

    def __init__(self, unix_s: float = 1_000_000.0) -> None:
        self.unix_s, self.monotonic_now_s = unix_s, 50.0

    def pass_time(self, seconds: float) -> None:
        self.unix_s += seconds
        self.monotonic_now_s += seconds


def clock(raw: Raw, jumps: list[ClockJump], not_before_unix_s: float = 0.0) -> SystemClock:
    return SystemClock(
        wall=lambda: raw.unix_s,
        monotonic=lambda: raw.monotonic_now_s,
        on_jump=jumps.append,
        not_before_unix_s=not_before_unix_s,
    )


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(-5000, 5000)), max_size=30))
def test_time_never_runs_backwards_and_never_falls_behind_the_wall(steps: list[tuple[float, float]]) -> None:
    raw, last = Raw(), 0.0
    told = clock(raw, [])
    for passed_s, jump_s in steps:
        raw.pass_time(passed_s)
        raw.unix_s += jump_s
        now = told.now_unix_s()
        assert now >= max(last, raw.unix_s)
        last = now


def test_after_a_jump_back_time_goes_on_at_its_pace_and_one_report_is_made() -> None:
    raw, jumps = Raw(), list[ClockJump]()
    told = clock(raw, jumps)
    raw.unix_s -= 3600
    assert told.now_unix_s() == 1_000_000
    for _ in range(5):
        raw.pass_time(2)
        told.now_unix_s()
    assert told.now_unix_s() == 1_000_010
    assert jumps == [ClockJump(seconds=-3600, ahead_s=3600)]


def test_a_clock_set_right_again_is_followed() -> None:
    raw, jumps = Raw(), list[ClockJump]()
    told = clock(raw, jumps)
    raw.unix_s -= 3600
    told.now_unix_s()
    raw.unix_s += 3600
    assert told.now_unix_s() == raw.unix_s
    assert [jump.ahead_s for jump in jumps] == [3600, 0]


def test_a_jump_forward_is_followed_and_reported() -> None:
    raw, jumps = Raw(), list[ClockJump]()
    told = clock(raw, jumps)
    raw.unix_s += 86_400
    assert told.now_unix_s() == raw.unix_s
    assert jumps == [ClockJump(seconds=86_400, ahead_s=0)]


def test_a_small_correction_back_stands_still_until_the_wall_has_caught_up() -> None:
    raw, jumps = Raw(), list[ClockJump]()
    told = clock(raw, jumps)
    raw.unix_s -= TOLERANCE_S / 2
    assert told.now_unix_s() == 1_000_000
    raw.pass_time(TOLERANCE_S)
    assert told.now_unix_s() == raw.unix_s == 1_000_000 + TOLERANCE_S / 2
    assert jumps == []


def test_a_machine_that_wakes_in_the_past_goes_on_from_its_records() -> None:
    raw, jumps = Raw(unix_s=0.0), list[ClockJump]()
    told = clock(raw, jumps, not_before_unix_s=1_700_000_000)
    raw.pass_time(5)
    assert told.now_unix_s() == 1_700_000_005
    raw.unix_s = 1_800_000_000  # the network told the time
    assert told.now_unix_s() == 1_800_000_000
    assert [jump.ahead_s for jump in jumps] == [1_700_000_000, 0]


def test_by_default_it_is_the_system_s_time() -> None:
    told = SystemClock()
    assert told.now_unix_s() > 1_700_000_000
    assert told.monotonic_s() <= told.monotonic_s()
