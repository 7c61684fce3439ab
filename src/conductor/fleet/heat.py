"""Decide how much a node's temperatures speak against giving it work.

Covered: the thermal share of the routing score. Not covered: throttling work that runs, and predicting temperatures;
a node without thermometers is taken to be cool, and the remark says so.
"""

from dataclasses import dataclass
from typing import Final

from conductor.domain.node import NodeReading

CPU_LIMIT_CELSIUS: Final = 80.0
GPU_LIMIT_CELSIUS: Final = 85.0
RECOVERY_CELSIUS: Final = 75.0
THROTTLE_FACTOR: Final = 0.7
#: This far above its limit a device slows itself down or switches off; work placed there would be lost.
_DANGER_CELSIUS: Final = 15.0


@dataclass(frozen=True, slots=True)
class ThermalState:
    """A score from 0 (too hot for any work) to 1 (cool), and the reason in words."""

    score: float
    remark: str


def thermal_score(reading: NodeReading) -> float:
    """The score of `thermal_state`."""
    return thermal_state(reading).score


def thermal_state(reading: NodeReading) -> ThermalState:
    """The score of the device that is closest to its limit.

    Up to the recovery temperature a device scores 1; from there to its limit the score falls to the throttle factor,
    and from the limit on to 0 within 15 °C. Limits and factor: FEATURES G2; use: G4.
    """
    states = [
        ThermalState(_score(celsius, limit), f"{name} at {celsius:.0f} °C, limit {limit:.0f} °C")
        for name, celsius, limit in (
            ("CPU", reading.cpu_temperature_celsius, CPU_LIMIT_CELSIUS),
            ("GPU", reading.gpu_temperature_celsius, GPU_LIMIT_CELSIUS),
        )
        if celsius is not None
    ]
    return min(states, key=lambda state: state.score, default=ThermalState(1.0, "no sensor"))


def _score(celsius: float, limit: float) -> float:
    if celsius <= RECOVERY_CELSIUS:
        return 1.0
    if celsius <= limit:
        return 1.0 - (1.0 - THROTTLE_FACTOR) * (celsius - RECOVERY_CELSIUS) / (limit - RECOVERY_CELSIUS)
    return max(0.0, THROTTLE_FACTOR * (1.0 - (celsius - limit) / _DANGER_CELSIUS))
