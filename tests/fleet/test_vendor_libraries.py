"""NVML and OpenCL. No machine of ours has the hardware, so a small stand-in has the library's names and errors."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fleet import trees

from conductor.adapters.sensors.gauge import GpuReading
from conductor.adapters.sensors.nvidia import NvidiaProbe
from conductor.adapters.sensors.opencl import OpenClProbe
from conductor.adapters.sensors.processor import ProcessorProbe
from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import Device, DeviceType
from conductor.domain.units import GIB
from conductor.fleet.inventory import merge_devices


class NVMLError(Exception):
    pass


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801
    pass


class NVMLError_DriverNotLoaded(NVMLError):  # noqa: N801
    pass


class Nvml:
    """One card that answers the questions in `answers` and refuses the others, as drivers do."""

    NVMLError = NVMLError
    NVMLError_LibraryNotFound = NVMLError_LibraryNotFound
    NVMLError_DriverNotLoaded = NVMLError_DriverNotLoaded
    NVML_TEMPERATURE_GPU = 0
    NVML_ENCODER_QUERY_H264, NVML_ENCODER_QUERY_HEVC, NVML_ENCODER_QUERY_AV1 = 0, 1, 2

    def __init__(self, *, init_error: type[NVMLError] | None = None, **answers: Any) -> None:
        self.init_error, self.answers, self.opened = init_error, answers, 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.opened += 1
        if self.init_error is not None:
            raise self.init_error

    def __getattr__(self, function: str) -> Any:
        def call(*arguments: Any) -> Any:
            key = f"{function}_{arguments[1]}" if function == "nvmlDeviceGetEncoderCapacity" else function
            if key not in self.answers:
                raise NVMLError(f"{function}: not supported")
            return self.answers[key]

        return call


RTX_4090 = {
    "nvmlDeviceGetCount": 1,
    "nvmlDeviceGetHandleByIndex": "card",
    "nvmlDeviceGetName": b"NVIDIA GeForce RTX 4090",
    "nvmlDeviceGetPciInfo": SimpleNamespace(busId=b"00000000:01:00.0"),
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=24 * GIB, free=23 * GIB, used=GIB),
    "nvmlDeviceGetCudaComputeCapability": (8, 9),
    "nvmlDeviceGetNumGpuCores": 16384,
    "nvmlDeviceGetEncoderCapacity_0": 0,
    "nvmlDeviceGetEncoderCapacity_1": 100,
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=42, memory=7),
    "nvmlDeviceGetTemperature": 65,
}


def nvidia(nvml: Nvml, root: Path) -> NvidiaProbe:
    return NvidiaProbe(Tree(root), load=lambda: nvml)


def test_a_card_has_its_multiprocessors_memory_and_encoder(tmp_path: Path) -> None:
    gpu, encoder = nvidia(Nvml(**RTX_4090), tmp_path).find()

    assert gpu == Device(
        device_id="gpu:0000:01:00.0",
        type=DeviceType.GPU,
        name="NVIDIA GeForce RTX 4090",
        compute_units=128,
        memory_bytes=24 * GIB,
        capabilities=frozenset({"cuda", "cuda:8.9"}),
        found_by="nvml",
    )
    assert (encoder.device_id, encoder.type) == ("video:0000:01:00.0", DeviceType.VIDEO)
    assert encoder.capabilities == {"nvenc", "nvdec", "encode", "decode", "encode:h264", "encode:hevc"}


def test_a_card_is_read_and_opened_only_once(tmp_path: Path) -> None:
    nvml = Nvml(**RTX_4090)
    probe = nvidia(nvml, tmp_path)
    list(probe.find())
    list(probe.find())

    assert probe.measure() == [GpuReading(temperature_celsius=65.0, utilisation=0.42, free_memory_bytes=23 * GIB)]
    assert nvml.opened == 1


def test_a_sleeping_card_is_not_woken_by_a_reading(tmp_path: Path) -> None:
    trees.Recording(tmp_path).file("sys/bus/pci/devices/0000:01:00.0/power/runtime_status", "suspended\n")
    probe = nvidia(Nvml(**RTX_4090), tmp_path)
    list(probe.find())

    assert probe.measure() == [GpuReading()]


def test_a_card_that_fell_off_the_bus_reads_as_nothing(tmp_path: Path) -> None:
    nvml = Nvml(**RTX_4090)
    probe = nvidia(nvml, tmp_path)
    list(probe.find())
    nvml.answers.clear()

    assert probe.measure() == [GpuReading()]


def test_a_card_that_answers_hardly_anything_is_still_a_gpu_with_one_unit(tmp_path: Path) -> None:
    (gpu,) = nvidia(Nvml(nvmlDeviceGetCount=1, nvmlDeviceGetHandleByIndex="card"), tmp_path).find()

    assert (gpu.device_id, gpu.name, gpu.compute_units, gpu.memory_bytes) == ("gpu:nvml.0", "NVIDIA GPU", 1, 0)


@pytest.mark.parametrize("error", [NVMLError_LibraryNotFound, NVMLError_DriverNotLoaded, NVMLError])
def test_without_a_usable_driver_there_is_nothing_to_find_or_read(tmp_path: Path, error: type[NVMLError]) -> None:
    probe = nvidia(Nvml(init_error=error), tmp_path)

    assert list(probe.find()) == []
    assert probe.measure() == []


def test_the_real_binding_answers_on_this_machine_with_or_without_a_driver() -> None:
    probe = NvidiaProbe(Tree())

    devices = list(probe.find())

    assert len(probe.measure()) == sum(device.type is DeviceType.GPU for device in devices)


class ClError(Exception):
    pass


class ClDevice(SimpleNamespace):
    """Questions about another vendor's extension are answered with an error."""

    def __getattr__(self, question: str) -> Any:
        raise ClError(f"clGetDeviceInfo failed: {question}")


def opencl(*platforms: Any) -> OpenClProbe:
    module = SimpleNamespace(
        Error=ClError, device_type=SimpleNamespace(CPU=2, GPU=4, ACCELERATOR=8), get_platforms=lambda: list(platforms)
    )
    return OpenClProbe(load=lambda: module)


def a_platform(name: str, *devices: ClDevice) -> Any:
    return SimpleNamespace(name=name, get_devices=lambda: list(devices))


def a_device(name: str, kind: int, units: int, **more: Any) -> ClDevice:
    return ClDevice(
        name=name, type=kind, max_compute_units=units, global_mem_size=8 * GIB,
        extensions="cl_khr_fp64 cl_khr_fp16", version="OpenCL 3.0 ", **more,
    )  # fmt: skip


def test_opencl_gives_units_and_the_address_that_a_vendor_tells() -> None:
    nvidia_card = a_device("NVIDIA GeForce RTX 4090", 4, 128, pci_bus_id_nv=1, pci_slot_id_nv=0, pci_domain_id_nv=0)
    topology = SimpleNamespace(type=1, bus=-61, device=0, function=0)  # a signed byte: bus 0xc3
    amd_card = a_device("gfx1100", 4, 96, topology_amd=topology)

    devices = list(opencl(a_platform("NVIDIA CUDA", nvidia_card), a_platform("AMD", amd_card)).find())

    assert [(d.device_id, d.compute_units) for d in devices] == [("gpu:0000:01:00.0", 128), ("gpu:0000:c3:00.0", 96)]
    assert devices[0].capabilities == {"opencl", "opencl:3.0", "fp16", "fp64"}


def test_a_processor_shown_by_opencl_is_a_processor_and_no_gpu(tmp_path: Path) -> None:
    trees.laptop(tmp_path)
    probe = opencl(a_platform("Portable Computing Language", a_device("pthread-Intel Core Ultra 7", 2, 64)))

    (processor,) = merge_devices([*ProcessorProbe(Tree(tmp_path)).find(), *probe.find()])

    assert (processor.device_id, processor.type, processor.compute_units) == ("cpu:0", DeviceType.CPU, 8)
    assert processor.name == "Intel(R) Core(TM) Ultra 7 155H"
    assert "opencl" in processor.capabilities
    assert processor.found_by == "processor + opencl (Portable Computing Language)"


def test_a_card_shown_by_nvml_and_opencl_is_one_device_with_opencls_units(tmp_path: Path) -> None:
    card = a_device("NVIDIA GeForce RTX 4090", 4, 126, pci_bus_id_nv=1, pci_slot_id_nv=0)

    devices = merge_devices([*nvidia(Nvml(**RTX_4090), tmp_path).find(), *opencl(a_platform("NVIDIA", card)).find()])

    assert [(d.device_id, d.compute_units) for d in devices] == [("gpu:0000:01:00.0", 126), ("video:0000:01:00.0", 1)]
    assert devices[0].capabilities >= {"cuda:8.9", "opencl"}


def test_platforms_without_devices_and_machines_without_platforms_show_nothing() -> None:
    def refuse() -> Any:
        raise ClError("clGetPlatformIDs failed: PLATFORM_NOT_FOUND_KHR")

    def missing() -> Any:
        raise ImportError("No module named 'pyopencl'")

    assert list(opencl(SimpleNamespace(name="empty", get_devices=refuse)).find()) == []
    module = SimpleNamespace(Error=ClError, get_platforms=refuse)
    assert list(OpenClProbe(load=lambda: module).find()) == []
    assert list(OpenClProbe(load=missing).find()) == []


def test_real_opencl_shows_the_processor_once() -> None:
    pytest.importorskip("pyopencl", reason="the opencl extra is not installed")
    devices = list(OpenClProbe().find())
    if not any(device.type is DeviceType.CPU for device in devices):
        pytest.skip("no OpenCL driver for processors here")

    merged = merge_devices([*ProcessorProbe(Tree()).find(), *devices])

    assert sum(device.type is DeviceType.CPU for device in merged) == 1
