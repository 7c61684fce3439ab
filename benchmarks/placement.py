"""Measure placement at 1,000 nodes, and the fair queue, each beside the simplest thing that could do the job.

`make bench NAME=placement`. The peers are written here, in plain Python: a loop that scores one node after the other by
the same formula (and must name the same winner), and a binary heap that orders by level alone. Both sides run in turn,
round after round; the medians over the rounds are quoted, and the spread is (largest − smallest) / median of ours.
"""

import heapq
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence

from conductor.domain.decision import Need
from conductor.domain.device import Device, DeviceType
from conductor.domain.node import Node, NodeId, NodeReading
from conductor.domain.task import Level, TaskId, UserId
from conductor.domain.units import GIB
from conductor.scheduling.place import PlacementTable
from conductor.scheduling.queue import FairQueue, QueueRules, Waiting

NODES = 1000
DECISIONS = 10_000
ROUNDS = 5
PEER_DECISIONS = 100
QUEUE_TASKS = 20_000
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


def timed_us(act: Callable[[Need], object], wanted: Sequence[Need]) -> list[float]:
    times = []
    for need in wanted:
        began = time.perf_counter_ns()
        act(need)
        times.append((time.perf_counter_ns() - began) / 1000)
    return times


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def placement_rows() -> list[dict[str, object]]:
    seed = random.Random(1)
    nodes = [PlainNode(NodeId(f"node-{number:04}"), seed) for number in range(NODES)]
    table = PlacementTable()
    for node in nodes:
        table.upsert(node.describe(), heard_at_s=0.0)
        table.observe(node.read(), heard_at_s=0.0, thermal=node.thermal, history=node.history, queued=node.queued)
    for need in needs(20, seed):
        assert [place.node_id for place in table.rank(need).best] == best_by_loop(nodes, need)
    ours: dict[float, list[float]] = {0.5: [], 0.99: []}
    loop: dict[float, list[float]] = {0.5: [], 0.99: []}
    for _ in range(ROUNDS):
        our_times = timed_us(table.rank, needs(DECISIONS // ROUNDS, seed))
        loop_times = timed_us(lambda need: best_by_loop(nodes, need), needs(PEER_DECISIONS, seed))
        for share in ours:
            ours[share].append(percentile(our_times, share))
            loop[share].append(percentile(loop_times, share))
    return [
        row("placement at 1,000 nodes, p50", "µs", ours[0.5], "node-by-node loop", loop[0.5], None),
        row("placement at 1,000 nodes, p99", "µs", ours[0.99], "node-by-node loop", loop[0.99], 1000.0),
    ]


def queue_rows() -> list[dict[str, object]]:
    ours, heap = [], []
    for _ in range(ROUNDS):
        ours.append(fair_queue_us())
        heap.append(heap_us())
    return [row("queue push + pop, 1,000 waiting", "µs", ours, "heapq by level, no fairness", heap, 10.0)]


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


def row(
    metric: str, unit: str, ours: Sequence[float], peer_name: str, peer: Sequence[float], goal: float | None
) -> dict[str, object]:
    """One line of the table; `ratio` is how many times faster ours is, `goal` the most that ours may take."""
    mine, theirs = statistics.median(ours), statistics.median(peer)
    return {
        "metric": metric,
        "unit": unit,
        "ours": round(mine, 2),
        "peer_name": peer_name,
        "peer": round(theirs, 2),
        "ratio": round(theirs / mine, 2),
        "goal": goal,
        "met": None if goal is None else mine < goal,
        "spread": round((max(ours) - min(ours)) / mine, 3),
    }


def run() -> list[dict[str, object]]:
    """All rows of this benchmark."""
    return [*placement_rows(), *queue_rows()]


if __name__ == "__main__":
    for line in run():
        print(line)
