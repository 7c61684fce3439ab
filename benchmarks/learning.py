"""Does it learn where work runs best? Six nodes with hidden speeds, ten kinds of work, 300 tasks, beside four policies.

Our side is the product: `DecisionMaker`, `PlacementTable`, `PerformanceBook` and `Estimator`, with the shipped encoder, on
a simulated clock; only the executor is simulated. The descriptions are real sentences from a set that the encoder was not
trained on. Every policy gets the same tasks at the same moments, in a world of its own where its choices have their
consequences: queues, heat, strangers' load. A run takes

    work of the kind · size · speed of the node for the kind (hidden) · heat · load · noise (8 %)

and fails with the node's hidden rate, after which its owner submits it again at once.

Regret (Lattimore and Szepesvári 2020, Bandit Algorithms, ch. 4), of a policy over a window of tasks, in per cent:

    Σ (completion − completion under the oracle) / Σ completion under the oracle

where completion is the time from the first submission to success, waiting and failed attempts included, in simulated
seconds. The oracle knows speeds, failure rates, heat, load and what is queued, and sends each task where it expects it
to be done first; it does not know the noise or the future. The peers other than the fixed score are told the right
device type of each task, which we have to read from its description.

Figures are medians over the seeds; `spread` is that of the harness, and mean ± standard deviation are printed above the
table. Not covered: speeds that change for good; several users.
"""

import heapq
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Final, Protocol

import numpy as np

from benchmarks.harness import ROOT, Goal, Row, compare
from conductor.adapters.encoder_onnx import OnnxEncoder
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import Encodings
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.decision import Decision, Need
from conductor.domain.device import Device, DeviceType, TaskKind
from conductor.domain.node import Node, NodeId, NodeReading
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Submission, Task, TaskId, TaskState
from conductor.domain.units import GIB
from conductor.domain.workload import WorkProfile
from conductor.fleet.heat import thermal_score
from conductor.fleet.performance import PerformanceBook
from conductor.scheduling.place import PlacementTable

SEEDS: Final = 20
TASKS: Final = 300
WINDOW: Final = 100
EVERY_S: Final = 16.0
TEXTS: Final = ROOT / "recipes" / "encoder" / "data" / "judge.jsonl"
START_UNIX_S: Final = 1_790_000_000.0

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


class Oracle:
    """Sends each attempt where it expects it to be done first, knowing all there is to know."""

    def __init__(self, fleet: Mapping[str, Machine]) -> None:
        self._fleet = fleet

    def choose(self, job: Job, attempt: int, now_s: float) -> str:
        def done_s(machine: Machine) -> float:
            return (machine.wait_s(now_s) + machine.expected_s(job, now_s)) / (1.0 - machine.failure_rate)

        return min(self._fleet.values(), key=done_s).name

    def ended(self, attempt: Running, machine: Machine, now_s: float) -> None:
        """Nothing to learn."""


class BestFixed(Oracle):
    """Sends each kind of work to the node that is best for it when idle, however long the queue there is."""

    def choose(self, job: Job, attempt: int, now_s: float) -> str:
        return min(
            self._fleet.values(), key=lambda machine: machine.slowness[job.kind] / (1.0 - machine.failure_rate)
        ).name


class RoundRobin(Oracle):
    """The nodes with the right device type in turn."""

    def __init__(self, fleet: Mapping[str, Machine]) -> None:
        super().__init__(fleet)
        self._turns: dict[DeviceType, int] = {}

    def choose(self, job: Job, attempt: int, now_s: float) -> str:
        device = KINDS[job.kind][0]
        able = having(self._fleet, device)
        turn = self._turns[device] = self._turns.get(device, -1) + 1
        return able[turn % len(able)].name


class LeastConnections(Oracle):
    """The node with the right device type that has the fewest tasks for each of its slots."""

    def choose(self, job: Job, attempt: int, now_s: float) -> str:
        able = having(self._fleet, KINDS[job.kind][0])
        return min(able, key=lambda machine: (len(machine.running) + len(machine.queue)) / machine.slots).name


def having(fleet: Mapping[str, Machine], device: DeviceType) -> list[Machine]:
    return [machine for machine in fleet.values() if device in machine.units]


@dataclass
class SimulatedClock:
    """The product's clock, set by the simulation."""

    at_s: float = 0.0

    def now_unix_s(self) -> float:
        return START_UNIX_S + self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


class ReadBefore:
    """The shipped encoder; every sentence is read once for all seeds."""

    def __init__(self, texts: Sequence[str]) -> None:
        encoder = OnnxEncoder()
        self.name, self.checksum, self.width = encoder.name, encoder.checksum, encoder.width
        self._row_of = {text: row for row, text in enumerate(texts)}
        self._all = encoder.encode(list(texts))

    def encode(self, texts: Sequence[str]) -> Encodings:
        rows = [self._row_of[text] for text in texts]
        parts = (self._all.embeddings, self._all.device_probabilities, self._all.kind_probabilities)
        return Encodings(*(part[rows] for part in parts))


class Ours:
    """The product, with the simulation in place of its executor."""

    def __init__(self, fleet: Mapping[str, Machine], encoder: ReadBefore) -> None:
        self._fleet = fleet
        self._clock = SimulatedClock()
        self._table = PlacementTable()
        self._book = PerformanceBook()
        self._maker = DecisionMaker(encoder, self._table, ExperienceMemory(width=encoder.width), self._clock)
        self._tasks: dict[TaskId, Task] = {}
        for machine in fleet.values():
            self._table.upsert(describe(machine), heard_at_s=0.0, slots=machine.slots)

    def choose(self, job: Job, attempt: int, now_s: float) -> str:
        self._look(now_s)
        submission = Submission(description=job.text)
        task_id = task_id_of(job, attempt)
        decision = self._maker.decide(task_id, submission, profile_of(job))
        node_id = self._node(decision)
        self._tasks[task_id] = Task(
            task_id=task_id,
            submission=submission,
            state=TaskState.RUNNING,
            submitted_at_unix_s=self._clock.now_unix_s(),
            updated_at_unix_s=self._clock.now_unix_s(),
            decision=decision,
        )
        self._table.started(
            task_id,
            node_id,
            device=decision.available_device,
            compute_units=decision.compute_units.value,
            memory_bytes=GIB,
            expected_s=decision.duration_s.value,
        )
        return node_id

    def _node(self, decision: Decision) -> NodeId:
        return decision.nodes[0].node_id

    def ended(self, attempt: Running, machine: Machine, now_s: float) -> None:
        self._look(now_s)
        task = self._tasks.pop(task_id_of(attempt.job, attempt.attempt))
        assert task.decision is not None
        self._table.finished(task.task_id)
        outcome = Outcome(
            ending=Ending.SIGNAL if attempt.fails else Ending.SUCCEEDED,
            message="",
            node_id=NodeId(machine.name),
            started_at_unix_s=START_UNIX_S + attempt.began_at_s,
            duration_s=now_s - attempt.began_at_s,
        )
        self._maker.learn(task, outcome, profile_of(attempt.job))
        self._book.observe(
            outcome.node_id,
            outcome.ending,
            duration_s=outcome.duration_s,
            predicted_duration_s=task.decision.duration_s.value,
        )

    def _look(self, now_s: float) -> None:
        """Take a reading of every node, as the machine watch does."""
        self._clock.at_s = now_s
        for machine in self._fleet.values():
            reading = read(machine, now_s)
            self._table.observe(
                reading,
                heard_at_s=now_s,
                thermal=thermal_score(reading),
                history=self._book.score(reading.node_id),
            )
        self._table.advance(now_s)


class FixedScore(Ours):
    """The product's reading of the task and its score of 40/30/20/10, without measured durations."""

    def _node(self, decision: Decision) -> NodeId:
        need = Need(device=decision.device, compute_units=decision.compute_units.value, memory_bytes=GIB)
        return self._table.rank(need).best[0].node_id


def task_id_of(job: Job, attempt: int) -> TaskId:
    return TaskId(f"t{job.number}.{attempt}")


def profile_of(job: Job) -> WorkProfile:
    return WorkProfile(signature=f"command:{job.kind}", sizes={"input_bytes": job.size * 1e6})


def describe(machine: Machine) -> Node:
    return Node(
        node_id=NodeId(machine.name),
        hostname=machine.name,
        architecture="x86_64",
        operating_system="Linux",
        logical_cores=machine.units[CPU],
        memory_bytes=MEMORY_BYTES,
        devices=tuple(
            Device(device_id=kind.value, type=kind, name=kind.value, compute_units=units)
            for kind, units in machine.units.items()
        ),
    )


def read(machine: Machine, now_s: float) -> NodeReading:
    return NodeReading(
        node_id=NodeId(machine.name),
        taken_at_unix_s=START_UNIX_S + now_s,
        cpu_utilisation=machine.load(now_s),
        free_memory_bytes=MEMORY_BYTES,
        free_disk_bytes=0,
        load_average_1m=0.0,
        cpu_temperature_celsius=machine.celsius,
    )


def read_texts() -> dict[TaskKind, list[str]]:
    """Sentences by kind of work, of those whose best device is the kind's."""
    texts: dict[TaskKind, list[str]] = {kind: [] for kind in KINDS}
    for line in TEXTS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        kind = TaskKind(row["task_kind"])
        if kind in texts and row["best"] == KINDS[kind][0]:
            texts[kind].append(row["text"])
    return texts


def measure(seeds: Sequence[int]) -> dict[str, list[list[float]]]:
    """Regret in per cent by policy, seed and window."""
    texts = read_texts()
    encoder = ReadBefore([text for kind in texts.values() for text in kind])
    policies: dict[str, Callable[[Mapping[str, Machine]], Policy]] = {
        "ours": lambda fleet: Ours(fleet, encoder),
        "fixed 40/30/20/10 score": lambda fleet: FixedScore(fleet, encoder),
        "least connections": LeastConnections,
        "round robin": RoundRobin,
        "best fixed node, known": BestFixed,
    }
    regret: dict[str, list[list[float]]] = {name: [] for name in policies}
    for seed in seeds:
        jobs = make_jobs(seed, texts)
        fleet = make_fleet(seed)
        best = simulate(seed, jobs, fleet, Oracle(fleet))
        for name, make in policies.items():
            fleet = make_fleet(seed)
            regret[name].append(by_window(simulate(seed, jobs, fleet, make(fleet)), best))
    return regret


def by_window(done_s: Sequence[float], best_s: Sequence[float]) -> list[float]:
    """Regret in per cent of the oracle's time, for each hundred tasks."""
    starts = range(0, len(best_s), WINDOW)
    return [100 * (sum(done_s[at : at + WINDOW]) / sum(best_s[at : at + WINDOW]) - 1.0) for at in starts]


def run() -> list[Row]:
    """All rows of this benchmark."""
    regret = measure(range(SEEDS))
    for name, seeds in regret.items():
        shown = [f"{fmean(window):7.1f} ± {stdev(window):5.1f}" for window in zip(*seeds, strict=True)]
        print(f"{name:24}  mean regret in % over tasks 1–100, 101–200, 201–300: {' '.join(shown)}")
    rows = []
    for window in range(TASKS // WINDOW):
        ours = [seed[window] for seed in regret["ours"]]
        goal = Goal("below", 5) if window == TASKS // WINDOW - 1 else None
        for name, seeds in regret.items():
            if name != "ours":
                metric = f"regret over tasks {window * WINDOW + 1}–{(window + 1) * WINDOW}"
                peer = [seed[window] for seed in seeds]
                rows.append(compare(metric, "%", ours, more_is_better=False, peer_name=name, peer=peer, goal=goal))
    return rows
