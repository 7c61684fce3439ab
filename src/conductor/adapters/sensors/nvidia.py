"""Find NVIDIA cards through the driver's management library (NVML), and read them.

Streaming multiprocessors are not told by NVML itself; they are the CUDA cores it tells, divided by the cores each
multiprocessor of that compute capability has.

Covered: GPUs, their encoders as a VIDEO device, no driver, cards that fall off the bus, cards asleep.
Not covered: slices of a card (MIG) as devices of their own; Jetson boards whose NVML is partial get what it answers.
Source: NVML API reference, docs.nvidia.com/deploy/nvml-api.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import structlog

from conductor.adapters.sensors.bus import device_id, is_asleep, parse_pci_address
from conductor.adapters.sensors.gauge import GpuReading
from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import Device, DeviceType

log = structlog.get_logger(__name__)

#: CUDA cores of one multiprocessor by compute capability; newer ones have 128.
#: Source: CUDA C++ Programming Guide, arithmetic instructions; cuda-samples, helper_cuda.h.
_CORES_PER_MULTIPROCESSOR: Final = {
    (3, 0): 192, (3, 2): 192, (3, 5): 192, (3, 7): 192, (6, 0): 64, (7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64,
}  # fmt: skip
_CORES_OTHERWISE: Final = 128


class NvidiaProbe:
    """NVML for the life of the process: opening it costs a hundred milliseconds, a reading one.

    Args:
        tree: where the kernel tells whether a card sleeps.
        load: returns the `pynvml` module; a test hands in another.
    """

    name = "nvml"

    def __init__(self, tree: Tree, load: Callable[[], Any] = lambda: importlib.import_module("pynvml")) -> None:
        self._tree, self._load = tree, load
        self._nvml: Any = None
        self._cards: list[tuple[Any, str]] = []

    def find(self) -> Iterator[Device]:
        """Cards and their encoders; nothing where the driver is not installed or not loaded."""
        self._open()
        for handle, address in self._cards:
            yield self._gpu(handle, address)
            yield from self._encoder(handle, address)

    def measure(self) -> Sequence[GpuReading]:
        """One reading for each card found last."""
        return [self._measure(handle, address) for handle, address in self._cards]

    def _open(self) -> None:
        if self._nvml is None:
            nvml = self._load()
            try:
                nvml.nvmlInit()
            except (nvml.NVMLError_LibraryNotFound, nvml.NVMLError_DriverNotLoaded):
                return
            except nvml.NVMLError as refused:
                log.warning("fleet.nvml_refused", reason=str(refused))
                return
            self._nvml = nvml
        count = self._ask("nvmlDeviceGetCount") or 0
        handles = [self._ask("nvmlDeviceGetHandleByIndex", index) for index in range(count)]
        self._cards = [
            (handle, self._address(handle) or f"nvml.{i}") for i, handle in enumerate(handles) if handle is not None
        ]

    def _ask(self, function: str, *arguments: Any) -> Any:
        """Call NVML; None where this card or this driver does not answer the question."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError:
            return None

    def _address(self, handle: Any) -> str | None:
        pci = self._ask("nvmlDeviceGetPciInfo", handle)
        return parse_pci_address(_text(pci.busId)) if pci is not None else None

    def _gpu(self, handle: Any, address: str) -> Device:
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        capability = self._ask("nvmlDeviceGetCudaComputeCapability", handle)
        return Device(
            device_id=device_id(DeviceType.GPU, address),
            type=DeviceType.GPU,
            name=_text(self._ask("nvmlDeviceGetName", handle) or "NVIDIA GPU"),
            compute_units=self._multiprocessors(handle, capability),
            memory_bytes=int(memory.total) if memory is not None else 0,
            capabilities=frozenset({"cuda", "cuda:{}.{}".format(*capability)} if capability else {"cuda"}),
            found_by=self.name,
        )

    def _multiprocessors(self, handle: Any, capability: tuple[int, int] | None) -> int:
        """At least one: an old driver that does not count still has a card that computes."""
        cores = self._ask("nvmlDeviceGetNumGpuCores", handle)
        if not cores or not capability:
            return 1
        return max(1, int(cores) // _CORES_PER_MULTIPROCESSOR.get(capability, _CORES_OTHERWISE))

    def _encoder(self, handle: Any, address: str) -> Iterator[Device]:
        """The card's encoder, where it can be asked for H.264; compute cards such as the A100 and H100 have none."""
        codecs = {"h264": "NVML_ENCODER_QUERY_H264", "hevc": "NVML_ENCODER_QUERY_HEVC", "av1": "NVML_ENCODER_QUERY_AV1"}
        capacities = {
            codec: self._ask("nvmlDeviceGetEncoderCapacity", handle, getattr(self._nvml, query))
            for codec, query in codecs.items()
            if hasattr(self._nvml, query)
        }
        if capacities.get("h264") is None:
            return
        # A capacity is the share that is free now; 0 may mean busy, so H.264, which every encoder has, needs no more.
        able = {f"encode:{codec}" for codec, capacity in capacities.items() if capacity or codec == "h264"}
        yield Device(
            device_id=device_id(DeviceType.VIDEO, address),
            type=DeviceType.VIDEO,
            name=f"NVENC of {_text(self._ask('nvmlDeviceGetName', handle) or 'NVIDIA GPU')}",
            compute_units=1,
            capabilities=frozenset({"nvenc", "nvdec", "encode", "decode", *able}),
            found_by=self.name,
        )

    def _measure(self, handle: Any, address: str) -> GpuReading:
        if is_asleep(self._tree, f"sys/bus/pci/devices/{address}"):
            return GpuReading()
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        rates = self._ask("nvmlDeviceGetUtilizationRates", handle)
        celsius = self._ask("nvmlDeviceGetTemperature", handle, self._nvml.NVML_TEMPERATURE_GPU)
        return GpuReading(
            temperature_celsius=float(celsius) if celsius is not None else None,
            utilisation=rates.gpu / 100 if rates is not None else None,
            free_memory_bytes=int(memory.free) if memory is not None else None,
        )


def _text(value: str | bytes) -> str:
    """NVML's strings; which of the two they are has changed between releases of its bindings."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
