"""Name and address devices the way the kernel's buses do, so that every interface gives one device one id.

A device id is `<type>:<address>`; the address is `0000:01:00.0` on PCI and the kernel's own name elsewhere. What two
ids mean for one inventory is decided in `fleet.inventory`.

Covered: PCI addresses in the spellings of sysfs, NVML and OpenCL; names from the system's `pci.ids`; platform devices.
Not covered: names of devices when no `pci.ids` is installed (vendor and number are given instead).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import DeviceType

VENDORS: Final = {
    0x8086: "Intel",
    0x1002: "AMD",
    0x1022: "AMD",
    0x10DE: "NVIDIA",
    0x1D17: "Zhaoxin",
    0x1EB1: "Innosilicon",
}
_PCI_IDS: Final = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids", "var/lib/pciutils/pci.ids")


def device_id(device_type: DeviceType, address: str) -> str:
    """`GPU`, `0000:01:00.0` → `gpu:0000:01:00.0`."""
    return f"{device_type.lower()}:{address}"


def pci_address(*, domain: int = 0, bus: int, slot: int, function: int = 0) -> str:
    """Write an address as sysfs does."""
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def parse_pci_address(text: str) -> str | None:
    """Read `00000000:01:00.0` (NVML) or `0000:01:00.0` (sysfs) as sysfs writes it; None when it is neither."""
    try:
        domain, bus, rest = text.split(":")
        slot, function = rest.split(".")
        return pci_address(domain=int(domain, 16), bus=int(bus, 16), slot=int(slot, 16), function=int(function, 16))
    except ValueError:
        return None


def pci_name(tree: Tree, vendor: int, device: int, *, kind: str) -> str:
    """A PCI device's name from the system's `pci.ids`, else `Intel GPU 0x46a6`.

    Source: the format described at the head of https://pci-ids.ucw.cz (vendors flush left, devices after one tab).
    """
    brand = VENDORS.get(vendor, f"0x{vendor:04x}")
    listed = next((name for path in _PCI_IDS if (name := _look_up(tree, path, vendor, device))), None)
    return f"{brand} {listed}" if listed else f"{brand} {kind} 0x{device:04x}"


def _look_up(tree: Tree, path: str, vendor: int, device: int) -> str | None:
    try:
        with tree.path(path).open(encoding="utf-8", errors="replace") as lines:
            inside = False
            for line in lines:
                if not line.startswith(("\t", "#")):
                    if inside:
                        return None
                    inside = line.startswith(f"{vendor:04x} ")
                elif inside and line.startswith(f"\t{device:04x} "):
                    return line[6:].strip()
    except OSError:
        pass
    return None


@dataclass(frozen=True, slots=True)
class PlatformDevice:
    """A device of a system on a chip that a driver has taken: `fdab0000.npu` has the role `npu`."""

    name: str
    role: str
    driver: str


def platform_devices(tree: Tree) -> Iterator[PlatformDevice]:
    """Platform devices that a driver is bound to; others are described by the firmware, but nobody can use them."""
    for name in tree.names("sys/bus/platform/devices", r".*\."):
        driver = tree.target(f"sys/bus/platform/devices/{name}/driver")
        if driver is not None:
            yield PlatformDevice(name, name.partition(".")[2], driver)


def is_asleep(tree: Tree, device_folder: str) -> bool:
    """Whether the kernel has suspended a device to save power; asking its driver anything would wake it."""
    return tree.text(f"{device_folder}/power/runtime_status") in ("suspended", "suspending")
