"""Find the processor: its name, the cores we may use, and the vector instructions it has.

Covered: x86, ARM boards (the board's name with the cores it carries), RISC-V, and other systems by what Python knows.
Not covered: cache sizes, clock rates, cores of different speed (a big.LITTLE board counts each core as one unit).
Source: kernel documentation, arch/x86/cpuinfo and arch/arm64/elf_hwcaps.
"""

import platform
from collections.abc import Iterator
from typing import Final

from conductor.adapters.sensors.allowance import MemoryAllowance, usable_cores
from conductor.adapters.sensors.bus import device_id
from conductor.adapters.sensors.counters import counters_of
from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import Device, DeviceType

#: The kernel's flag → the capability's name.
_CAPABILITIES: Final = {
    "sse4_2": "sse4.2", "avx": "avx", "avx2": "avx2", "fma": "fma", "f16c": "f16c", "aes": "aes", "sha_ni": "sha",
    "avx512f": "avx512", "avx512_vnni": "avx512-vnni", "avx_vnni": "avx-vnni", "avx512_bf16": "bf16",
    "amx_tile": "amx", "amx_int8": "amx-int8", "amx_bf16": "amx-bf16",
    "neon": "neon", "asimd": "neon", "asimdhp": "fp16", "asimddp": "dotprod", "i8mm": "i8mm", "bf16": "bf16",
    "sve": "sve", "sve2": "sve2", "sme": "sme", "sha2": "sha",
}  # fmt: skip

#: ARM's own designs (implementer 0x41) by part number. Source: Linux arch/arm64/include/asm/cputype.h.
_ARM_CORES: Final = {
    0xC07: "Cortex-A7", 0xC0F: "Cortex-A15", 0xB76: "ARM1176", 0xD03: "Cortex-A53", 0xD04: "Cortex-A35",
    0xD05: "Cortex-A55", 0xD07: "Cortex-A57", 0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76", 0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710", 0xD49: "Neoverse-N2",
    0xD4F: "Neoverse-V2",
}  # fmt: skip


class ProcessorProbe:
    """All sockets together, as one device."""

    name = "processor"

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def find(self) -> Iterator[Device]:
        """Always exactly one device."""
        cpuinfo = _fields(self._tree.text("proc/cpuinfo") or "")
        memory = MemoryAllowance(self._tree).total_bytes(counters_of(self._tree).memory_bytes()[0])
        yield Device(
            device_id=device_id(DeviceType.CPU, "0"),
            type=DeviceType.CPU,
            name=self._name(cpuinfo),
            compute_units=usable_cores(self._tree),
            memory_bytes=memory,
            capabilities=_capabilities(cpuinfo),
            found_by=self.name,
        )

    def _name(self, cpuinfo: dict[str, list[str]]) -> str:
        board = self._tree.text("proc/device-tree/model") or ""
        cores = " + ".join(_arm_cores(cpuinfo))
        if board or cores:
            return f"{board} ({cores})" if board and cores else board or cores
        for field in ("model name", "cpu model", "uarch", "cpu"):
            if cpuinfo.get(field):
                return " ".join(cpuinfo[field][0].split())
        return platform.processor() or platform.machine() or "processor"


def _fields(cpuinfo: str) -> dict[str, list[str]]:
    """Distinct values of each field of `/proc/cpuinfo`, in order of appearance."""
    fields: dict[str, list[str]] = {}
    for line in cpuinfo.splitlines():
        name, separator, value = line.partition(":")
        values = fields.setdefault(name.strip(), [])
        if separator and value.strip() not in values:
            values.append(value.strip())
    return fields


def _arm_cores(cpuinfo: dict[str, list[str]]) -> list[str]:
    if cpuinfo.get("CPU implementer") != ["0x41"]:
        return []
    return [_ARM_CORES[int(part, 16)] for part in cpuinfo.get("CPU part", []) if int(part, 16) in _ARM_CORES]


def _capabilities(cpuinfo: dict[str, list[str]]) -> frozenset[str]:
    """Named instruction sets that every core has; cores of unequal ability are promised the least of them."""
    lists = cpuinfo.get("flags") or cpuinfo.get("Features") or []
    if not lists:
        return frozenset({"neon"} if platform.machine().lower() in ("arm64", "aarch64") else ())
    shared = set.intersection(*(set(flags.split()) for flags in lists))
    return frozenset(_CAPABILITIES[flag] for flag in shared if flag in _CAPABILITIES)
