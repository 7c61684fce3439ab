"""Find hardware that encodes or decodes video, by what the kernel shows without opening a device.

Three interfaces: memory-to-memory devices of V4L2 (most boards), engines of a system on a chip that their vendor's own
library drives (Rockchip MPP, Jetson), and the media engines of Intel's and AMD's GPUs behind VA-API. NVIDIA's cards
are asked by `nvidia`. One device for each engine family; `encode` and `decode` among its capabilities tell which.

Covered: Raspberry Pi, Rockchip, Allwinner, Amlogic, MediaTek, NXP, Qualcomm, Jetson, Intel, AMD.
Not covered: codecs and sizes an engine can do; the engine of a GPU is listed even when no VA-API driver is installed,
but then without `vaapi`.
"""

import re
from collections.abc import Iterator
from typing import Final

from conductor.adapters.sensors.bus import device_id, platform_devices
from conductor.adapters.sensors.drm import render_nodes
from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import Device, DeviceType

#: Names of V4L2 devices → engine family. Cameras have V4L2 devices too, hence a list of what is known.
_V4L2_FAMILIES: Final = (
    (re.compile(r"bcm2835-codec-(en|de)code"), "bcm2835-codec", "Broadcom VideoCore codec"),
    (re.compile(r"rpivid|rpi-hevc-dec"), "rpi-hevc-dec", "Raspberry Pi HEVC decoder"),
    (re.compile(r"rkvenc|rkvdec|rockchip,.*(vpu|enc|dec)"), "rockchip-vpu", "Rockchip video engine"),
    (re.compile(r"hantro|.*-(vpu|g1|g2|h1)-(enc|dec)"), "hantro", "Hantro video engine"),
    (re.compile(r"cedrus"), "cedrus", "Allwinner Cedrus decoder"),
    (re.compile(r"meson-(video-decoder|vdec)"), "meson-vdec", "Amlogic video decoder"),
    (re.compile(r"mtk-(vcodec|jpeg)"), "mtk-vcodec", "MediaTek video engine"),
    (re.compile(r"(coda|wave5|amphion|vpu)[-_ ]"), "nxp-vpu", "Chips&Media video engine"),
    (re.compile(r"(qcom[-_ ])?(venus|iris)|Qualcomm (Venus|Iris)", re.IGNORECASE), "venus", "Qualcomm video engine"),
    (re.compile(r"s5p-mfc"), "s5p-mfc", "Samsung MFC"),
)
_ENCODES: Final = re.compile(r"enc", re.IGNORECASE)
_DECODES: Final = re.compile(r"dec", re.IGNORECASE)

_VA_DRIVERS: Final = {
    "i915": ("iHD", "i965"), "xe": ("iHD",), "amdgpu": ("radeonsi",), "radeon": ("r600", "radeonsi"),
}  # fmt: skip
_VA_ENGINES: Final = {"i915": ("Intel Quick Sync", "qsv"), "xe": ("Intel Quick Sync", "qsv")}


class VideoProbe:
    """Video engines of boards and GPUs."""

    name = "video"

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def find(self) -> Iterator[Device]:
        """One device for each engine family."""
        yield from self._v4l2()
        yield from self._vendor("rockchip-mpp", "Rockchip video engine", r"rk(v|jp)|v[ed]pu|jpeg|av1d", "mpp_")
        yield from self._vendor("nvenc", "NVIDIA Tegra video engine", r"nv(enc|dec|jpg)\d*$|msenc", "")
        yield from self._va_api()

    def _v4l2(self) -> Iterator[Device]:
        found: dict[tuple[str, str], set[str]] = {}
        for node in self._tree.names("sys/class/video4linux", r"video\d+$"):
            name = self._tree.text(f"sys/class/video4linux/{node}/name") or ""
            family = next(((key, title) for pattern, key, title in _V4L2_FAMILIES if pattern.match(name)), None)
            if family is not None:
                found.setdefault(family, {"v4l2"}).update(_directions(name))
        for (key, title), capabilities in found.items():
            yield self._device(key, title, capabilities)

    def _vendor(self, key: str, title: str, roles: str, drivers: str) -> Iterator[Device]:
        """Engines that appear as platform devices: `fdbd0000.rkvenc-core` under `mpp_rkvenc2`, `154c0000.nvenc`."""
        capabilities: set[str] = set()
        for device in platform_devices(self._tree):
            if re.match(roles, device.role) and device.driver.startswith(drivers):
                capabilities |= _directions(f"{device.role} {device.driver}")
        if capabilities:
            yield self._device(key, title, {key, *capabilities})

    def _va_api(self) -> Iterator[Device]:
        for _, driver, address in render_nodes(self._tree):
            if driver in _VA_DRIVERS:
                title, special = _VA_ENGINES.get(driver, ("AMD video engine", "vcn"))
                usable = {"vaapi"} if self._has_va_driver(_VA_DRIVERS[driver]) else set()
                yield self._device(address, title, {special, "encode", "decode", *usable})

    def _has_va_driver(self, names: tuple[str, ...]) -> bool:
        folders = [
            "usr/lib/dri",
            "usr/lib64/dri",
            *(f"usr/lib/{n}/dri" for n in self._tree.names("usr/lib", r".*-linux-")),
        ]
        return any(self._tree.exists(f"{folder}/{name}_drv_video.so") for folder in folders for name in names)

    def _device(self, address: str, title: str, capabilities: set[str]) -> Device:
        return Device(
            device_id=device_id(DeviceType.VIDEO, address),
            type=DeviceType.VIDEO,
            name=title,
            compute_units=1,
            capabilities=frozenset(capabilities),
            found_by=self.name,
        )


def _directions(name: str) -> set[str]:
    """What a name says of an engine; one that says nothing (`cedrus`) is a decoder, as those came first."""
    said = {word for pattern, word in ((_ENCODES, "encode"), (_DECODES, "decode")) if pattern.search(name)}
    return said or {"decode"}
