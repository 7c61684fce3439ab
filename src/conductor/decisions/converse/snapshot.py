"""Everything that a reply may speak of: the installation at one instant, and the figures drawn from it.

The caller fills a `Snapshot`; here is only arithmetic on it. `figures` counts, averages and compares; what deserves
advice is `advice`, what may be said of it is `known`.

Covered: fleets without readings, tasks without decisions or outcomes. Not covered: tasks beyond those handed in; where
these do not reach back for a whole window, `Figures.complete` says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from conductor.domain.device import DeviceType
from conductor.domain.node import Node, NodeReading
from conductor.domain.task import Task, TaskState

HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0
WAITING: Final = frozenset({TaskState.SUBMITTED, TaskState.QUEUED})
UNDER_WAY: Final = frozenset({TaskState.PLACED, TaskState.RUNNING})
FAILURES: Final = frozenset({TaskState.FAILED, TaskState.DEAD})


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNow:
    """One machine: hardware, latest reading, performance score in 0–1 and the attempts it rests on."""

    node: Node
    reading: NodeReading | None
    is_silent: bool
    performance: float
    attempts: int

    @property
    def hottest_celsius(self) -> float | None:
        """The highest temperature among processor and accelerator; None without a thermometer."""
        reading = self.reading
        known = (
            []
            if reading is None
            else [c for c in (reading.cpu_temperature_celsius, reading.gpu_temperature_celsius) if c]
        )
        return max(known, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNow:
    """A model that takes part, with the SHA-256 of its weights (empty behind an endpoint), and what it does."""

    name: str
    sha256: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is known now.

    Args:
        waiting, running: tasks in the queue and attempts under way, of the whole installation.
        tasks: the latest ones, newest first; `reaches_back_to_unix_s` is the submission time of the oldest, or 0 when
            these are all there are.
        pending: why a waiting task waits, a sentence by task id.
    """

    taken_at_unix_s: float
    nodes: tuple[NodeNow, ...] = ()
    waiting: int = 0
    running: int = 0
    tasks: tuple[Task, ...] = ()
    reaches_back_to_unix_s: float = 0.0
    pending: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    ledger_entries: int = 0
    ledger_pending: int = 0
    models: tuple[ModelNow, ...] = ()

    def task(self, task_id: str) -> Task | None:
        """A task by its id, if it is among these."""
        return next((task for task in self.tasks if task.task_id == task_id), None)

    def unsettled(self) -> tuple[Task, ...]:
        """Tasks on their road, newest first."""
        return tuple(task for task in self.tasks if not task.is_settled)

    def node(self, name: str) -> NodeNow | None:
        """A node by id or host name."""
        wanted = name.casefold()
        return next((n for n in self.nodes if wanted in (n.node.node_id.casefold(), n.node.hostname.casefold())), None)

    def present(self) -> tuple[NodeNow, ...]:
        """Nodes that were heard of recently."""
        return tuple(node for node in self.nodes if not node.is_silent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Ends of tasks that have something in common: device type, node or kind of work."""

    name: str
    ended: int
    failed: int
    median_s: float | None

    @property
    def error_rate(self) -> float:
        """Failures per ended task, in 0–1."""
        return self.failed / self.ended if self.ended else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What happened within a window before the snapshot; cancelled tasks say nothing and are left out."""

    window_s: float
    complete: bool
    total: Tally
    by_device: tuple[Tally, ...]
    by_node: tuple[Tally, ...]
    by_kind: tuple[Tally, ...]
    median_wait_s: float | None

    def all(self) -> tuple[Tally, ...]:
        """Every tally."""
        return (self.total, *self.by_device, *self.by_node, *self.by_kind)


def figures(snapshot: Snapshot, window_s: float) -> Figures:
    """Count and compare the tasks that ended within the last `window_s` seconds."""
    since = snapshot.taken_at_unix_s - window_s
    ended = [task for task in snapshot.tasks if _ended_at(task) >= since]
    decided = [task for task in ended if task.decision is not None]
    return Figures(
        window_s=window_s,
        complete=snapshot.reaches_back_to_unix_s <= since,
        total=_tally("all tasks", ended),
        by_device=_tallies((task.decision.available_device.value, task) for task in decided if task.decision),
        by_node=_tallies((task.outcome.node_id, task) for task in ended if task.outcome),
        by_kind=_tallies((task.decision.task_kind.value, task) for task in decided if task.decision),
        median_wait_s=_median(
            max(0.0, task.outcome.started_at_unix_s - task.submitted_at_unix_s) for task in ended if task.outcome
        ),
    )


def devices_on_offer(snapshot: Snapshot) -> dict[DeviceType, int]:
    """How many devices of each type the nodes heard of recently have."""
    found: dict[DeviceType, int] = {}
    for node in snapshot.present():
        for device in node.node.devices:
            found[device.type] = found.get(device.type, 0) + 1
    return found


def busy_on(snapshot: Snapshot, node_id: str) -> int:
    """Attempts under way on one node."""
    return sum(task.node_id == node_id for task in snapshot.tasks if task.state in UNDER_WAY)


def used_memory_share(node: NodeNow) -> float | None:
    """Main memory in use, in 0–1."""
    if node.reading is None or not node.node.memory_bytes:
        return None
    return 1.0 - node.reading.free_memory_bytes / node.node.memory_bytes


def states(snapshot: Snapshot) -> dict[TaskState, int]:
    """How many of the tasks stand in each state."""
    found: dict[TaskState, int] = {}
    for task in snapshot.tasks:
        found[task.state] = found.get(task.state, 0) + 1
    return found


def _ended_at(task: Task) -> float:
    """When a task succeeded or failed; long ago for any other."""
    ended = task.outcome is not None and (task.state is TaskState.SUCCEEDED or task.state in FAILURES)
    return task.outcome.started_at_unix_s + task.outcome.duration_s if ended and task.outcome else float("-inf")


def _tallies(named: Iterable[tuple[str, Task]]) -> tuple[Tally, ...]:
    groups: dict[str, list[Task]] = {}
    for name, task in named:
        groups.setdefault(name, []).append(task)
    return tuple(_tally(name, tasks) for name, tasks in sorted(groups.items()))


def _tally(name: str, tasks: Sequence[Task]) -> Tally:
    return Tally(
        name=name,
        ended=len(tasks),
        failed=sum(task.state in FAILURES for task in tasks),
        median_s=_median(task.outcome.duration_s for task in tasks if task.outcome and task.outcome.succeeded),
    )


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return median(known) if known else None
