"""Keep what is known about every node up to date, and say which is the best place for a task.

Updates touch one row; ranking reads whole columns (`rank`, `score`). It satisfies `decisions.ports.FleetView` by its
shape. A node is silent when it was last heard more than `silence_s` before the time last told by `advance`.

Who is alive and how hot it is are measured by `fleet` and handed in; whether a task fits this very moment is `pools`'.
One thread only.
"""

from dataclasses import dataclass
from math import nan
from typing import Final

from conductor.domain.decision import Need, NodeScore, Ranking
from conductor.domain.device import DeviceType
from conductor.domain.errors import NotFound
from conductor.domain.node import Node, NodeId, NodeReading
from conductor.domain.task import TaskId
from conductor.scheduling import remarks
from conductor.scheduling.columns import DEVICE_ROW, Columns
from conductor.scheduling.rank import look, node_score, rank

SILENCE_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Why a node was not chosen, beside the one that was; the material for "what would have made it win".

    `differences` says what each weighted part adds to the node's score against the winner's; they sum to
    `node.score_if_able − winner.score`. `winner` is None when no node can take the task.
    """

    node: NodeScore
    score_if_able: float
    winner: NodeScore | None
    differences: dict[str, float]
    device: DeviceType


@dataclass(frozen=True, slots=True)
class _Occupancy:
    node_id: NodeId
    device: DeviceType
    compute_units: float
    memory_bytes: int
    planned_at_s: float  # when it was due, had its node never been late


class PlacementTable:
    """All nodes, ready to be ranked. Times are in seconds of one clock of the caller's choice."""

    def __init__(self, *, silence_s: float = SILENCE_S) -> None:
        self._columns = Columns()
        self._silence_s = silence_s
        self._now_s = 0.0
        self._occupied: dict[TaskId, _Occupancy] = {}
        self._offered: frozenset[DeviceType] = frozenset()
        self.version = 0  # changes with every change that may change a ranking

    def __len__(self) -> int:
        return self._columns.count

    def upsert(self, node: Node, *, heard_at_s: float, slots: int | None = None) -> None:
        """Add a node or renew its description. `slots` is how many tasks it may run at once, by default its cores."""
        row = self._columns.row_of.get(node.node_id)
        if row is None:
            row = self._columns.add(node.node_id)
        running_here = [taken for taken in self._occupied.values() if taken.node_id == node.node_id]
        for taken in running_here:  # what they take is counted anew, in case the kinds of memory have changed
            self._occupy(taken, -1)
        self._columns.describe(row, node)
        for taken in running_here:
            self._occupy(taken, 1)
        self._columns.slots[row] = max(1, node.logical_cores if slots is None else slots)
        self._find_offered()
        self._heard(row, heard_at_s)

    def remove(self, node_id: NodeId) -> None:
        """Forget a node that has left, and the tasks it ran."""
        if node_id in self._columns.row_of:
            self._columns.drop(node_id)
            self._occupied = {task: taken for task, taken in self._occupied.items() if taken.node_id != node_id}
            self._find_offered()
            self.version += 1

    def observe(
        self,
        reading: NodeReading,
        *,
        heard_at_s: float,
        thermal: float,
        history: float | None = None,
        queued: int | None = None,
    ) -> None:
        """Take in one reading with the scores that `fleet` derived from it; None leaves a value as it was.

        Raises:
            NotFound: the node was never described.
        """
        row, columns = self._row(reading.node_id), self._columns
        temperatures = (reading.cpu_temperature_celsius, reading.gpu_temperature_celsius)
        columns.temperature_c[row] = max((t for t in temperatures if t is not None), default=nan)
        columns.thermal[row] = _unit(thermal)
        if history is not None:
            columns.history[row] = _unit(history)
        if queued is not None:
            columns.queued[row] = max(0, queued)
        own = columns.own_memory[:, row]
        columns.memory_free[~own, row] = reading.free_memory_bytes
        if reading.free_vram_bytes is not None:
            columns.memory_free[own, row] = reading.free_vram_bytes
        columns.utilisation[DEVICE_ROW[DeviceType.CPU], row] = _unit(reading.cpu_utilisation)
        if reading.gpu_utilisation is not None:
            columns.utilisation[DEVICE_ROW[DeviceType.GPU], row] = _unit(reading.gpu_utilisation)
        self._heard(row, heard_at_s)

    def advance(self, now_s: float) -> None:
        """Tell the time; nodes not heard for too long become silent."""
        columns, n = self._columns, self._columns.count
        self._now_s = max(now_s, self._now_s)
        usable = ~columns.drained[:n] & (self._now_s - columns.heard_at_s[:n] <= self._silence_s)
        if (usable != columns.usable[:n]).any():
            columns.usable[:n] = usable
            self.version += 1

    def drain(self, node_id: NodeId, *, drained: bool = True) -> None:
        """Give a node no new work, or give it work again.

        Raises:
            NotFound: there is no such node.
        """
        row = self._row(node_id)
        self._columns.drained[row] = drained
        self._refresh(row)

    def started(
        self,
        task_id: TaskId,
        node_id: NodeId,
        *,
        device: DeviceType,
        compute_units: float,
        memory_bytes: int,
        expected_s: float = 0.0,
    ) -> None:
        """Count a task as running, or waiting for its turn, on a node; a task that is counted already moves there.

        Args:
            expected_s: how long its run will take, in seconds.

        Raises:
            NotFound: there is no such node.
        """
        row, columns = self._row(node_id), self._columns
        self.finished(task_id)
        due_at_s = max(self._now_s, float(columns.free_at_s[row])) + expected_s / float(columns.slots[row])
        columns.free_at_s[row] = due_at_s
        planned_s = due_at_s - float(columns.late_s[row])
        taken = self._occupied[task_id] = _Occupancy(node_id, device, compute_units, memory_bytes, planned_s)
        self._occupy(taken, 1)

    def finished(self, task_id: TaskId) -> None:
        """Count a task as gone, and what waits behind it as due earlier or later; nothing when it was not counted."""
        taken = self._occupied.pop(task_id, None)
        if taken is not None:
            row, columns = self._row(taken.node_id), self._columns
            late_s = (self._now_s - taken.planned_at_s - columns.late_s[row]) / columns.slots[row]
            columns.free_at_s[row] += late_s
            columns.late_s[row] += late_s
            self._occupy(taken, -1)

    def offered_devices(self) -> frozenset[DeviceType]:
        """Device types that at least one known node has."""
        return self._offered

    def rank(self, need: Need) -> Ranking:
        """The best three nodes for a need, on the device asked for or the nearest the fleet can offer, and why."""
        return rank(self._columns, need, self._now_s)

    def why_not(self, need: Need, node_id: NodeId) -> Comparison:
        """Compare one node with the winner, part by part, on the device that the winner was chosen for.

        Raises:
            NotFound: there is no such node.
        """
        row, columns = self._row(node_id), self._columns
        scored, ranking = look(columns, need, self._now_s), self.rank(need)
        winner = ranking.best[0] if ranking.best else None
        reason = remarks.why_rejected(columns, need, scored.device, row, self._now_s)
        winner_row = row if winner is None else columns.row_of[winner.node_id]
        remark = "" if reason or winner_row == row else remarks.behind(columns, need, scored, row, winner_row)
        return Comparison(
            node=node_score(columns, scored, row, remark=remark, rejected_because=reason),
            score_if_able=float(scored.parts.score[row]),
            winner=winner,
            differences=remarks.weighted_differences(scored.parts, row, winner_row),
            device=scored.device,
        )

    def _row(self, node_id: NodeId) -> int:
        try:
            return self._columns.row_of[node_id]
        except KeyError:
            raise NotFound(
                f"there is no node {node_id!r}; `conductor nodes list` shows the nodes there are", field="node_id"
            ) from None

    def _heard(self, row: int, heard_at_s: float) -> None:
        self._columns.heard_at_s[row] = max(heard_at_s, self._columns.heard_at_s[row])
        self._now_s = max(heard_at_s, self._now_s)
        self._refresh(row)

    def _refresh(self, row: int) -> None:
        columns = self._columns
        heard_lately = self._now_s - columns.heard_at_s[row] <= self._silence_s
        columns.usable[row] = heard_lately and not columns.drained[row]
        self.version += 1

    def _occupy(self, taken: _Occupancy, sign: int) -> None:
        columns, at = self._columns, DEVICE_ROW[taken.device]
        row = self._row(taken.node_id)
        columns.running[row] += sign
        columns.units_taken[at, row] += sign * taken.compute_units
        own = columns.own_memory[:, row]
        if own[at]:
            columns.memory_taken[at, row] += sign * taken.memory_bytes
        else:  # the memory of the node, which all types without their own share
            columns.memory_taken[~own, row] += sign * taken.memory_bytes
        if not columns.running[row]:  # sums of floats need not return to exactly nothing
            columns.units_taken[:, row] = 0.0
            columns.free_at_s[row] = columns.late_s[row] = 0.0
        self.version += 1

    def _find_offered(self) -> None:
        units = self._columns.units[:, : self._columns.count]
        self._offered = frozenset(device for device, at in DEVICE_ROW.items() if (units[at] > 0).any())


def _unit(value: float) -> float:
    """Into 0–1; what is no number counts as 0."""
    return min(1.0, max(0.0, value)) if value == value else 0.0
