"""Say in words why a node is behind the winner, or why it cannot take a task.

Every number in a sentence stands in the columns. Only the few nodes that are shown are put into words. Which nodes
those are is `rank`'s.
"""

from typing import Final

import numpy as np

from conductor.domain.decision import Need
from conductor.domain.device import DeviceType
from conductor.domain.units import format_bytes, format_duration
from conductor.scheduling.columns import DEVICE_ROW, Columns
from conductor.scheduling.score import WEIGHTS, Parts, Scored

#: Differences in a weighted part that are too small to be named.
_NEGLIGIBLE: Final = 0.002
#: From this ratio on, expected times are worth telling apart.
_TELLING: Final = 1.05


def behind(columns: Columns, need: Need, scored: Scored, row: int, winner: int) -> str:
    """What costs a node the most against the winner: the time it would take, or the largest weighted differences."""
    slower = _slower(columns, scored, row, winner)
    if slower:
        return slower
    losses = sorted(weighted_differences(scored.parts, row, winner).items(), key=lambda part: part[1])
    named = [_SENTENCES[part](columns, need, scored, row, winner) for part, gain in losses[:2] if gain < -_NEGLIGIBLE]
    if named:
        return ", ".join(named)
    gap = float(scored.merit[winner] - scored.merit[row])
    return f"behind by {gap:.4f}" if gap > 0 else "equally good, and known later"


def expectation(scored: Scored, row: int) -> str:
    """When a node should be done and how that is known; empty where nothing was measured that tells nodes apart."""
    if scored.expected is None:
        return ""
    wait_s, runs = float(scored.expected.wait_s[row]), int(scored.expected.runs[row])
    waiting = f", {format_duration(wait_s)} of it waiting" if wait_s > 0 else ""
    known = f"from {runs} run{'s' if runs > 1 else ''}" if runs else "not tried with this work yet"
    return f"expected {format_duration(float(scored.expected.done_s[row]))}{waiting}, {known}"


def _slower(columns: Columns, scored: Scored, row: int, winner: int) -> str:
    """What is expected of a node and of the winner, where that is what decided."""
    if scored.expected is None:
        return ""
    mine, best = float(scored.expected.done_s[row]), float(scored.expected.done_s[winner])
    against = f"against {format_duration(best)} on {columns.node_ids[winner]}"
    if mine > best * _TELLING:
        return f"{expectation(scored, row)}, {against}"
    if mine * _TELLING < best and scored.expected.runs[winner] < scored.expected.runs[row]:
        return f"{expectation(scored, row)}, {against}, which is tried because it may be faster than known"
    return ""


def weighted_differences(parts: Parts, row: int, winner: int) -> dict[str, float]:
    """What each part adds to or takes from a node's score against the winner's; they sum to the difference."""
    return {
        name: weight * float(getattr(parts, name)[row] - getattr(parts, name)[winner])
        for name, weight in WEIGHTS.items()
    }


def stands_in(columns: Columns, need: Need, given: DeviceType, now_s: float) -> str:
    """Why the winner offers another device than the one asked for; empty when it does not."""
    if given is need.device:
        return ""
    having = np.flatnonzero(columns.units[DEVICE_ROW[need.device], : columns.count] > 0)
    if not len(having):
        return f"{given} stands in: no node has a device of type {need.device}"
    first = int(having[0])
    others = f", and {len(having) - 1} more cannot either" if len(having) > 1 else ""
    reason = why_rejected(columns, need, need.device, first, now_s)
    return f"{given} stands in for {need.device}: {columns.node_ids[first]} cannot take it ({reason}){others}"


def why_rejected(columns: Columns, need: Need, device: DeviceType, row: int, now_s: float) -> str:
    """Why a node cannot take a task on a device of this type; empty when it can."""
    node_id, at = columns.node_ids[row], DEVICE_ROW[device]
    if need.pinned_node is not None and node_id != need.pinned_node:
        return f"the task is pinned to {need.pinned_node}"
    if node_id in need.excluded:
        return "excluded for this task"
    if columns.drained[row]:
        return "drained: takes no new work"
    if not columns.usable[row]:
        return f"silent for {format_duration(now_s - float(columns.heard_at_s[row]))}"
    if columns.units[at, row] <= 0:
        return f"no such device ({device})"
    if columns.memory[at, row] < need.memory_bytes:
        return f"needs {format_bytes(need.memory_bytes)} but has {format_bytes(float(columns.memory[at, row]))}"
    return ""


def _heat(columns: Columns, need: Need, scored: Scored, row: int, winner: int) -> str:
    hotter = float(columns.temperature_c[row] - columns.temperature_c[winner])
    if hotter >= 1.0:  # False without a sensor
        return f"{hotter:.0f} °C hotter"
    return f"thermal state {columns.thermal[row]:.2f} against {columns.thermal[winner]:.2f}"


def _queue(columns: Columns, need: Need, scored: Scored, row: int, winner: int) -> str:
    waiting = columns.queued + columns.running
    deeper = int(waiting[row] - waiting[winner])
    if deeper > 0:
        return f"queue {deeper} deeper"
    return (
        f"{int(waiting[row])} tasks for {int(columns.slots[row])} slots against "
        f"{int(waiting[winner])} for {int(columns.slots[winner])}"
    )


def _capability(columns: Columns, need: Need, scored: Scored, row: int, winner: int) -> str:
    units = min(1.0, float(scored.free_units[row]) / need.compute_units) if need.compute_units > 0 else 1.0
    memory = min(1.0, float(scored.free_memory[row]) / need.memory_bytes) if need.memory_bytes > 0 else 1.0
    if memory < units:
        return f"{format_bytes(float(scored.free_memory[row]))} of the needed {format_bytes(need.memory_bytes)} free"
    return f"{float(scored.free_units[row]):.3g} of the needed {need.compute_units:.3g} compute units free"


def _history(columns: Columns, need: Need, scored: Scored, row: int, winner: int) -> str:
    return f"weaker record ({columns.history[row]:.2f} against {columns.history[winner]:.2f})"


_SENTENCES: Final = {"thermal": _heat, "queue": _queue, "capability": _capability, "history": _history}
