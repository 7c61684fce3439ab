"""Decide how much memory a model will take, and on which devices it fits.

The arithmetic: tensors by the bytes of the asked precision, the key-value cache of all layers at the context that is
kept, and what the backend's process takes beside them. What loading really took corrects it: a robust ratio for each
backend and precision. Pure; reading headers is `adapters.model_headers`, measuring is the `MemoryMeter`.

Not covered: activations of very long prompts (the margin is for these), memory that is fragmented.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log
from statistics import median
from typing import Final

from conductor.domain.model import Precision
from conductor.domain.units import MIB
from conductor.serving.ports import MemoryNeed, ModelHeader

#: Of a backend's process and libraries, before anything was measured. A process with torch, Transformers and a Llama of
#: two small layers takes 380 MiB on a processor, one with llama.cpp 23 MiB; buffers for computing come on top. vLLM's
#: processes took 2 GiB beside its cache on a processor.
OVERHEAD_BYTES: Final[Mapping[str, int]] = {
    "transformers": 600 * MIB, "llama.cpp": 150 * MIB, "llama-server": 150 * MIB, "vllm": 2_048 * MIB,
}  # fmt: skip
_OTHER_OVERHEAD_BYTES: Final = 300 * MIB
#: Observations that count; older ones tell of other versions of a backend.
_MOST_OBSERVED: Final = 32
_UNTRIED_MARGIN: Final = 0.10
_SMALLEST_MARGIN: Final = 0.03
_LARGEST_MARGIN: Final = 0.50
#: Ratios beyond these are measurements gone wrong, not habits of a backend.
_RATIOS: Final = (0.25, 4.0)
#: Makes the median distance from the median the standard deviation of a normal distribution.
_DEVIATION: Final = 1.4826


def memory_need(
    header: ModelHeader,
    precision: Precision,
    *,
    backend: str,
    most_context_tokens: int | None = None,
    cache_value_bytes: float | None = None,
) -> MemoryNeed:
    """What loading the model will take.

    Args:
        precision: as asked for; a file whose precision is fixed takes what is stored.
        most_context_tokens: the backend keeps no more context than this; None keeps all that the model knows.
        cache_value_bytes: of one number in the key-value cache; None takes 4 for FP32 and 2 otherwise.
    """
    return MemoryNeed(
        weights_bytes=_weights_bytes(header, precision),
        context_bytes=_context_bytes(
            header, most_context_tokens, cache_value_bytes or (4.0 if precision is Precision.FP32 else 2.0)
        ),
        overhead_bytes=OVERHEAD_BYTES.get(backend, _OTHER_OVERHEAD_BYTES),
    )


def _weights_bytes(header: ModelHeader, precision: Precision) -> int:
    if header.fixed:
        return header.stored_bytes
    beside = 4.0 if precision is Precision.FP32 else 2.0  # what quantisation leaves alone is kept in 16 bits
    numbers = header.matrices * precision.bytes_per_weight + (header.tables + header.vectors) * beside
    return ceil(numbers) + header.other_bytes


def _context_bytes(header: ModelHeader, most_tokens: int | None, value_bytes: float) -> int:
    bounds = [tokens for tokens in (header.context_tokens, most_tokens) if tokens is not None]
    if header.attention is None or not bounds:
        return 0
    kept = header.attention
    return ceil(2 * kept.layers * kept.heads * kept.head_width * min(bounds) * value_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """How much a load is expected to take.

    Args:
        bytes: corrected by what was measured.
        margin_bytes: kept free on top of it, for what the estimate does not know.
        ratio: measured to estimated, as learned; 1 where nothing was.
        observations: how many measurements the ratio is from.
    """

    bytes: int
    margin_bytes: int
    ratio: float
    observations: int

    @property
    def with_margin_bytes(self) -> int:
        """What must be free."""
        return self.bytes + self.margin_bytes


@dataclass(frozen=True, slots=True)
class Observation:
    """One load: what was estimated without and with the cache, and what it took."""

    loaded_bytes: int
    total_bytes: int
    measured_bytes: int

    @property
    def ratio(self) -> float:
        """Measured to estimated.

        Some backends reserve the cache when they load, some as it fills; the reading that is nearer to 1 is believed.
        """
        readings = [self.measured_bytes / estimate for estimate in (self.loaded_bytes, self.total_bytes) if estimate]
        nearest = min(readings, key=lambda ratio: abs(log(ratio)))
        return min(max(nearest, _RATIOS[0]), _RATIOS[1])


class Corrections:
    """Ratios of measured to estimated memory, learned for each backend and precision.

    Args:
        remembered: what an earlier run learned, oldest first (`observations`).
    """

    def __init__(self, remembered: Iterable[tuple[str, Precision, Observation]] = ()) -> None:
        self._seen: dict[tuple[str, Precision], deque[Observation]] = {}
        for backend, precision, seen in remembered:
            self._keep(backend, precision, seen)

    def observe(self, backend: str, precision: Precision, need: MemoryNeed, measured_bytes: int) -> None:
        """Learn from a load; models whose memory is elsewhere (0 bytes measured) teach nothing."""
        if measured_bytes > 0 and need.total_bytes > 0:
            loaded_bytes = need.weights_bytes + need.overhead_bytes
            self._keep(backend, precision, Observation(loaded_bytes, need.total_bytes, measured_bytes))

    def expect(self, backend: str, precision: Precision, need: MemoryNeed) -> Expectation:
        """What a load will take, by the estimate and by experience.

        One imagined observation of ratio 1 is counted in, so that a single odd measurement does not rule. The cache's
        size is arithmetic, and its memory may only be taken while generating: it is never corrected downwards.
        """
        ratios = [seen.ratio for seen in self._seen.get((backend, precision), ())]
        ratio = median([*ratios, 1.0])
        corrected = (need.weights_bytes + need.overhead_bytes) * ratio + need.context_bytes * max(ratio, 1.0)
        return Expectation(
            bytes=ceil(corrected),
            margin_bytes=ceil(corrected * _margin(ratios, ratio)),
            ratio=ratio,
            observations=len(ratios),
        )

    def observations(self) -> Iterator[tuple[str, Precision, Observation]]:
        """All that was learned, to be kept for the next start."""
        for (backend, precision), seen in self._seen.items():
            for one in seen:
                yield backend, precision, one

    def _keep(self, backend: str, precision: Precision, seen: Observation) -> None:
        self._seen.setdefault((backend, precision), deque(maxlen=_MOST_OBSERVED)).append(seen)


def _margin(ratios: Sequence[float], ratio: float) -> float:
    """Share of the estimate: two deviations of what was seen, and more while little was."""
    untried = _UNTRIED_MARGIN / (1 + len(ratios) / 4)
    spread = _DEVIATION * median(abs(one - ratio) for one in ratios) / ratio if ratios else 0.0
    return min(max(untried + 2 * spread, _SMALLEST_MARGIN), _LARGEST_MARGIN)


def fitting_devices(needed_bytes: int, free_bytes: Mapping[str, int], preferred: Sequence[str]) -> tuple[str, ...]:
    """Where a model goes: the first device that has room, else as many as are needed together; empty where none do.

    A model is split only over devices of one kind (`cuda:0` and `cuda:1`); the processor's memory is a kind of its own.
    """
    for device in preferred:
        if free_bytes.get(device, 0) >= needed_bytes:
            return (device,)
    for kind in dict.fromkeys(device.partition(":")[0] for device in preferred):
        chosen, sum_bytes = [], 0
        for device in preferred:
            if device.partition(":")[0] == kind and free_bytes.get(device, 0) > 0:
                chosen.append(device)
                sum_bytes += free_bytes[device]
                if sum_bytes >= needed_bytes:
                    return tuple(chosen)
    return ()
