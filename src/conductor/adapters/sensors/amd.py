"""Find AMD cards that can compute (ROCm) through the kernel's compute topology, and read every card of `amdgpu`.

Covered: compute units, memory, the `gfx` target, several cards; utilisation and free memory while awake.
Not covered: cards without the compute driver (`drm` finds those); partitions of an MI300.
Source: kernel documentation, gpu/amdgpu/driver-misc (sysfs); amdkfd, kfd_topology.c (properties).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from conductor.adapters.sensors.bus import device_id, is_asleep, pci_address, pci_name
from conductor.adapters.sensors.gauge import GpuReading
from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import Device, DeviceType

_TOPOLOGY: Final = "sys/class/kfd/kfd/topology/nodes"
#: Heap types of memory banks that lie on the card, visible to the processor or not.
_ON_CARD: Final = (1, 2)


class AmdProbe:
    """The compute topology, and the counters of `amdgpu`."""

    name = "kfd"

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def find(self) -> Iterator[Device]:
        """One device for each topology node with vector units; processors are nodes too, but have none."""
        for node in self._tree.names(_TOPOLOGY, r"\d+$"):
            properties = self._tree.table(f"{_TOPOLOGY}/{node}/properties")
            if properties.get("simd_count", 0) > 0:
                yield self._gpu(f"{_TOPOLOGY}/{node}", properties)

    def measure(self) -> Sequence[GpuReading]:
        """One reading for each card that `amdgpu` drives; temperatures are among the hardware monitors."""
        cards = (f"sys/class/drm/{card}/device" for card in self._tree.names("sys/class/drm", r"card\d+$"))
        return [self._measure(card) for card in cards if self._tree.target(f"{card}/driver") == "amdgpu"]

    def _gpu(self, folder: str, properties: Mapping[str, int]) -> Device:
        target = _gfx_target(properties.get("gfx_target_version", 0))
        vendor, device = properties.get("vendor_id", 0x1002), properties.get("device_id", 0)
        location = properties.get("location_id", 0)
        address = pci_address(
            domain=properties.get("domain", 0),
            bus=location >> 8 & 0xFF,
            slot=location >> 3 & 0x1F,
            function=location & 7,
        )
        return Device(
            device_id=device_id(DeviceType.GPU, address),
            type=DeviceType.GPU,
            name=pci_name(self._tree, vendor, device, kind="GPU"),
            compute_units=max(1, properties["simd_count"] // max(1, properties.get("simd_per_cu", 4))),
            memory_bytes=self._memory_bytes(folder),
            capabilities=frozenset({"rocm", target} - {""}),
            found_by=self.name,
        )

    def _memory_bytes(self, folder: str) -> int:
        banks = (
            self._tree.table(f"{folder}/mem_banks/{bank}/properties")
            for bank in self._tree.names(f"{folder}/mem_banks", r"\d+$")
        )
        return sum(bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") in _ON_CARD)

    def _measure(self, card: str) -> GpuReading:
        if is_asleep(self._tree, card):
            return GpuReading()
        busy = self._tree.number(f"{card}/gpu_busy_percent")
        total = self._tree.number(f"{card}/mem_info_vram_total")
        used = self._tree.number(f"{card}/mem_info_vram_used")
        return GpuReading(
            utilisation=busy / 100 if busy is not None else None,
            free_memory_bytes=max(0, total - used) if total is not None and used is not None else None,
        )


def _gfx_target(version: int) -> str:
    """`110000` → `gfx1100`, `90010` → `gfx90a`: major in decimal, minor and stepping in hexadecimal."""
    if version <= 0:
        return ""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
