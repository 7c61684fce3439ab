"""Measure decisions and placement at 1,000 nodes, and the fair queue, each beside the simplest thing that could do the job.

`make bench NAME=placement`. The peers are written here, in plain Python: a loop that scores one node after the other by
the same formula (and must name the same winner), and a binary heap that orders by level alone. Both sides run in turn,
round after round. A decision is measured from the encoded text to the finished reasoning, embedding apart, on the texts
our encoder was trained on, with 500 outcomes to remember.
"""

import heapq
import json
import random
import time
from collections.abc import Callable, Sequence

from benchmarks.harness import ROOT, Goal, Row, compare, percentile
from conductor.adapters.clock import SystemClock
from conductor.adapters.encoder_onnx import OnnxEncoder
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.decision import Need
from conductor.domain.device import Device, DeviceType
from conductor.domain.node import Node, NodeId, NodeReading
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Level, Submission, Task, TaskId, TaskState, UserId
from conductor.domain.units import GIB
from conductor.domain.workload import WorkProfile
from conductor.scheduling.place import PlacementTable
from conductor.scheduling.queue import FairQueue, QueueRules, Waiting

NODES = 1000
DECISIONS = 10_000
ROUNDS = 5
PEER_DECISIONS = 100
QUEUE_TASKS = 20_000
REMEMBERED = 500
TEXTS = ROOT / "recipes" / "encoder" / "data"
WAITING = 1000


class PlainNode:
    """What the node-by-node loop looks at."""

    def __init__(self, node_id: NodeId, seed: random.Random) -> None:
        self.node_id = node_id
        self.units = {DeviceType.CPU: float(seed.choice([4, 8, 16, 32]))}
        if seed.random() < 0.3:
            self.units[DeviceType.GPU] = float(seed.choice([16, 46, 128]))
        self.memory = seed.choice([8, 16, 32, 64]) * GIB
        self.free_memory = int(self.memory * seed.uniform(0.1, 1.0))
        self.utilisation = seed.random()
        self.thermal = seed.uniform(0.3, 1.0)
        self.queued = seed.randrange(0, 20)
        self.history = seed.random()

    def describe(self) -> Node:
        devices = tuple(
            Device(device_id=kind.value, type=kind, name=kind.value, compute_units=int(units))
            for kind, units in self.units.items()
        )
        return Node(
            node_id=self.node_id,
            hostname=self.node_id,
            architecture="x86_64",
            operating_system="Linux",
            logical_cores=int(self.units[DeviceType.CPU]),
            memory_bytes=self.memory,
            devices=devices,
        )

    def read(self) -> NodeReading:
        return NodeReading(
            node_id=self.node_id,
            taken_at_unix_s=0.0,
            cpu_utilisation=self.utilisation,
            gpu_utilisation=self.utilisation,
            free_memory_bytes=self.free_memory,
            free_disk_bytes=0,
            load_average_1m=0.0,
        )


def best_by_loop(nodes: Sequence[PlainNode], need: Need) -> list[NodeId]:
    """The best three by the same formula, one node after the other; no words, no rejected nodes, no substitutes."""
    scored = []
    for node in nodes:
        units = node.units.get(need.device, 0.0)
        if units <= 0 or node.memory < need.memory_bytes or node.node_id in need.excluded:
            continue
        slots = max(1.0, node.units[DeviceType.CPU])
        free_units = units * (1.0 - node.utilisation)
        covered = min(1.0, free_units / need.compute_units) + min(1.0, node.free_memory / need.memory_bytes)
        queue = slots / (slots + node.queued)
        scored.append((0.4 * node.thermal + 0.3 * queue + 0.2 * covered / 2 + 0.1 * node.history, node.node_id))
    return [node_id for _, node_id in sorted(scored, key=lambda pair: -pair[0])[:3]]


def needs(count: int, seed: random.Random) -> list[Need]:
    return [
        Need(
            device=seed.choice([DeviceType.CPU, DeviceType.GPU]),
            compute_units=seed.choice([1.0, 4.0, 24.0]),
            memory_bytes=seed.choice([1, 4, 12]) * GIB,
        )
        for _ in range(count)
    ]


def timed_us(act: Callable[..., object], wanted: Sequence[object]) -> list[float]:
    times = []
    for need in wanted:
        began = time.perf_counter_ns()
        act(need)
        times.append((time.perf_counter_ns() - began) / 1000)
    return times


def thousand_nodes(seed: random.Random) -> tuple[list[PlainNode], PlacementTable]:
    nodes = [PlainNode(NodeId(f"node-{number:04}"), seed) for number in range(NODES)]
    table = PlacementTable()
    for node in nodes:
        table.upsert(node.describe(), heard_at_s=0.0)
        table.observe(node.read(), heard_at_s=0.0, thermal=node.thermal, history=node.history, queued=node.queued)
    return nodes, table


def placement_rows() -> list[Row]:
    seed = random.Random(1)
    nodes, table = thousand_nodes(seed)
    for need in needs(20, seed):
        assert [place.node_id for place in table.rank(need).best] == best_by_loop(nodes, need)
    ours, loop = [], []
    for _ in range(ROUNDS):
        ours.append(timed_us(table.rank, needs(DECISIONS // ROUNDS, seed)))
        loop.append(timed_us(lambda need: best_by_loop(nodes, need), needs(PEER_DECISIONS, seed)))
    return [
        compare(
            f"placement at 1,000 nodes, {name}",
            "µs",
            [percentile(times, share) for times in ours],
            more_is_better=False,
            peer_name="node-by-node loop",
            peer=[percentile(times, share) for times in loop],
            goal=goal,
        )
        for name, share, goal in (("p50", 0.5, None), ("p99", 0.99, Goal("below", 1000)))
    ]


def decision_rows() -> list[Row]:
    """10,000 decisions over all texts of the training data, at 1,000 nodes."""
    maker = taught_maker(texts := all_texts())
    analyses = [analysis for start in range(0, len(texts), 64) for analysis in maker.prepare(texts[start : start + 64])]
    rounds = []
    for number in range(ROUNDS):
        picked = [(number * DECISIONS // ROUNDS + turn) % len(texts) for turn in range(DECISIONS // ROUNDS)]
        rounds.append(timed_us(lambda at: maker.conclude("t", Submission(description=texts[at]), analyses[at]), picked))
    return [
        compare(
            f"decision at 1,000 nodes, embedding apart, {name}",
            "µs",
            [percentile(times, share) for times in rounds],
            more_is_better=False,
            goal=goal,
        )
        for name, share, goal in (("p50", 0.5, Goal("below", 1000)), ("p99", 0.99, None))
    ]


def all_texts() -> list[str]:
    lines = (line for path in sorted(TEXTS.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines())
    return list(dict.fromkeys(json.loads(line)["text"] for line in lines))


def taught_maker(texts: Sequence[str]) -> DecisionMaker:
    """A decision maker over 1,000 nodes that remembers some outcomes."""
    seed, encoder = random.Random(2), OnnxEncoder()
    _, table = thousand_nodes(seed)
    maker = DecisionMaker(encoder, table, ExperienceMemory(width=encoder.width), SystemClock())
    for number, text in enumerate(seed.sample(list(texts), REMEMBERED)):
        submission = Submission(description=text)
        profile = WorkProfile(signature=f"command:program-{number % 50}", sizes={"input_bytes": seed.uniform(1e3, 1e9)})
        decision = maker.decide(f"past-{number}", submission, profile)
        task = Task(
            task_id=TaskId(f"past-{number}"),
            submission=submission,
            state=TaskState.SUCCEEDED,
            submitted_at_unix_s=0.0,
            updated_at_unix_s=0.0,
            decision=decision,
        )
        ending = Ending.SUCCEEDED if seed.random() < 0.95 else Ending.EXIT_CODE
        outcome = Outcome(
            ending=ending,
            message="",
            node_id=NodeId("node-0001"),
            started_at_unix_s=0.0,
            duration_s=seed.uniform(0.1, 60.0),
        )
        maker.learn(task, outcome, profile)
    return maker


def queue_rows() -> list[Row]:
    ours, heap = [], []
    for _ in range(ROUNDS):
        ours.append(fair_queue_us())
        heap.append(heap_us())
    return [
        compare(
            "queue push + pop, 1,000 waiting",
            "µs",
            ours,
            more_is_better=False,
            peer_name="heapq by level, no fairness",
            peer=heap,
            goal=Goal("below", 10),
        )
    ]


def fair_queue_us() -> float:
    queue = FairQueue(QueueRules(depth=2 * WAITING))
    for number in range(WAITING):
        queue.push(waiting(number))
    fresh = [waiting(number) for number in range(WAITING, WAITING + QUEUE_TASKS)]
    began = time.perf_counter_ns()
    for item in fresh:
        queue.push(item)
        queue.pop(0.0)
    return (time.perf_counter_ns() - began) / 1000 / QUEUE_TASKS


def heap_us() -> float:
    heap = [(number % 4, number, waiting(number)) for number in range(WAITING)]
    heapq.heapify(heap)
    fresh = [(number % 4, number, waiting(number)) for number in range(WAITING, WAITING + QUEUE_TASKS)]
    began = time.perf_counter_ns()
    for entry in fresh:
        heapq.heappush(heap, entry)
        heapq.heappop(heap)
    return (time.perf_counter_ns() - began) / 1000 / QUEUE_TASKS


def waiting(number: int) -> Waiting:
    return Waiting(TaskId(f"t{number}"), Level(number % 4), UserId(f"user-{number % 20}"), 1.0, 0.0)


def run() -> list[Row]:
    """All rows of this benchmark."""
    return [*placement_rows(), *decision_rows(), *queue_rows()]


if __name__ == "__main__":
    for line in run():
        print(line)
