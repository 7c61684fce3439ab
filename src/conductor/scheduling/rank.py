"""Rank nodes for a need: who can take it, who is best, why the others are behind or out.

A node can take a task when it may be used (heard of lately, not drained, not excluded, not passed over by a pin), has
the device, and has the memory in all; how much is free only moves its score. If no node can, the next device type of
`SUBSTITUTES` is tried. The best is the one with the best score (`score`) or, when the need comes with a forecast from
measured runs, the one where the task should be done first (`expect`). Ties go to the node that was known first. The words
are `remarks`'.

Not covered: several devices for one task; moving work to make room; prices.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.domain.decision import Need, NodeScore, Ranking
from conductor.domain.device import DeviceType
from conductor.scheduling import remarks
from conductor.scheduling.columns import DEVICE_ROW, Columns
from conductor.scheduling.expect import expect
from conductor.scheduling.score import Scored, combine, coverage, queue_part

BEST: Final = 3
REJECTED: Final = 10

#: What may stand in for a device type, nearest first; a processor runs everything, so every line ends there at the
#: latest. Neural accelerators stand in for nothing: they run compiled, quantised networks only, and what asks for a
#: graphics card may be training, simulation or rendering. Signal processing is short serial work over small buffers:
#: the vector units of a processor come before the transfer to a graphics card. Video and image pipelines are parallel
#: over pixels: shaders first. Nothing stands in for a processor.
SUBSTITUTES: Final[dict[DeviceType, tuple[DeviceType, ...]]] = {
    DeviceType.GPU: (DeviceType.GPU, DeviceType.CPU),
    DeviceType.NPU: (DeviceType.NPU, DeviceType.GPU, DeviceType.CPU),
    DeviceType.VIDEO: (DeviceType.VIDEO, DeviceType.GPU, DeviceType.CPU),
    DeviceType.ISP: (DeviceType.ISP, DeviceType.GPU, DeviceType.CPU),
    DeviceType.DSP: (DeviceType.DSP, DeviceType.CPU, DeviceType.GPU),
    DeviceType.CPU: (DeviceType.CPU,),
}

Mask = npt.NDArray[np.bool_]


def rank(columns: Columns, need: Need, now_s: float) -> Ranking:
    """The best three nodes for a need and up to ten that cannot take it; no node is no error but an empty `best`."""
    scored = look(columns, need, now_s)
    best = _best_rows(scored)
    rejected = _rejected_rows(columns, scored)
    return Ranking(
        device=scored.device,
        best=tuple(_candidate(columns, need, scored, row, best[0], now_s) for row in best),
        rejected=tuple(
            node_score(
                columns, scored, row, rejected_because=remarks.why_rejected(columns, need, scored.device, row, now_s)
            )
            for row in rejected
        ),
        node_availability=_node_availability(columns, need, scored),
        resource_availability=_resource_availability(need, scored, best[0]) if best else 0.0,
    )


def look(columns: Columns, need: Need, now_s: float) -> Scored:
    """Score all nodes for the device asked for, or for the first substitute that some node can offer."""
    allowed = _allowed(columns, need)
    for steps, device in enumerate(SUBSTITUTES[need.device]):
        able = allowed & has_device(columns, device) & has_memory(columns, need, device)
        if able.any():
            return _scored(columns, need, device, able, steps, now_s)
    return _scored(columns, need, need.device, np.zeros(columns.count, np.bool_), 0, now_s)


def has_device(columns: Columns, device: DeviceType) -> Mask:
    """Which nodes have a device of this type."""
    return columns.units[DEVICE_ROW[device], : columns.count] > 0


def has_memory(columns: Columns, need: Need, device: DeviceType) -> Mask:
    """Which nodes have the memory in all, free or not."""
    return columns.memory[DEVICE_ROW[device], : columns.count] >= need.memory_bytes


def node_score(
    columns: Columns, scored: Scored, row: int, *, remark: str = "", rejected_because: str = ""
) -> NodeScore:
    """One row in words and numbers; a rejected node keeps its parts, and its score is 0."""
    parts, expected = scored.parts, scored.expected
    return NodeScore(
        node_id=columns.node_ids[row],
        score=0.0 if rejected_because else float(parts.score[row]),
        thermal=float(parts.thermal[row]),
        queue=float(parts.queue[row]),
        capability=float(parts.capability[row]),
        history=float(parts.history[row]),
        remark=remark,
        rejected_because=rejected_because,
        expected_s=None if expected is None or rejected_because else float(expected.done_s[row]),
        expected_runs=0 if expected is None else int(expected.runs[row]),
    )


def _allowed(columns: Columns, need: Need) -> Mask:
    allowed = columns.usable[: columns.count].copy()
    if need.pinned_node is not None:
        row = columns.row_of.get(need.pinned_node)
        pinned_usable = row is not None and bool(allowed[row])
        allowed[:] = False
        if row is not None:
            allowed[row] = pinned_usable
    for node_id in need.excluded:
        row = columns.row_of.get(node_id)
        if row is not None:
            allowed[row] = False
    return allowed


def _scored(columns: Columns, need: Need, device: DeviceType, able: Mask, steps: int, now_s: float) -> Scored:
    at, n = DEVICE_ROW[device], columns.count
    units, memory = columns.units[at, :n], columns.memory[at, :n]
    # A task that just started is not in the last measurement yet, and strangers' work is not in our books.
    free_units = np.minimum(units - columns.units_taken[at, :n], units * (1.0 - columns.utilisation[at, :n])).clip(0.0)
    free_memory = np.minimum(memory - columns.memory_taken[at, :n], columns.memory_free[at, :n]).clip(0.0)
    parts = combine(
        thermal=columns.thermal[:n],
        queue=queue_part(columns.queued[:n] + columns.running[:n], columns.slots[:n]),
        units=coverage(free_units, need.compute_units),
        memory=coverage(free_memory, need.memory_bytes),
        steps=steps,
        history=columns.history[:n],
    )
    expected = None
    if need.forecast is not None and need.forecast_device is device:
        expected = expect(columns, need.forecast, parts.score, now_s, explore=need.explore)
    return Scored(device, able, parts, free_units, free_memory, expected)


def _best_rows(scored: Scored) -> list[int]:
    rows = np.flatnonzero(scored.able)
    merits = scored.merit[rows]
    if len(rows) > BEST:
        third = np.partition(merits, len(merits) - BEST)[len(merits) - BEST]
        rows = rows[merits >= third]
        merits = scored.merit[rows]
    return [int(row) for row in rows[np.argsort(-merits, kind="stable")[:BEST]]]


def _rejected_rows(columns: Columns, scored: Scored) -> list[int]:
    """Nodes with the device first: why those are out is the more interesting question."""
    rows = np.flatnonzero(~scored.able)
    having = has_device(columns, scored.device)[rows]
    return [int(row) for row in (*rows[having][:REJECTED], *rows[~having][:REJECTED])][:REJECTED]


def _candidate(columns: Columns, need: Need, scored: Scored, row: int, winner: int, now_s: float) -> NodeScore:
    if row == winner:
        reasons = (remarks.stands_in(columns, need, scored.device, now_s), remarks.expectation(scored, row))
        return node_score(columns, scored, row, remark="; ".join(filter(None, reasons)))
    return node_score(columns, scored, row, remark=remarks.behind(columns, need, scored, row, winner))


def _node_availability(columns: Columns, need: Need, scored: Scored) -> float:
    n = columns.count
    could_start = columns.running[:n] < columns.slots[:n]
    could_start &= (scored.free_memory >= need.memory_bytes) & (columns.thermal[:n] > 0.0) & scored.able
    return int(np.count_nonzero(could_start)) / max(1, int(np.count_nonzero(scored.able)))


def _resource_availability(need: Need, scored: Scored, row: int) -> float:
    units = coverage(scored.free_units[row : row + 1], need.compute_units)
    memory = coverage(scored.free_memory[row : row + 1], need.memory_bytes)
    return float((units[0] + memory[0]) / 2)
