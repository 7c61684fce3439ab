"""What decisions need from the outside: a sentence encoder, a view of the fleet, a place for experience."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from conductor.domain.decision import Need, Ranking
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.json import JsonObject

FloatArray = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]


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
class Pooling:
    """How much the encoder's and a language model's beliefs count when they are joined (`fusion`)."""

    encoder: float
    language_model: float


#: For a model about whose skill nothing is known: it can tip a close call, and not overrule a clear one.
UNPROVEN: Final = Pooling(encoder=0.85, language_model=0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a language model reads out of a description; probabilities over all six device types.

    Args:
        kind_probability: of `task_kind`, in 0–1.
        priority, compute_units, duration_s: None where the model gave none.
        cues: words of the description that the model gives as its reason, at most three; checked by `decisions`.
        reason: a sentence of its own; empty where the model gave none. Checked before anyone reads it.
        pooling: how the device probabilities join the encoder's.
    """

    device_probabilities: Mapping[DeviceType, float]
    task_kind: TaskKind
    kind_probability: float = 1.0
    priority: int | None = None
    compute_units: float | None = None
    duration_s: float | None = None
    cues: tuple[str, ...] = ()
    reason: str = ""
    pooling: Pooling = UNPROVEN


class LanguageModel(Protocol):
    """A language model that takes part in decisions."""

    @property
    def name(self) -> str:
        """Name and version of the weights."""
        ...

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights, lowercase hex; empty where the weights are behind an endpoint."""
        ...

    def propose(self, texts: Sequence[str]) -> Sequence[Proposal]:
        """Read each description; blocking, thread-safe.

        Raises:
            ConductorError: it cannot, and says why; the decision is then made without it.
        """
        ...


class Adjuster(Protocol):
    """What was learned from this installation's own history, as a correction of what the models say (`tuning`)."""

    @property
    def name(self) -> str:
        """Name and version."""
        ...

    @property
    def checksum(self) -> str:
        """SHA-256 of the version in use, lowercase hex, as recorded on the ledger."""
        ...

    def adjust(self, embedding: FloatArray, devices: Probabilities, kinds: Probabilities) -> "Adjusted":
        """Correct the probabilities of one text; pure.

        Args:
            embedding: float32 [width], of unit length.
            devices: float64 [6], in the order of `DeviceType`.
            kinds: float64 [15], in the order of `TaskKind`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Corrected probabilities of devices (float64 [6]) and kinds (float64 [15]), each summing to 1."""

    devices: Probabilities
    kinds: Probabilities


class TokenSession(Protocol):
    """One text that a token model is continuing."""

    def extend(self, tokens: Sequence[int], *, among: Sequence[int] = ()) -> FloatArray:
        """Append at least one token; logits float32 [vocabulary], up to a constant, for what may follow the last one.

        Where `among` names tokens, only theirs need be right; without it, only those of the likeliest hundred.
        The others may be −∞: some runtimes take longer to tell all of them than to compute them.
        """
        ...

    def fork(self) -> "TokenSession":
        """An independent copy, so that alternatives can be tried from here."""
        ...


class TokenModel(Protocol):
    """A causal language model whose next-token logits can be asked for, so that a grammar can choose."""

    @property
    def name(self) -> str:
        """Name and version of the weights."""
        ...

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights, lowercase hex."""
        ...

    @property
    def context(self) -> int:
        """Tokens it can hold."""
        ...

    def tokens(self, text: str, *, start: bool) -> list[int]:
        """Token ids of a text; `start` puts the beginning-of-text token in front where the model wants one."""
        ...

    def text(self, tokens: Sequence[int]) -> str:
        """The text that tokens stand for; control tokens stand for nothing, half a character for U+FFFD."""
        ...

    def open(self) -> TokenSession:
        """An empty session; blocking, one at a time."""
        ...


class Completer(Protocol):
    """A language model that answers text with text under a JSON schema, such as an endpoint."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights, lowercase hex; empty where they are out of reach."""
        ...

    def complete(self, prompt: str, schema: JsonObject) -> str:
        """An answer, hopefully JSON of the schema; blocking, thread-safe.

        Raises:
            ConductorError: none came in time, or the server refused.
        """
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
class FailedAttempt:
    """An attempt that failed and was to be repeated: where, and when that was known."""

    node_id: str
    at_unix_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """One past task with its outcome, as remembered for later decisions.

    `embedding` is float32 [width]. `sizes` are the quantities of its `WorkProfile` (and of its text) at that time.
    `failed_attempts` are those before the last one, oldest first; a store finds them in the record of transitions.
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
    failed_attempts: tuple[FailedAttempt, ...] = ()


class ExperienceStore(Protocol):
    """Where experiences outlive the process."""

    def remember(self, experience: Experience) -> None:
        """Take one experience; it is written behind, within a second."""
        ...

    async def recall(self, limit: int) -> Iterable[Experience]:
        """The latest `limit` experiences, oldest first."""
        ...

    async def unsettled_attempts(self) -> Mapping[str, Sequence[FailedAttempt]]:
        """By id of each task that is not settled, its attempts that failed, oldest first."""
        ...
