"""Find what OpenCL sees: its devices with their compute units, the measure of size that the whole product uses.

Covered: several platforms, processors shown by PoCL or a vendor (they are CPU devices, not GPUs), PCI addresses where
the vendor tells them. Not covered: kernels, images, and devices that only a partition of shows.
Source: Khronos OpenCL 3.0 specification, section 4.2; cl_nv_device_attribute_query, cl_amd_device_attribute_query.
"""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from conductor.adapters.sensors.bus import device_id, pci_address
from conductor.domain.device import Device, DeviceType

log = structlog.get_logger(__name__)


class OpenClProbe:
    """OpenCL through pyopencl, an extra; without it, or without any driver, there is nothing to find.

    Args:
        load: returns the `pyopencl` module, or raises ImportError.
    """

    name = "opencl"

    def __init__(self, load: Callable[[], Any] = lambda: importlib.import_module("pyopencl")) -> None:
        self._load = load

    def find(self) -> Iterator[Device]:
        """Every device of every platform; several platforms may show the same one."""
        try:
            cl = self._load()
        except ImportError:
            return
        try:
            platforms = cl.get_platforms()
        except cl.Error as none_installed:
            log.info("fleet.opencl_empty", reason=str(none_installed))
            return
        for number, platform in enumerate(platforms):
            yield from self._devices(cl, platform, number)

    def _devices(self, cl: Any, platform: Any, number: int) -> Iterator[Device]:
        try:
            devices = platform.get_devices()
        except cl.Error:  # a platform without devices answers with an error
            return
        for index, device in enumerate(devices):
            try:
                yield _device(cl, device, platform, f"opencl.{number}.{index}")
            except cl.Error as broken:
                log.warning("fleet.opencl_device_failed", platform=platform.name, reason=str(broken))


def _device(cl: Any, device: Any, platform: Any, place: str) -> Device:
    kind = _type(cl, device.type)
    return Device(
        device_id=device_id(kind, _address(cl, device) or place),
        type=kind,
        name=" ".join(device.name.split()),
        compute_units=max(1, int(device.max_compute_units)),
        memory_bytes=int(device.global_mem_size),
        capabilities=frozenset({"opencl", *_abilities(device)}),
        found_by=f"opencl ({platform.name.strip()})",
    )


def _type(cl: Any, bits: int) -> DeviceType:
    """A GPU only when the driver says so: OpenCL's "accelerator" may be an FPGA, a DSP or an NPU; DSPs were first."""
    if bits & cl.device_type.CPU:
        return DeviceType.CPU
    if bits & cl.device_type.GPU:
        return DeviceType.GPU
    return DeviceType.DSP


def _abilities(device: Any) -> Iterator[str]:
    extensions = device.extensions.split()
    if "cl_khr_fp16" in extensions:
        yield "fp16"
    if "cl_khr_fp64" in extensions:
        yield "fp64"
    version = device.version.split()  # `OpenCL 3.0 PoCL …`
    if len(version) > 1:
        yield f"opencl:{version[1]}"


def _address(cl: Any, device: Any) -> str | None:
    """The PCI address, which two vendors tell in their own ways and the others not at all."""
    try:
        slot = int(device.pci_slot_id_nv)  # slot and function in one number
        return pci_address(
            domain=_nv_domain(cl, device), bus=int(device.pci_bus_id_nv), slot=slot >> 3, function=slot & 7
        )
    except (cl.Error, AttributeError):
        pass
    try:
        topology = device.topology_amd
        # pyopencl gives signed bytes
        return pci_address(bus=topology.bus & 0xFF, slot=topology.device & 0xFF, function=topology.function & 0xFF)
    except (cl.Error, AttributeError):
        return None


def _nv_domain(cl: Any, device: Any) -> int:
    try:
        return int(device.pci_domain_id_nv)
    except (cl.Error, AttributeError):  # drivers before 2020
        return 0
