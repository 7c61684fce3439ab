"""The system's clocks, made safe for records: wall time never runs backwards while the process lives.

When the wall clock is set back by more than a tolerance, time goes on at the pace of the monotonic clock, ahead of the
wall; when it is set forward again, that lead is given up first. Either jump is reported once. A clock set back by less
stands still until the wall has caught up.

A machine without a battery clock may start in the past: hand in the last time on record as `not_before_unix_s`.
Not covered: agreement with other machines.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

TOLERANCE_S: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJump:
    """The wall clock moved by `seconds` against the monotonic one; our time is `ahead_s` ahead of the wall since."""

    seconds: float
    ahead_s: float


def log_jump(jump: ClockJump) -> None:
    """Report a jump to the log."""
    log.warning("clock_jumped", seconds=round(jump.seconds, 3), ahead_of_wall_s=round(jump.ahead_s, 3))


class SystemClock:
    """Implements `domain.clock.Clock`; may be asked from any thread.

    Args:
        wall, monotonic: the raw clocks, seconds.
        on_jump: hears of each jump beyond `tolerance_s`.
        not_before_unix_s: time begins no earlier.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_jump: Callable[[ClockJump], None] = log_jump,
        not_before_unix_s: float = 0.0,
        tolerance_s: float = TOLERANCE_S,
    ) -> None:
        self._wall, self._monotonic, self._on_jump = wall, monotonic, on_jump
        self._tolerance_s = tolerance_s
        self._lock = threading.Lock()
        self._ahead_s = 0.0
        self._asked_at_s = monotonic()
        self._told_unix_s = max(wall(), not_before_unix_s)

    def now_unix_s(self) -> float:
        """Seconds since 1970, never less than before."""
        with self._lock:
            wall_unix_s, monotonic_s = self._wall(), self._monotonic()
            expected_unix_s = self._told_unix_s + (monotonic_s - self._asked_at_s)
            step = wall_unix_s + self._ahead_s - expected_unix_s
            if abs(step) > self._tolerance_s:
                self._ahead_s = max(0.0, self._ahead_s - step)
            self._told_unix_s = now = max(self._told_unix_s, wall_unix_s + self._ahead_s)
            self._asked_at_s = monotonic_s
            ahead_s = self._ahead_s
        if abs(step) > self._tolerance_s:
            self._on_jump(ClockJump(seconds=step, ahead_s=ahead_s))
        return now

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start, never decreasing."""
        return self._monotonic()
