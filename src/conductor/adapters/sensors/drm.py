"""Find every other GPU: render nodes of the kernel's graphics drivers, and the GPUs of Jetson boards.

A render node means that programs may compute or draw on it, not that a compute interface (CUDA, ROCm, OpenCL) is
installed; those interfaces find the device again, count its units and add their capability.

Covered: Intel, AMD, NVIDIA and the GPUs of systems on a chip. Not covered: virtual displays, whose work the processor
does; NPUs that show themselves as render nodes (`npu` finds them); compute units, which the kernel does not tell here.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from conductor.adapters.sensors.bus import device_id, parse_pci_address, pci_name, platform_devices
from conductor.adapters.sensors.gauge import GpuReading
from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import Device, DeviceType

#: Kernel drivers of real GPUs → the name people know, for those without a PCI name.
GPU_DRIVERS: Final = {
    "i915": "Intel", "xe": "Intel", "amdgpu": "AMD", "radeon": "AMD", "nouveau": "NVIDIA", "nvidia": "NVIDIA",
    "panfrost": "Arm Mali", "panthor": "Arm Mali", "lima": "Arm Mali", "mali": "Arm Mali", "v3d": "Broadcom VideoCore",
    "etnaviv": "Vivante", "msm": "Qualcomm Adreno", "adreno": "Qualcomm Adreno", "powervr": "Imagination PowerVR",
    "pvrsrvkm": "Imagination PowerVR", "asahi": "Apple", "tegra": "NVIDIA Tegra",
}  # fmt: skip
#: `nvgpu`, the driver of Jetson boards, has no render node; its devices are called so.
_JETSON_ROLES: Final = ("gpu", "ga10b", "gv11b", "gp10b", "gm20b")
_JETSON_DRIVERS: Final = ("gk20a", "nvgpu", "ga10b", "gv11b", "gp10b", "gm20b")


class DrmProbe:
    """Render nodes under `/sys/class/drm`."""

    name = "drm"

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def find(self) -> Iterator[Device]:
        """One GPU for each render node of a real GPU's driver."""
        for folder, driver, address in render_nodes(self._tree):
            yield Device(
                device_id=device_id(DeviceType.GPU, address),
                type=DeviceType.GPU,
                name=self._name(folder, driver, address),
                compute_units=1,
                memory_bytes=self._tree.number(f"{folder}/mem_info_vram_total") or 0,
                capabilities=frozenset({"drm", f"driver:{driver}"}),
                found_by=self.name,
            )

    def _name(self, folder: str, driver: str, address: str) -> str:
        vendor, device = self._tree.number(f"{folder}/vendor"), self._tree.number(f"{folder}/device")
        if parse_pci_address(address) and vendor is not None and device is not None:
            return pci_name(self._tree, vendor, device, kind="GPU")
        return f"{GPU_DRIVERS[driver]} GPU"


class JetsonProbe:
    """The GPU of a Jetson board, where its management library tells less or is missing."""

    name = "nvgpu"

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def find(self) -> Iterator[Device]:
        """The one GPU of the board."""
        for name in self._devices():
            yield Device(
                device_id=device_id(DeviceType.GPU, name),
                type=DeviceType.GPU,
                name="NVIDIA Tegra GPU",
                compute_units=1,
                capabilities=frozenset({"cuda"}),
                found_by=self.name,
            )

    def measure(self) -> Sequence[GpuReading]:
        """Its load, which the driver gives in thousandths."""
        loads = (self._tree.number(f"sys/bus/platform/devices/{name}/load") for name in self._devices())
        return [GpuReading(utilisation=min(1.0, load / 1000)) for load in loads if load is not None]

    def _devices(self) -> list[str]:
        return [
            device.name
            for device in platform_devices(self._tree)
            if device.role in _JETSON_ROLES and device.driver in _JETSON_DRIVERS
        ]


def render_nodes(tree: Tree) -> Iterator[tuple[str, str, str]]:
    """Folder, driver and address of each device with a render node that a real GPU's driver has made."""
    for node in tree.names("sys/class/drm", r"renderD\d+$"):
        folder = f"sys/class/drm/{node}/device"
        driver, address = tree.target(f"{folder}/driver"), tree.target(folder)
        if driver in GPU_DRIVERS and address:
            yield folder, driver, address
