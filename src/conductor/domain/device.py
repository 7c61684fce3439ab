"""Compute devices and what kinds of work they are for."""

from dataclasses import dataclass, field
from enum import StrEnum


class DeviceType(StrEnum):
    """The six kinds of compute device a task may ask for (FEATURES C8)."""

    GPU = "GPU"
    NPU = "NPU"
    VIDEO = "VIDEO"
    ISP = "ISP"
    DSP = "DSP"
    CPU = "CPU"


class TaskKind(StrEnum):
    """What sort of work a description asks for; finer than the device type."""

    TRAINING = "training"
    INFERENCE = "inference"
    LLM_GENERATION = "llm_generation"
    SIMULATION = "simulation"
    RENDERING = "rendering"
    VIDEO_TRANSCODE = "video_transcode"
    VIDEO_ANALYSIS = "video_analysis"
    IMAGE_PROCESSING = "image_processing"
    AUDIO_PROCESSING = "audio_processing"
    SIGNAL_PROCESSING = "signal_processing"
    DATA_PROCESSING = "data_processing"
    WEB_OR_IO = "web_or_io"
    COMPILE_OR_BUILD = "compile_or_build"
    CRYPTO_OR_COMPRESSION = "crypto_or_compression"
    GENERAL = "general"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One compute device of a node.

    `compute_units` counts OpenCL compute units where OpenCL sees the device, streaming multiprocessors on an NVIDIA
    GPU without OpenCL, and logical cores on a processor. `found_by` names the interface that reported the device.
    """

    device_id: str
    type: DeviceType
    name: str
    compute_units: int
    memory_bytes: int = 0
    capabilities: frozenset[str] = field(default_factory=frozenset)
    found_by: str = ""
