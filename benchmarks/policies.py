"""Who chooses the node of a task in the simulated fleet: an oracle, four simple policies, and the product itself.

The oracle knows speeds, failure rates, heat, load and what is queued, and sends each task where it expects it to be done
first; it does not know the noise or the future. The simple ones are told the right device type of each task, which the
product has to read from its description.

The product is `DecisionMaker`, `PlacementTable`, `PerformanceBook` and `Estimator` on a simulated clock; only the executor
is simulated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.simulator import CPU, KINDS, MEMORY_BYTES, Job, Machine, Running
from conductor.adapters.encoder_onnx import OnnxEncoder
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import Encodings
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.decision import Decision, Need
from conductor.domain.device import Device, DeviceType
from conductor.domain.node import Node, NodeId, NodeReading
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Submission, Task, TaskId, TaskState
from conductor.domain.units import GIB
from conductor.domain.workload import WorkProfile
from conductor.fleet.heat import thermal_score
from conductor.fleet.performance import PerformanceBook
from conductor.scheduling.place import PlacementTable

START_UNIX_S: Final = 1_790_000_000.0


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
