"""Measure how many tasks per second are being served, from the times at which they were.

A counter that forgets exponentially: an event `t` seconds ago weighs e^(−t / window). Costs one multiplication per
event and no memory. What the rate is used for (times to retry, times to start) is decided elsewhere.

Not covered: rates per user or level.
"""

from math import exp
from typing import Final

WINDOW_S: Final = 30.0


class ServiceRate:
    """Events per second over roughly the last `window_s` seconds; times are handed in and may stand still."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._weight = 0.0
        self._began_at_s: float | None = None
        self._counted_at_s = 0.0

    def count(self, events: int, now_s: float) -> None:
        """Note that `events` happened at `now_s`."""
        if self._began_at_s is None:
            self._began_at_s = self._counted_at_s = now_s
        elif now_s > self._counted_at_s:
            self._weight *= exp((self._counted_at_s - now_s) / self._window_s)
            self._counted_at_s = now_s
        self._weight += events

    def per_s(self, now_s: float) -> float | None:
        """The rate, or None before a second has been observed.

        The weight of a steady rate r that began T seconds ago is r · window · (1 − e^(−T / window)); dividing by that
        makes the first seconds count fully.
        """
        if self._began_at_s is None or now_s - self._began_at_s < 1.0:
            return None
        weight = self._weight * exp(min(0.0, self._counted_at_s - now_s) / self._window_s)
        return weight / (self._window_s * (1.0 - exp((self._began_at_s - now_s) / self._window_s)))
