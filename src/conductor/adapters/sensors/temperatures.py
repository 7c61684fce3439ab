"""Read every thermometer the kernel shows, and tell which of them speak of the processor and of the GPU.

Two kernel interfaces: thermal zones (`x86_pkg_temp`, `cpu-thermal`, Rockchip's `bigcore0-thermal`) and hardware
monitors (`coretemp/Package id 0`, `k10temp/Tctl`, `amdgpu/edge`). Boards name them as they like, hence the patterns.
What a temperature means for work is decided in `fleet.heat`.

Covered: x86, AMD and nouveau cards, Raspberry Pi, Rockchip, Jetson, Qualcomm; equal names; cards asleep.
Not covered: systems without `/sys`; fans; NVIDIA's own driver, which shows temperatures through NVML alone.
Source: kernel documentation, driver-api/thermal/sysfs-api and hwmon/sysfs-interface (both in millidegrees).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from conductor.adapters.sensors.bus import is_asleep
from conductor.adapters.sensors.tree import Tree

#: Anything else is a sensor that is not connected or not awake; an exact 0 is what unconnected ones answer most.
_PLAUSIBLE_CELSIUS: Final = (-40.0, 150.0)

#: Best source first: the die itself, then zones of the system on a chip, then the board's vague ACPI zone.
_PROCESSOR: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"coretemp/|(k10temp|zenpower)/Tdie|x86_pkg_temp",
        r"(k10temp|zenpower)/",
        r"cpu|bigcore|littlecore|core-\d|tj-therm",
        r"soc|package|pkg",
        r"acpitz",
    )
)
#: Cards report their hottest spot too, which may be 25 °C above the edge that limits are written for.
_GPU: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (r"(amdgpu|radeon)/edge", r"(amdgpu|radeon|nouveau|i915|xe)/", r"gpu|gfx|mali")
)


@dataclass(frozen=True, slots=True)
class _Sensor:
    name: str
    file: str
    device_folder: str


class Thermometers:
    """The thermometers found when this was made; make it anew when hardware may have changed."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._sensors = [*_zones(tree), *_monitors(tree)]

    def read(self) -> dict[str, float]:
        """Degrees Celsius by name; sensors that fail or answer nonsense are left out. Equal names become `name#2`."""
        found: dict[str, float] = {}
        for sensor in self._sensors:
            if is_asleep(self._tree, sensor.device_folder):
                continue
            millidegrees = self._tree.number(sensor.file)
            if millidegrees and _PLAUSIBLE_CELSIUS[0] <= millidegrees / 1000 <= _PLAUSIBLE_CELSIUS[1]:
                found[_unused(sensor.name, found)] = millidegrees / 1000
        return found


def processor_temperature(zones: Mapping[str, float]) -> float | None:
    """The hottest of the best kind of processor zones there is; None without one."""
    return _hottest(zones, _PROCESSOR)


def gpu_temperature(zones: Mapping[str, float]) -> float | None:
    """The hottest of the best kind of GPU zones there is; None without one."""
    return _hottest(zones, _GPU)


def _hottest(zones: Mapping[str, float], kinds: tuple[re.Pattern[str], ...]) -> float | None:
    for kind in kinds:
        matching = [celsius for name, celsius in zones.items() if kind.match(name)]
        if matching:
            return max(matching)
    return None


def _zones(tree: Tree) -> Iterator[_Sensor]:
    for zone in tree.names("sys/class/thermal", r"thermal_zone\d+$"):
        folder = f"sys/class/thermal/{zone}"
        yield _Sensor(tree.text(f"{folder}/type") or zone, f"{folder}/temp", f"{folder}/device")


def _monitors(tree: Tree) -> Iterator[_Sensor]:
    for monitor in tree.names("sys/class/hwmon", r"hwmon\d+$"):
        folder = f"sys/class/hwmon/{monitor}"
        if (tree.target(f"{folder}/device") or "").startswith("thermal_zone"):
            continue  # the same thermometer, shown a second time
        chip = tree.text(f"{folder}/name") or monitor
        for file in tree.names(folder, r"temp\d+_input$"):
            channel = file.removesuffix("_input")
            label = tree.text(f"{folder}/{channel}_label") or channel
            yield _Sensor(f"{chip}/{label}", f"{folder}/{file}", f"{folder}/device")


def _unused(name: str, taken: Mapping[str, float]) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}#{number}"
    return candidate
