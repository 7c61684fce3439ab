"""Find image signal processors: hardware that turns raw sensor data into pictures.

Covered: V4L2 and media devices of Raspberry Pi, Rockchip, Intel IPU3, Qualcomm, Amlogic, Arm, Allwinner, Samsung;
Intel IPU6 and later on the PCI bus; Jetson. Not covered: processing inside a camera; what sensors are attached.
"""

import re
from collections.abc import Iterator
from typing import Final

from conductor.adapters.sensors.bus import device_id, parse_pci_address, platform_devices
from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import Device, DeviceType

_V4L2_FAMILIES: Final = (
    (re.compile(r"bcm2835-(codec-)?isp"), "bcm2835-isp", "Broadcom VideoCore ISP"),
    (re.compile(r"pispbe"), "pispbe", "Raspberry Pi PiSP back end"),
    (re.compile(r"rkisp"), "rkisp", "Rockchip ISP"),
    (re.compile(r"ipu3-imgu"), "ipu3-imgu", "Intel IPU3 imaging unit"),
    (re.compile(r"msm_vfe|qcom-camss"), "qcom-camss", "Qualcomm camera subsystem"),
    (re.compile(r"c3-isp"), "c3-isp", "Amlogic C3 ISP"),
    (re.compile(r"mali-c55"), "mali-c55", "Arm Mali-C55 ISP"),
    (re.compile(r"sun6i-isp"), "sun6i-isp", "Allwinner ISP"),
    (re.compile(r"fimc-is"), "fimc-is", "Samsung FIMC-IS"),
)
_PCI_DRIVERS: Final = {"intel-ipu6": "Intel IPU6", "intel-ipu7": "Intel IPU7", "amd_isp": "AMD ISP"}


class IspProbe:
    """Image signal processors of boards and laptops."""

    name = "isp"

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def find(self) -> Iterator[Device]:
        """One device for each processor family; its many video nodes are its inputs and outputs."""
        families: dict[str, str] = {}
        for node in self._tree.names("sys/class/video4linux", r"(video|v4l-subdev)\d+$"):
            name = self._tree.text(f"sys/class/video4linux/{node}/name") or ""
            families.update({key: title for pattern, key, title in _V4L2_FAMILIES if pattern.match(name)})
        for key, title in families.items():
            yield self._device(key, title, key)
        for driver, title in _PCI_DRIVERS.items():
            for address in filter(parse_pci_address, self._tree.names(f"sys/bus/pci/drivers/{driver}", r"\d")):
                yield self._device(address, title, driver)
        for device in platform_devices(self._tree):
            if re.fullmatch(r"isp\d*", device.role) and device.driver.startswith(("tegra", "nvhost", "isp")):
                yield self._device(device.name, "NVIDIA Tegra ISP", "tegra-isp")

    def _device(self, address: str, title: str, capability: str) -> Device:
        return Device(
            device_id=device_id(DeviceType.ISP, address),
            type=DeviceType.ISP,
            name=title,
            compute_units=1,
            capabilities=frozenset({capability}),
            found_by=self.name,
        )
