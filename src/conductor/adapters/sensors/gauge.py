"""What a GPU says about itself while it works.

A probe that also offers `measure` is read every second by `machine.LocalMachine`; this is how a third party's probe
brings its own readings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One GPU now; None where it has no such sensor or sleeps. Utilisation is 0–1."""

    temperature_celsius: float | None = None
    utilisation: float | None = None
    free_memory_bytes: int | None = None


@runtime_checkable
class GpuGauge(Protocol):
    """Reads the GPUs of one interface."""

    def measure(self) -> Sequence[GpuReading]:
        """One reading for each GPU, within a few milliseconds; never raises for a failing sensor."""
        ...
