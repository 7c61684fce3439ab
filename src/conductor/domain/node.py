"""Nodes: machines that do work, and what they say about themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from conductor.domain.device import Device, DeviceType

NodeId = NewType("NodeId", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One mounted file system that work may use."""

    mount_point: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine and the devices it has; changes only when its hardware does."""

    node_id: NodeId
    hostname: str
    architecture: str
    operating_system: str
    logical_cores: int
    memory_bytes: int
    devices: tuple[Device, ...]
    disks: tuple[Disk, ...] = ()

    def device_types(self) -> frozenset[DeviceType]:
        """The kinds of device this node has at least one of."""
        return frozenset(device.type for device in self.devices)

    def compute_units(self, device_type: DeviceType) -> int:
        """Compute units over all devices of one type."""
        return sum(device.compute_units for device in self.devices if device.type is device_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReading:
    """What one node measured about itself at one instant; None where it has no such sensor."""

    node_id: NodeId
    taken_at_unix_s: float
    cpu_utilisation: float
    free_memory_bytes: int
    free_disk_bytes: int
    load_average_1m: float
    cpu_temperature_celsius: float | None = None
    gpu_temperature_celsius: float | None = None
    gpu_utilisation: float | None = None
    free_vram_bytes: int | None = None
    network_bytes_per_s: float = 0.0
    zone_temperatures_celsius: Mapping[str, float] = field(default_factory=dict)

    def age_s(self, now_unix_s: float) -> float:
        """How old this news is; old news counts as silence."""
        return now_unix_s - self.taken_at_unix_s
