"""What decisions need from the outside: a sentence encoder, a view of the fleet, a place for experience."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from conductor.domain.decision import Need, Ranking
from conductor.domain.device import DeviceType, TaskKind

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encodings:
    """What the encoder says about n texts.

    Args:
        embeddings: float32 [n, width], rows of unit length.
        device_probabilities: float32 [n, 6], columns in the order of `DeviceType`.
        kind_probabilities: float32 [n, 15], columns in the order of `TaskKind`.
    """

    embeddings: FloatArray
    device_probabilities: FloatArray
    kind_probabilities: FloatArray


class TextEncoder(Protocol):
    """Turns sentences into unit vectors and class probabilities."""

    @property
    def name(self) -> str:
        """Name and version of the weights."""
        ...

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights, lowercase hex, as recorded on the ledger."""
        ...

    @property
    def width(self) -> int:
        """Length of an embedding."""
        ...

    def encode(self, texts: Sequence[str]) -> Encodings:
        """Encode texts in one batch; blocking, thread-safe."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a language model reads out of a description; probabilities over all six device types."""

    device_probabilities: Mapping[DeviceType, float]
    task_kind: TaskKind
    priority: int | None
    compute_units: float | None
    duration_s: float | None


class LanguageModel(Protocol):
    """A language model that takes part in decisions. None is composed unless one is configured."""

    @property
    def name(self) -> str:
        """Name and version of the weights."""
        ...

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights, lowercase hex."""
        ...

    def propose(self, texts: Sequence[str]) -> Sequence[Proposal]:
        """Read each description; blocking, thread-safe."""
        ...


class FleetView(Protocol):
    """What the decision may know about the fleet."""

    def offered_devices(self) -> frozenset[DeviceType]:
        """Device types that at least one known node has."""
        ...

    def rank(self, need: Need) -> Ranking:
        """Best nodes for a need, falling back to the nearest device type the fleet has."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """One past task with its outcome, as remembered for later decisions.

    `embedding` is float32 [width]. `sizes` are the quantities of its `WorkProfile` (and of its text) at that time.
    """

    task_id: str
    description: str
    embedding: FloatArray
    device: DeviceType
    available_device: DeviceType
    task_kind: TaskKind
    signature: str
    sizes: Mapping[str, float]
    node_id: str
    succeeded: bool
    duration_s: float
    compute_units: float
    predicted_duration_s: float
    confidence: float
    at_unix_s: float


class ExperienceStore(Protocol):
    """Where experiences outlive the process."""

    def remember(self, experience: Experience) -> None:
        """Take one experience; it is written behind, within a second."""
        ...

    async def recall(self, limit: int) -> Iterable[Experience]:
        """The latest `limit` experiences, oldest first."""
        ...
