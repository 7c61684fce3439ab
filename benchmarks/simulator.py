"""A simulated fleet: six nodes with hidden speeds and failure rates, ten kinds of work, tasks that queue and fail.

A run takes

    work of the kind · size · speed of the node for the kind (hidden) · heat · load · noise (8 %)

and fails with the node's hidden rate, after which its owner submits it again at once. The same seed is the same world,
whichever policy works in it; its choices have their consequences there: queues, heat, strangers' load.

Which node runs what is a policy's choice (`policies`). Not covered: speeds that change for good; several users.
"""

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.units import GIB

TASKS: Final = 300
EVERY_S: Final = 16.0

GPU, NPU, VIDEO, ISP, DSP, CPU = DeviceType
#: Kinds of work with their device type and the seconds they take at size 1 on a typical node.
KINDS: Final[Mapping[TaskKind, tuple[DeviceType, float]]] = {
    TaskKind.TRAINING: (GPU, 60.0),
    TaskKind.LLM_GENERATION: (GPU, 20.0),
    TaskKind.RENDERING: (GPU, 45.0),
    TaskKind.INFERENCE: (NPU, 12.0),
    TaskKind.VIDEO_TRANSCODE: (VIDEO, 30.0),
    TaskKind.IMAGE_PROCESSING: (ISP, 10.0),
    TaskKind.AUDIO_PROCESSING: (DSP, 8.0),
    TaskKind.SIGNAL_PROCESSING: (DSP, 15.0),
    TaskKind.DATA_PROCESSING: (CPU, 25.0),
    TaskKind.COMPILE_OR_BUILD: (CPU, 40.0),
}
#: Nodes with their slots and compute units by device type.
FLEET: Final[Mapping[str, tuple[int, Mapping[DeviceType, int]]]] = {
    "server": (2, {CPU: 32, GPU: 108}),
    "desktop": (1, {CPU: 16, GPU: 46, VIDEO: 2}),
    "workstation": (1, {CPU: 12, GPU: 30, NPU: 10, VIDEO: 2}),
    "laptop": (1, {CPU: 8, GPU: 8, NPU: 16, ISP: 2, VIDEO: 1, DSP: 2}),
    "board": (1, {CPU: 6, NPU: 8, ISP: 2, VIDEO: 1, DSP: 4}),
    "pi": (1, {CPU: 4, ISP: 1, DSP: 2}),
}
#: How much longer work takes where its device type is missing and a processor does it.
WITHOUT_DEVICE: Final = 5.0
NODE_SPREAD, KIND_SPREAD, SIZE_SPREAD, NOISE = 0.4, 0.4, 0.5, 0.08
#: Enough for whatever a sentence asks for: what fits where is not the question here.
MEMORY_BYTES: Final = 4096 * GIB
LIMIT_CELSIUS: Final = 80.0
WARMING_S: Final = 120.0
LOAD_CHANGES_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Job:
    """One task as its owner sees it."""

    number: int
    arrives_at_s: float
    kind: TaskKind
    size: float
    text: str


@dataclass(slots=True)
class Running:
    """One attempt on a node: when it was taken, begun, and will end (once begun)."""

    job: Job
    attempt: int
    began_at_s: float = 0.0
    ends_at_s: float = 0.0
    fails: bool = False


@dataclass(slots=True)
class Machine:
    """The truth about one node, and what it is doing."""

    name: str
    slots: int
    units: Mapping[DeviceType, int]
    slowness: Mapping[TaskKind, float]
    failure_rate: float
    ambient_celsius: float
    load_seed: int
    running: list[Running] = field(default_factory=list)
    queue: list[Running] = field(default_factory=list)
    warmth: float = 0.0
    warmed_at_s: float = 0.0

    def warm(self, now_s: float) -> None:
        """Let it take on the temperature of what it was doing until now; called before that changes."""
        busy = min(1.0, len(self.running) / self.slots)
        self.warmth += (busy - self.warmth) * (1.0 - np.exp(-(now_s - self.warmed_at_s) / WARMING_S))
        self.warmed_at_s = now_s

    @property
    def celsius(self) -> float:
        return self.ambient_celsius + 38.0 * self.warmth

    def load(self, now_s: float) -> float:
        """The share of its processor that strangers use, steady for ten minutes."""
        draw = random.Random(f"{self.load_seed} {int(now_s // LOAD_CHANGES_S)}")
        return draw.uniform(0.2, 0.6) if draw.random() < 0.25 else draw.uniform(0.0, 0.1)

    def expected_s(self, job: Job, now_s: float) -> float:
        """What a run begun now would take without noise."""
        hot = 1.0 + max(0.0, self.celsius - LIMIT_CELSIUS) / 20.0
        loaded = 1.0 / (1.0 - 0.5 * self.load(now_s))
        return KINDS[job.kind][1] * job.size * self.slowness[job.kind] * hot * loaded

    def wait_s(self, now_s: float) -> float:
        """Until a slot is free for one more, by the exact ends of what runs and the expectation of what waits."""
        free = sorted([each.ends_at_s for each in self.running] + [now_s] * (self.slots - len(self.running)))
        heapq.heapify(free)
        for each in self.queue:
            heapq.heappush(free, heapq.heappop(free) + self.expected_s(each.job, now_s))
        return free[0] - now_s


class Policy(Protocol):
    """Chooses a node for each attempt, and is told how it ended."""

    def choose(self, job: Job, attempt: int, now_s: float) -> str: ...

    def ended(self, attempt: Running, machine: Machine, now_s: float) -> None: ...


def make_jobs(seed: int, texts: Mapping[TaskKind, Sequence[str]]) -> list[Job]:
    draw = random.Random(f"jobs {seed}")
    jobs, now_s = [], 0.0
    for number in range(TASKS):
        now_s += draw.expovariate(1 / EVERY_S)
        kind = draw.choice(list(KINDS))
        jobs.append(Job(number, now_s, kind, draw.lognormvariate(0.0, SIZE_SPREAD), draw.choice(texts[kind])))
    return jobs


def make_fleet(seed: int) -> dict[str, Machine]:
    draw = random.Random(f"fleet {seed}")
    fleet = {}
    for name, (slots, units) in FLEET.items():
        general = draw.gauss(0.0, NODE_SPREAD)
        slowness = {
            kind: float(np.exp(general + draw.gauss(0.0, KIND_SPREAD))) * (1.0 if device in units else WITHOUT_DEVICE)
            for kind, (device, _) in KINDS.items()
        }
        fleet[name] = Machine(
            name,
            slots,
            units,
            slowness,
            failure_rate=draw.choice([0.01, 0.01, 0.03, 0.03, 0.1, 0.15]),
            ambient_celsius=draw.uniform(30.0, 50.0),
            load_seed=draw.getrandbits(32),
        )
    return fleet


def simulate(seed: int, jobs: Sequence[Job], fleet: Mapping[str, Machine], policy: Policy) -> list[float]:
    """Completion times in seconds, by job."""
    done_s = [0.0] * len(jobs)
    events: list[tuple[float, int, str, Running]] = []
    count = 0

    def push(at_s: float, name: str, attempt: Running) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (at_s, count, name, attempt))

    def begin(machine: Machine, now_s: float) -> None:
        while machine.queue and len(machine.running) < machine.slots:
            attempt = machine.queue.pop(0)
            draw = random.Random(f"run {seed} {attempt.job.number} {attempt.attempt} {machine.name}")
            full_s = machine.expected_s(attempt.job, now_s) * draw.lognormvariate(0.0, NOISE)
            attempt.fails = draw.random() < machine.failure_rate
            attempt.began_at_s = now_s
            attempt.ends_at_s = now_s + full_s * (draw.uniform(0.05, 1.0) if attempt.fails else 1.0)
            machine.running.append(attempt)
            push(attempt.ends_at_s, machine.name, attempt)

    for job in jobs:
        push(job.arrives_at_s, "", Running(job, 0))
    while events:
        now_s, _, name, attempt = heapq.heappop(events)
        for machine in fleet.values():
            machine.warm(now_s)
        if name:
            machine = fleet[name]
            machine.running.remove(attempt)
            policy.ended(attempt, machine, now_s)
            begin(machine, now_s)
            if not attempt.fails:
                done_s[attempt.job.number] = now_s - attempt.job.arrives_at_s
                continue
            attempt = Running(attempt.job, attempt.attempt + 1)
        chosen = fleet[policy.choose(attempt.job, attempt.attempt, now_s)]
        chosen.queue.append(attempt)
        begin(chosen, now_s)
    return done_s
