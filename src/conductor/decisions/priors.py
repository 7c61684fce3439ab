"""What work of each kind takes before anything of its sort was measured: a table, and how quantities move it.

The figures are orders of magnitude for one ordinary desktop, to be replaced by the first measurement: hence the wide
interval, a factor of eight either way. What was measured is `estimate`.

| kind | one unit of work | seconds on the ideal device | compute units on a CPU | memory |
| --- | --- | --- | --- | --- |
| video | one second of 1080p video; a clip is 60 s | 0.1 | 4 | 512 MiB |
| image | one image of 2 megapixels | 0.05 | 1 | 256 MiB |
| audio, signal | one second; a recording is 180 s | 0.005 | 1 | 128 MiB |
| inference | one item | 0.02 | 2 | 768 MiB |
| text generation | one token; an answer is 300 | 0.03 | 4 | 2 GiB |
| training | one epoch of 10,000 samples; ten of them | 60 | 4 | 4 GiB |
| simulation | one run | 10 | 4 | 1 GiB |
| rendering | one frame | 60 | 4 | 1 GiB |
| data, files, archives | one megabyte, or a thousand rows; 10 MB | 0.02 | 1 | 256 MiB |

Covered: counts, bytes, length of material, frame size, epochs, tokens, parameters; and, where the workload names files
that exist, how much material they hold at usual rates: video 500 kB/s, images 400 kB each, audio 100 kB/s, texts 100 bytes.
Not covered: sampling rates and frame rates, whose effect hides in the spread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from conductor.decisions.features import Features
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.units import GIB, MIB

#: Half width of the prior interval, in logarithms: a factor of eight.
PRIOR_SPREAD: Final = 2.08
_BATCH_ITEMS: Final = 20.0
_SHORTEST_S, _LONGEST_S = 0.05, 30 * 86400.0
#: How much longer work takes on a processor than on the device that is ideal for it.
_SUBSTITUTE_FACTOR: Final = 4.0
_BYTES_PER_PARAMETER: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    start_s: float
    unit_s: float
    compute_units: float
    memory_bytes: int


_MEDIA_S: Final = _Row(start_s=0.5, unit_s=0.1, compute_units=4, memory_bytes=512 * MIB)
_SOUND_S: Final = _Row(start_s=0.2, unit_s=0.005, compute_units=1, memory_bytes=128 * MIB)
_BYTES: Final = _Row(start_s=0.2, unit_s=0.02, compute_units=1, memory_bytes=256 * MIB)
_TABLE: Final = MappingProxyType(
    {
        TaskKind.TRAINING: _Row(start_s=10.0, unit_s=60.0, compute_units=4, memory_bytes=4 * GIB),
        TaskKind.INFERENCE: _Row(start_s=1.0, unit_s=0.02, compute_units=2, memory_bytes=768 * MIB),
        TaskKind.LLM_GENERATION: _Row(start_s=2.0, unit_s=0.03, compute_units=4, memory_bytes=2 * GIB),
        TaskKind.SIMULATION: _Row(start_s=0.5, unit_s=10.0, compute_units=4, memory_bytes=GIB),
        TaskKind.RENDERING: _Row(start_s=2.0, unit_s=60.0, compute_units=4, memory_bytes=GIB),
        TaskKind.VIDEO_TRANSCODE: _MEDIA_S,
        TaskKind.VIDEO_ANALYSIS: _MEDIA_S,
        TaskKind.IMAGE_PROCESSING: _Row(start_s=0.2, unit_s=0.05, compute_units=1, memory_bytes=256 * MIB),
        TaskKind.AUDIO_PROCESSING: _SOUND_S,
        TaskKind.SIGNAL_PROCESSING: _SOUND_S,
        TaskKind.DATA_PROCESSING: _BYTES,
        TaskKind.WEB_OR_IO: _Row(start_s=0.5, unit_s=0.1, compute_units=0.5, memory_bytes=128 * MIB),
        TaskKind.COMPILE_OR_BUILD: _Row(start_s=2.0, unit_s=30.0, compute_units=2, memory_bytes=GIB),
        TaskKind.CRYPTO_OR_COMPRESSION: _Row(start_s=0.1, unit_s=0.03, compute_units=1, memory_bytes=256 * MIB),
        TaskKind.GENERAL: _Row(start_s=0.5, unit_s=5.0, compute_units=1, memory_bytes=128 * MIB),
    }
)
#: How many bytes of files hold one unit of work.
_BYTES_PER_UNIT: Final = MappingProxyType(
    {
        TaskKind.VIDEO_TRANSCODE: 5e5,
        TaskKind.VIDEO_ANALYSIS: 5e5,
        TaskKind.IMAGE_PROCESSING: 4e5,
        TaskKind.AUDIO_PROCESSING: 1e5,
        TaskKind.SIGNAL_PROCESSING: 1e5,
        TaskKind.INFERENCE: 1e2,
        TaskKind.DATA_PROCESSING: 1e6,
        TaskKind.WEB_OR_IO: 1e6,
        TaskKind.CRYPTO_OR_COMPRESSION: 1e6,
    }
)
_NO_SIZES: Final[Mapping[str, float]] = MappingProxyType({})


def prior_duration_s(
    kind: TaskKind, features: Features, sizes: Mapping[str, float] = _NO_SIZES, *, on_substitute: bool
) -> float:
    """Seconds that such work may take, from 50 ms to 30 days.

    Args:
        sizes: of the workload's `WorkProfile`; bytes of real files say more than a guess from words.
        on_substitute: it runs on another type of device than the ideal one. Starting up takes no longer there.
    """
    row = _TABLE[kind]
    units = _units_in_files(kind, sizes) or _units_of_work(kind, features)
    seconds = row.start_s + row.unit_s * units * (_SUBSTITUTE_FACTOR if on_substitute else 1.0)
    return min(max(seconds, _SHORTEST_S), _LONGEST_S)


def prior_compute_units(kind: TaskKind, device: DeviceType) -> float:
    """Compute units that such work keeps busy on a device: processor cores on a CPU, one engine elsewhere.

    Fixed-function engines are not shared in parts, so one unit is asked of them; GPU work is asked for in whole
    multiprocessors, and a handful keeps one task of unknown size busy.
    """
    if device is DeviceType.CPU:
        return _TABLE[kind].compute_units
    return 4.0 if device is DeviceType.GPU else 1.0


def memory_need_bytes(kind: TaskKind, features: Features, *, limit_bytes: int | None) -> int:
    """Memory to look for on a node; a slice's limit bounds it, because the task cannot use more."""
    parameters = features.total("parameters") or 0.0
    need = int(max(_TABLE[kind].memory_bytes, parameters * _BYTES_PER_PARAMETER))
    return need if limit_bytes is None else min(need, limit_bytes)


def _units_in_files(kind: TaskKind, sizes: Mapping[str, float]) -> float | None:
    """Units of work in the files that a workload names; None when it names none, or size tells nothing for its kind."""
    held = sum(size for name, size in sizes.items() if name == "input_bytes" or name.endswith(".bytes"))
    per_unit = _BYTES_PER_UNIT.get(kind)
    return held / per_unit if held and per_unit else None


def _units_of_work(kind: TaskKind, features: Features) -> float:
    items = features.total("count") or (_BATCH_ITEMS if features.batch else 1.0)
    megapixels = (features.total("pixels") or 2e6) / 1e6
    if kind in (TaskKind.VIDEO_TRANSCODE, TaskKind.VIDEO_ANALYSIS):
        return items * (features.total("seconds") or 60.0) * megapixels / 2.0
    if kind is TaskKind.IMAGE_PROCESSING:
        return items * megapixels / 2.0
    if kind in (TaskKind.AUDIO_PROCESSING, TaskKind.SIGNAL_PROCESSING):
        return items * (features.total("seconds") or 180.0)
    if kind is TaskKind.TRAINING:
        return (features.total("epochs") or 10.0) * max((features.total("count") or 1e4) / 1e4, 0.05)
    if kind is TaskKind.LLM_GENERATION:
        return items * (features.total("tokens") or 300.0)
    if kind is TaskKind.RENDERING:
        return items * megapixels / 2.0
    if kind in (TaskKind.SIMULATION, TaskKind.COMPILE_OR_BUILD, TaskKind.GENERAL):
        return 1.0
    if kind is TaskKind.INFERENCE:
        return items
    rows = features.total("count")
    megabytes = (features.total("bytes") or 0.0) / 1e6
    return megabytes or (rows / 1000.0 if rows else 10.0)
