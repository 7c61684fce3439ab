"""A decision: where and how a task runs, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.json import JsonObject
from conductor.domain.node import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A predicted quantity with the interval that holds it with 80 % probability.

    `source` is `history` when measured outcomes of this workload decided, `prior` when only the description did.
    """

    value: float
    low: float
    high: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceParts:
    """The four parts of a confidence, each in 0–1, before weighting (FEATURES C11)."""

    similarity: float
    device_success: float
    node_availability: float
    resource_availability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeScore:
    """Why a node stands where it stands: the routing score in 0–1 and its parts (FEATURES G4).

    The score is 0.4 thermal + 0.3 queue + 0.2 capability + 0.1 history. `rejected_because` is empty for a candidate.
    Where measured runs tell nodes apart, candidates stand in the order of `expected_s`, the seconds until the task would
    be done there, waiting included; it rests on `expected_runs` runs of the same work on that node.
    """

    node_id: NodeId
    score: float
    thermal: float
    queue: float
    capability: float
    history: float
    remark: str = ""
    rejected_because: str = ""
    expected_s: float | None = None
    expected_runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What one task would take on each node of a device type; equally long lists, one entry per node.

    `duration_s` is the expected run, `spread` its uncertainty (standard deviation of the logarithm), `success` the
    chance in 0–1 that an attempt there succeeds, `runs` how many runs of the same work on that node say so. Nodes that
    are not named are expected to be as `elsewhere`.
    """

    node_ids: Sequence[NodeId]
    duration_s: Sequence[float]
    spread: Sequence[float]
    success: Sequence[float]
    runs: Sequence[int]
    elsewhere_s: float
    elsewhere_spread: float
    elsewhere_success: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a task asks of a node; `pinned_node` restricts the choice to one, `excluded` rules nodes out.

    `forecast` is for the type `forecast_device`; `explore` allows to try a node that is not known to be the best but
    could be.
    """

    device: DeviceType
    compute_units: float
    memory_bytes: int
    pinned_node: NodeId | None = None
    excluded: frozenset[NodeId] = frozenset()
    forecast: Forecast | None = None
    forecast_device: DeviceType | None = None
    explore: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Nodes for a need, best first, with what decided.

    `device` is the type the candidates were ranked for: the one needed, or the best substitute the fleet has.
    `best` holds at most three; `rejected` at most ten nodes that cannot take the task, each with its reason.
    `node_availability` is the share of capable nodes that could start now, `resource_availability` the share of the
    needed compute units and memory that the best node has free, both in 0–1.
    """

    device: DeviceType
    best: tuple[NodeScore, ...]
    rejected: tuple[NodeScore, ...]
    node_availability: float
    resource_availability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarTask:
    """A past task that the decision leaned on."""

    task_id: str
    description: str
    similarity: float
    device: DeviceType
    succeeded: bool | None
    duration_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to "where should this run, and what will it take?".

    `device` is the ideal type among all six; `available_device` is what this fleet offers for it.
    `priority` runs from 1 (critical) to 5 (low). `nodes` holds the best three, best first. `confidence` is in 0–1.
    `models` maps the name of each model that took part to its SHA-256 (empty behind an endpoint, where nobody can check
    it), `evidence` is what the reasoning may cite.
    """

    task_id: str
    device: DeviceType
    runner_up: DeviceType
    available_device: DeviceType
    task_kind: TaskKind
    priority: int
    compute_units: Estimate
    duration_s: Estimate
    confidence: float
    parts: ConfidenceParts
    nodes: tuple[NodeScore, ...]
    reasoning: str
    similar: tuple[SimilarTask, ...]
    device_probabilities: tuple[tuple[DeviceType, float], ...]
    evidence: JsonObject
    models: tuple[tuple[str, str], ...]
    decided_at_unix_s: float
