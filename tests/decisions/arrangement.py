"""Real, small parts to arrange decisions with: no doubles that return what a test wants to see.

`HashingEncoder` is a bag of hashed words and word parts with class probabilities from prototype sentences;
`FleetOf` ranks a list of nodes by free compute units. Both are slow witted but honest implementations of the ports.
"""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import Encodings, FloatArray
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.decision import Decision, Need, NodeScore, Ranking
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Submission, Task, TaskId, TaskState
from conductor.domain.workload import WorkProfile

WIDTH = 256
START_UNIX_S = 1_790_000_000.0

PROTOTYPES = {
    (DeviceType.GPU, TaskKind.TRAINING): "train fine-tune neural network model epochs cnn lora dataset learn weights",
    (DeviceType.GPU, TaskKind.SIMULATION): "simulate molecular dynamics particles physics monte carlo simulation",
    (DeviceType.NPU, TaskKind.INFERENCE): "classify detect recognise faces objects transcribe speech sentiment reviews",
    (DeviceType.VIDEO, TaskKind.VIDEO_TRANSCODE): "encode transcode video clip h.264 mp4 mkv hevc movie film",
    (DeviceType.ISP, TaskKind.IMAGE_PROCESSING): "resize sharpen crop photos images filter jpeg pictures watermark",
    (DeviceType.DSP, TaskKind.AUDIO_PROCESSING): "resample audio wav khz equalise loudness sound music bandpass filter",
    (DeviceType.CPU, TaskKind.DATA_PROCESSING): "sort csv rows sql query table join aggregate records database",
    (DeviceType.CPU, TaskKind.CRYPTO_OR_COMPRESSION): "zip compress encrypt hash files archive backup tar",
}


class HashingEncoder:
    """Words and word parts hashed into a unit vector; softmax over the nearest prototypes."""

    name = "hashing-words"
    checksum = hashlib.sha256(b"hashing-words").hexdigest()
    width = WIDTH

    def __init__(self) -> None:
        self._prototypes = np.stack([self._vector(text) for text in PROTOTYPES.values()])

    def encode(self, texts: Sequence[str]) -> Encodings:
        embeddings = np.stack([self._vector(text) for text in texts])
        similarities = embeddings @ self._prototypes.T
        shares = np.exp(similarities * 12.0)
        devices = np.full((len(texts), len(DeviceType)), 1e-3, dtype=np.float32)
        kinds = np.full((len(texts), len(TaskKind)), 1e-3, dtype=np.float32)
        for column, (device, kind) in enumerate(PROTOTYPES):
            devices[:, list(DeviceType).index(device)] += shares[:, column]
            kinds[:, list(TaskKind).index(kind)] += shares[:, column]
        return Encodings(
            embeddings, devices / devices.sum(axis=1, keepdims=True), kinds / kinds.sum(axis=1, keepdims=True)
        )

    def _vector(self, text: str) -> FloatArray:
        vector = np.zeros(WIDTH, dtype=np.float32)
        words = text.lower().split()
        for part in [*words, *(f"{a} {b}" for a, b in itertools.pairwise(words)), "·"]:
            digest = hashlib.blake2b(part.encode(), digest_size=8).digest()
            vector[int.from_bytes(digest[:4]) % WIDTH] += 1.0 if digest[4] & 1 else -1.0
        length = float(np.linalg.norm(vector))
        if length == 0.0:
            vector[0] = length = 1.0
        return vector / np.float32(length)


@dataclass
class StillClock:
    """Time that moves only when a test moves it."""

    at_s: float = 0.0

    def now_unix_s(self) -> float:
        return START_UNIX_S + self.at_s

    def monotonic_s(self) -> float:
        return self.at_s

    def advance(self, seconds: float) -> None:
        self.at_s += seconds


@dataclass
class FleetOf:
    """Nodes as (name, device types, free share); ranks by free share, substitutes a CPU for what nobody has."""

    nodes: list[tuple[str, frozenset[DeviceType], float]] = field(
        default_factory=lambda: [("desk", frozenset(DeviceType), 1.0)]
    )
    needs: list[Need] = field(default_factory=list)

    def offered_devices(self) -> frozenset[DeviceType]:
        return frozenset().union(*(devices for _, devices, _ in self.nodes)) if self.nodes else frozenset()

    def rank(self, need: Need) -> Ranking:
        self.needs.append(need)
        device = need.device if need.device in self.offered_devices() else DeviceType.CPU
        able = [node for node in self.nodes if device in node[1] and need.pinned_node in (None, node[0])]
        free = sorted((node for node in able if node[2] > 0), key=lambda node: -node[2])
        return Ranking(
            device=device,
            best=tuple(_score(name, share) for name, _, share in free[:3]),
            rejected=tuple(_rejected(node[0], device) for node in self.nodes if node not in free),
            node_availability=len(free) / max(len(able), 1),
            resource_availability=free[0][2] if free else 0.0,
        )


def _score(name: str, queue: float) -> NodeScore:
    score = 0.4 * 0.9 + 0.3 * queue + 0.2 * 1.0 + 0.1 * 0.5
    return NodeScore(node_id=NodeId(name), score=score, thermal=0.9, queue=queue, capability=1.0, history=0.5)


def _rejected(name: str, device: DeviceType) -> NodeScore:
    because = f"has no free {device}"
    return NodeScore(
        node_id=NodeId(name), score=0.0, thermal=0.0, queue=0.0, capability=0.0, history=0.0, rejected_because=because
    )


def a_maker(
    encoder: HashingEncoder, clock: StillClock, fleet: FleetOf | None = None, *, places: int = 1000
) -> DecisionMaker:
    return DecisionMaker(encoder, fleet or FleetOf(), ExperienceMemory(width=WIDTH, places=places), clock)


def a_fleet(*devices: DeviceType, free: float = 1.0) -> FleetOf:
    return FleetOf([("desk", frozenset(devices), free)])


def a_task(decision: Decision, description: str) -> Task:
    return Task(
        task_id=TaskId(decision.task_id),
        submission=Submission(description=description),
        state=TaskState.RUNNING,
        submitted_at_unix_s=START_UNIX_S,
        updated_at_unix_s=START_UNIX_S,
        decision=decision,
    )


def an_outcome(
    *, ending: Ending = Ending.SUCCEEDED, duration_s: float = 2.0, cpu_time_s: float = 3.0, at_s: float = 0.0
) -> Outcome:
    return Outcome(
        ending=ending,
        message="it is done" if ending is Ending.SUCCEEDED else "it went wrong",
        node_id=NodeId("desk"),
        started_at_unix_s=START_UNIX_S + at_s,
        duration_s=duration_s,
        cpu_time_s=cpu_time_s,
    )


def live_through(
    maker: DecisionMaker,
    description: str,
    outcome: Outcome,
    *,
    task_id: str = "t1",
    profile: WorkProfile | None = None,
) -> Decision:
    """Decide a task, run it to this outcome, and let the maker learn from it."""
    decision = maker.decide(task_id, Submission(description=description), profile)
    maker.learn(a_task(decision, description), outcome, profile)
    return decision
