"""Decide which findings are one physical device, and what is then said of it.

NVML, the kernel and OpenCL may all show the same card. Findings with equal ids are one device. OpenCL often does not
know a card's address; its finding then is the device of the same brand whose name shares most words with it, or the
only one there is.

Covered: any number of sources in any order, twin cards. Not covered: a card that two sources give different addresses
(it is listed twice); what a device can do.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from conductor.domain.device import Device, DeviceType

_ON_PCI: Final = re.compile(r":[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
#: Whose name people recognise, best first. OpenCL calls an AMD card `gfx1100` and a processor `pthread-…`; the kernel
#: knows a GPU on a chip by its driver only, so there OpenCL's name (`Mali-G610`) is the better one.
_NAMING: Final = ("nvml", "processor", "kfd", "drm on pci", "", "opencl", "drm", "nvgpu")
_BRANDS: Final = frozenset({"intel", "amd", "nvidia", "mali", "adreno", "broadcom"})
_FILLERS: Final = frozenset({"r", "tm", "c", "gpu", "graphics", "corporation", "inc", "device"})
_TYPE_ORDER: Final = tuple(DeviceType)


def merge_devices(findings: Iterable[Device]) -> tuple[Device, ...]:
    """One device for each physical one and role, ordered by type and id.

    Compute units are OpenCL's where it sees the device, else the most that any source counts; a processor never has
    more than the cores this process may use, which is what `found_by == "processor"` counts. Memory is the most that
    any source tells, capabilities are those of all, `found_by` joins the sources with ` + `.
    """
    by_source: dict[str, list[Device]] = {}
    for device in findings:
        by_source.setdefault(device.found_by, []).append(device)
    groups: list[list[Device]] = []
    for devices in by_source.values():
        _assign(devices, groups)
    merged = (_combine(group) for group in groups)
    return tuple(sorted(merged, key=lambda device: (_TYPE_ORDER.index(device.type), device.device_id)))


def _assign(devices: Sequence[Device], groups: list[list[Device]]) -> None:
    """Put each device of one source into the group it belongs to, or into a new one; equal ids go first."""
    taken = [group for group in groups if any(group[0].device_id == device.device_id for device in devices)]
    for device in devices:
        free = [group for group in groups if not any(group is other for other in taken)]
        home = next((group for group in groups if group[0].device_id == device.device_id), None)
        home = home if home is not None else _likely_home(device, devices, free)
        if home is None:
            groups.append(home := [])
        # An address leads the group: its id becomes the device's, and the next source is compared with it.
        leads = home and _has_address(device) and not _has_address(home[0])
        home.insert(0 if leads else len(home), device)
        taken.append(home)


def _likely_home(device: Device, peers: Sequence[Device], groups: Sequence[list[Device]]) -> list[Device] | None:
    """The group that a finding with another id most likely belongs to; twins are taken in order."""
    # Two video engines of the kernel are two engines: only processors and GPUs are shown by several interfaces.
    if device.type not in (DeviceType.CPU, DeviceType.GPU):
        return None
    candidates = [group for group in groups if group[0].type is device.type and _may_be_one(device, group)]
    best = max(candidates, key=lambda group: _likeness(device, group), default=None)
    if best is None or _likeness(device, best) > 0:
        return best
    alone = sum(peer.type is device.type for peer in peers) == 1
    return best if alone and len(candidates) == 1 else None


def _may_be_one(device: Device, group: Sequence[Device]) -> bool:
    """Whether nothing speaks against it: two different addresses, or two different brands."""
    if _has_address(device) and _has_address(group[0]):
        return False
    brands = _words(device.name) & _BRANDS
    others = {word for member in group for word in _words(member.name) & _BRANDS}
    return not (brands and others) or bool(brands & others)


def _likeness(device: Device, group: Sequence[Device]) -> int:
    return max(len(_words(device.name) & _words(member.name)) for member in group)


def _has_address(device: Device) -> bool:
    return _ON_PCI.search(device.device_id) is not None


def _words(name: str) -> set[str]:
    """The words of a name that tell devices apart: `Intel(R) Iris(R) Xe Graphics` → intel, iris, xe."""
    return set(re.findall(r"[a-z0-9]+", name.lower())) - _FILLERS


def _combine(group: Sequence[Device]) -> Device:
    return replace(
        min(group, key=_naming_rank),
        device_id=group[0].device_id,
        compute_units=_compute_units(group),
        memory_bytes=max(device.memory_bytes for device in group),
        capabilities=frozenset[str]().union(*(device.capabilities for device in group)),
        found_by=" + ".join(dict.fromkeys(device.found_by for device in group)),
    )


def _naming_rank(device: Device) -> int:
    source = device.found_by.partition(" ")[0]
    if source == "drm" and _has_address(device):
        source = "drm on pci"
    return _NAMING.index(source if source in _NAMING else "")


def _compute_units(group: Sequence[Device]) -> int:
    counted = [device.compute_units for device in group if device.found_by.startswith("opencl")]
    units = max(counted or [device.compute_units for device in group])
    allowed = [device.compute_units for device in group if device.found_by == "processor"]
    return min([units, *allowed])
