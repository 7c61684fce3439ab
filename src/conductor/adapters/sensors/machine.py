"""The machine this process runs on: described once, read every second.

Gathers what the probes find and what the sensors say into the domain's `Node` and `NodeReading`. Which findings are
one physical device is decided in `fleet.inventory` and handed in; who listens to readings is the roster's business.

Covered: Linux in full (bare, in containers, on boards); macOS and Windows through psutil, without temperatures.
Not covered: energy use, single cores and single cards (a reading has one figure for each kind).
"""

import platform
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypedDict

import structlog

from conductor.adapters.sensors.allowance import MemoryAllowance, usable_cores
from conductor.adapters.sensors.counters import ProcessorTime, counters_of
from conductor.adapters.sensors.filesystems import disks, free_bytes
from conductor.adapters.sensors.gauge import GpuGauge, GpuReading
from conductor.adapters.sensors.temperatures import Thermometers, gpu_temperature, processor_temperature
from conductor.adapters.sensors.tree import Tree
from conductor.domain.clock import Clock
from conductor.domain.device import Device
from conductor.domain.node import Node, NodeId, NodeReading
from conductor.fleet.ports import DeviceProbe

log = structlog.get_logger(__name__)

#: One name for each architecture, whatever the system calls it.
ARCHITECTURES: Final = {
    "amd64": "x86_64", "x64": "x86_64", "x86-64": "x86_64",
    "aarch64": "arm64", "armv8l": "arm64", "armv7l": "armv7", "armv6l": "armv6",
    "i386": "x86", "i686": "x86", "ppc64le": "ppc64le", "riscv64": "riscv64",
}  # fmt: skip

#: Kernel counters tick every 10 ms; a rate over less than this is noise, so the last one stands.
_SHORTEST_INTERVAL_S: Final = 0.05


class LocalMachine:
    """This machine, as `fleet.ports.Machine`.

    Args:
        node_id: the identity kept on disk.
        clock: wall time for readings, monotonic time for rates.
        probes: asked in order; those that also offer `measure` (`gauge.GpuGauge`) are read with every reading.
        unify: `fleet.inventory.merge_devices`, or another rule for findings of several interfaces.
        data_folder: the folder whose file system must not fill up.
        root: the file tree to read; `/` on a live machine.
    """

    def __init__(
        self,
        *,
        node_id: NodeId,
        clock: Clock,
        probes: Iterable[DeviceProbe],
        unify: Callable[[Iterable[Device]], Sequence[Device]],
        data_folder: Path,
        root: Path = Path("/"),
    ) -> None:
        self._node_id, self._clock, self._unify, self._data_folder = node_id, clock, unify, data_folder
        self._probes = tuple(probes)
        self._gauges = self._all_gauges()
        self._tree = Tree(root)
        self._counters = counters_of(self._tree)
        self._memory = MemoryAllowance(self._tree)
        self._thermometers = Thermometers(self._tree)
        self._totals = self._take_totals()
        self._utilisation = self._network_bytes_per_s = 0.0

    def describe(self) -> Node:
        """Hardware as found now. Loads vendor libraries, so it may take seconds."""
        self._thermometers, self._gauges = Thermometers(self._tree), self._all_gauges()
        return Node(
            node_id=self._node_id,
            hostname=self._tree.text("proc/sys/kernel/hostname") or socket.gethostname(),
            architecture=architecture(self._tree.text("proc/sys/kernel/arch") or platform.machine()),
            operating_system=operating_system(self._tree),
            logical_cores=usable_cores(self._tree),
            memory_bytes=self._memory.total_bytes(self._counters.memory_bytes()[0]),
            devices=tuple(self._unify(self._find_devices())),
            disks=disks(self._tree),
        )

    def _find_devices(self) -> list[Device]:
        found: list[Device] = []
        for probe in self._probes:
            try:
                found += probe.find()
            except Exception:
                # Probes are plugged in by strangers and call vendors' libraries: one that fails must not cost the
                # machine its other devices, but the owner must be able to see why his card is missing.
                log.warning("fleet.probe_failed", probe=probe.name, exc_info=True)
        return found

    def read(self) -> NodeReading:
        """One reading, in a few milliseconds. Rates are taken since the last one."""
        self._update_rates()
        zones = self._thermometers.read()
        gpus = self._measure_gpus()
        return NodeReading(
            node_id=self._node_id,
            taken_at_unix_s=self._clock.now_unix_s(),
            cpu_utilisation=self._utilisation,
            free_memory_bytes=self._memory.free_bytes(self._counters.memory_bytes()[1]),
            free_disk_bytes=free_bytes(str(self._data_folder)) or 0,
            load_average_1m=self._counters.load_average_1m(),
            cpu_temperature_celsius=processor_temperature(zones),
            network_bytes_per_s=self._network_bytes_per_s,
            zone_temperatures_celsius=zones,
            **_gpu_figures(gpus, zones),
        )

    def _all_gauges(self) -> list[GpuGauge]:
        return [probe for probe in self._probes if isinstance(probe, GpuGauge)]

    def _measure_gpus(self) -> list[GpuReading]:
        readings: list[GpuReading] = []
        for gauge in tuple(self._gauges):
            try:
                readings += gauge.measure()
            except Exception:
                # As in `_find_devices`; it is left out until the next description, or the log would fill every second.
                log.warning("fleet.gauge_failed", gauge=type(gauge).__name__, exc_info=True)
                self._gauges.remove(gauge)
        return readings

    def _take_totals(self) -> tuple[float, ProcessorTime, int]:
        return self._clock.monotonic_s(), self._counters.processor_time(), self._counters.network_bytes()

    def _update_rates(self) -> None:
        """Rates since the last totals; counters that ran backwards (a card was taken out) give 0."""
        then, worked, sent = self._totals
        if self._clock.monotonic_s() - then < _SHORTEST_INTERVAL_S:
            return
        now, working, sending = self._totals = self._take_totals()
        spent = working.total - worked.total
        self._utilisation = min(1.0, max(0.0, (working.busy - worked.busy) / spent)) if spent > 0 else 0.0
        self._network_bytes_per_s = max(0, sending - sent) / (now - then)


class _GpuFigures(TypedDict):
    gpu_temperature_celsius: float | None
    gpu_utilisation: float | None
    free_vram_bytes: int | None


def _gpu_figures(gpus: Sequence[GpuReading], zones: Mapping[str, float]) -> _GpuFigures:
    """One figure for all cards: the hottest, the mean utilisation, the memory free on all together."""
    temperatures = [gpu.temperature_celsius for gpu in gpus if gpu.temperature_celsius is not None]
    zone = gpu_temperature(zones)
    utilisations = [gpu.utilisation for gpu in gpus if gpu.utilisation is not None]
    memories = [gpu.free_memory_bytes for gpu in gpus if gpu.free_memory_bytes is not None]
    return {
        "gpu_temperature_celsius": max([*temperatures, *([] if zone is None else [zone])], default=None),
        "gpu_utilisation": sum(utilisations) / len(utilisations) if utilisations else None,
        "free_vram_bytes": sum(memories) if memories else None,
    }


def architecture(machine: str) -> str:
    """`aarch64` → `arm64`, `AMD64` → `x86_64`; what is not known stays as it is, in lower case."""
    return ARCHITECTURES.get(machine.lower(), machine.lower())


def operating_system(tree: Tree) -> str:
    """`Debian GNU/Linux 12 (bookworm), Linux 6.12.8`; the system's own words elsewhere."""
    kernel = f"{platform.system()} {platform.release()}"
    release = tree.text("proc/sys/kernel/osrelease")
    if release is not None:
        kernel = f"Linux {release}"
    for line in (tree.text("etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return f"{line.partition('=')[2].strip(chr(34) + chr(39))}, {kernel}"
    return kernel
