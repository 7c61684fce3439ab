"""Time as something handed in, so that rules can be tested without waiting."""

from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for intervals. Wall time may jump; monotonic time never does."""

    def now_unix_s(self) -> float:
        """Seconds since 1970, as the machine believes."""
        ...

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start, never decreasing."""
        ...
