"""Find neural processing units by what the kernel shows without opening a device.

Four places: the kernel's accelerator class (Intel, AMD, Habana, Qualcomm Cloud AI, mainline Rockchip), platform devices
of vendor kernels (Rockchip `RKNPU`, Vivante `galcore`, Jetson's `nvdla`), classes of vendor drivers (Coral, Hailo), and
Qualcomm's compute DSP, which runs networks.

Covered: those. Not covered: the runtime that a network needs on each of them; Apple's; TOPS, which no kernel tells.
"""

import re
from collections.abc import Iterator
from typing import Final

from conductor.adapters.sensors.bus import device_id, parse_pci_address, pci_name, platform_devices
from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import Device, DeviceType

_ACCEL_DRIVERS: Final = {
    "intel_vpu": "Intel NPU", "amdxdna": "AMD XDNA NPU", "habanalabs": "Habana accelerator",
    "qaic": "Qualcomm Cloud AI", "rocket": "Rockchip NPU", "ethosu": "Arm Ethos-U NPU",
}  # fmt: skip
#: `galcore` drives Vivante's GPUs as well; only these roles are NPUs (NXP i.MX 8M Plus, Amlogic A311D).
_PLATFORM: Final = (
    (re.compile(r"npu"), "RKNPU", "Rockchip NPU"),
    (re.compile(r"npu|vipsi|.*vip"), "galcore", "Vivante NPU"),
    (re.compile(r"nvdla"), "", "NVIDIA deep learning accelerator"),
)
_VENDOR_CLASSES: Final = (
    ("apex", r"apex_\d+$", "Google Coral Edge TPU", "edgetpu"),
    ("hailo_chardev", r"hailo\d+$", "Hailo", "hailo"),
    ("habanalabs", r"hl\d+$", "Habana accelerator", "habanalabs"),
)
_CORAL_USB: Final = {("1a6e", "089a"), ("18d1", "9302")}  # before and after its firmware is loaded
_HEXAGON: Final = ("dev/fastrpc-cdsp", "dev/fastrpc-cdsp-secure")


class NpuProbe:
    """Neural processing units of laptops, boards and plug-in modules."""

    name = "npu"

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def find(self) -> Iterator[Device]:
        """Every NPU; the same one seen in two classes has one id."""
        yield from self._accelerators()
        for device in platform_devices(self._tree):
            for roles, driver, title in _PLATFORM:
                if roles.match(device.role) and driver in ("", device.driver):
                    yield self._device(device.name, title, (driver or "nvdla").lower())
        yield from self._vendor_classes()
        yield from self._coral_usb()
        if any(self._tree.exists(node) for node in _HEXAGON):
            yield self._device("cdsp", "Qualcomm Hexagon (compute)", "fastrpc")

    def _accelerators(self) -> Iterator[Device]:
        for node in self._tree.names("sys/class/accel", r"accel\d+$"):
            folder = f"sys/class/accel/{node}/device"
            driver = self._tree.target(f"{folder}/driver") or "accel"
            yield self._device(self._tree.target(folder) or node, self._name(folder, driver), driver.lower())

    def _name(self, folder: str, driver: str) -> str:
        known = _ACCEL_DRIVERS.get(driver)
        vendor, device = self._tree.number(f"{folder}/vendor"), self._tree.number(f"{folder}/device")
        if known is None and vendor is not None and device is not None:
            return pci_name(self._tree, vendor, device, kind="accelerator")
        return known or f"accelerator ({driver})"

    def _vendor_classes(self) -> Iterator[Device]:
        for folder, pattern, title, capability in _VENDOR_CLASSES:
            for node in self._tree.names(f"sys/class/{folder}", pattern):
                place = f"sys/class/{folder}/{node}"
                # Hailo's class device has no link to the card, but says where it sits.
                address = self._tree.text(f"{place}/board_location") or self._tree.target(f"{place}/device") or node
                yield self._device(parse_pci_address(address) or address, title, capability)

    def _coral_usb(self) -> Iterator[Device]:
        for port in self._tree.names("sys/bus/usb/devices", r"\d"):
            ids = tuple(self._tree.text(f"sys/bus/usb/devices/{port}/{part}") for part in ("idVendor", "idProduct"))
            if ids in _CORAL_USB:
                yield self._device(f"usb.{port}", "Google Coral Edge TPU (USB)", "edgetpu")

    def _device(self, address: str, title: str, capability: str) -> Device:
        return Device(
            device_id=device_id(DeviceType.NPU, address),
            type=DeviceType.NPU,
            name=title,
            compute_units=1,
            capabilities=frozenset({capability}),
            found_by=self.name,
        )
