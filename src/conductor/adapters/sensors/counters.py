"""The machine's running totals: processor time, memory, network bytes, load.

Two sources behind one shape: the kernel's own files where there are any (they can be recorded and read again from
another root), psutil on every other system. Turning totals into rates is `machine`'s.

Covered: Linux; macOS and Windows through psutil. Not covered: single cores, single interfaces.
"""

from dataclasses import dataclass
from typing import Protocol

import psutil

from conductor.adapters.sensors.tree import Tree
from conductor.domain.units import KIB

#: Columns of `cpu` in /proc/stat: user nice system idle iowait irq softirq steal; guest time is within user.
_COLUMNS = 8
_IDLE, _IOWAIT = 3, 4


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Processor time since the start, in any unit: spent working, and in all."""

    busy: float
    total: float


class Counters(Protocol):
    """Totals since the machine started."""

    def processor_time(self) -> ProcessorTime:
        """Over all cores; waiting for a disk is not work."""
        ...

    def network_bytes(self) -> int:
        """Received and sent over all interfaces that lead out of the machine."""
        ...

    def memory_bytes(self) -> tuple[int, int]:
        """Memory in all, and what can be had without swapping."""
        ...

    def load_average_1m(self) -> float:
        """Runnable processes, averaged over a minute."""
        ...


class LinuxCounters:
    """Totals from `/proc`."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def processor_time(self) -> ProcessorTime:
        """See `Counters`."""
        first = (self._tree.text("proc/stat") or "").partition("\n")[0].split()
        ticks = [float(tick) for tick in first[1 : _COLUMNS + 1] if tick.isdecimal()]
        if len(ticks) <= _IOWAIT:
            return ProcessorTime(0.0, 0.0)
        return ProcessorTime(sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT], sum(ticks))

    def network_bytes(self) -> int:
        """See `Counters`. Bridges carry bytes that a card carries too, so cards alone count where there are any."""
        totals: dict[str, int] = {}
        for line in (self._tree.text("proc/net/dev") or "").splitlines():
            name, separator, numbers = line.partition(":")
            columns = numbers.split()
            if separator and len(columns) > 8 and name.strip() != "lo":
                totals[name.strip()] = int(columns[0]) + int(columns[8])
        cards = {name: total for name, total in totals.items() if self._tree.exists(f"sys/class/net/{name}/device")}
        return sum((cards or totals).values())

    def memory_bytes(self) -> tuple[int, int]:
        """See `Counters`."""
        fields: dict[str, int] = {}
        for line in (self._tree.text("proc/meminfo") or "").splitlines():
            name, _, rest = line.partition(":")
            number = rest.split()[0] if rest.split() else ""
            fields[name] = int(number) * KIB if number.isdecimal() else 0
        return fields.get("MemTotal", 0), fields.get("MemAvailable", fields.get("MemFree", 0))

    def load_average_1m(self) -> float:
        """See `Counters`."""
        try:
            return float((self._tree.text("proc/loadavg") or "").split()[0])
        except (IndexError, ValueError):
            return 0.0


class PortableCounters:
    """Totals from psutil, where there is no `/proc`."""

    def processor_time(self) -> ProcessorTime:
        """See `Counters`."""
        times = psutil.cpu_times()
        total = float(sum(times[:_COLUMNS]))
        return ProcessorTime(total - times.idle - getattr(times, "iowait", 0.0), total)

    def network_bytes(self) -> int:
        """See `Counters`."""
        interfaces = psutil.net_io_counters(pernic=True)
        return sum(c.bytes_recv + c.bytes_sent for name, c in interfaces.items() if not name.startswith("lo"))

    def memory_bytes(self) -> tuple[int, int]:
        """See `Counters`."""
        memory = psutil.virtual_memory()
        return memory.total, memory.available

    def load_average_1m(self) -> float:
        """See `Counters`."""
        return psutil.getloadavg()[0]


def counters_of(tree: Tree) -> Counters:
    """The kernel's files where there are any, else psutil."""
    return LinuxCounters(tree) if tree.exists("proc/stat") else PortableCounters()
