"""Hold what placement knows about all nodes as columns, one array per quantity, so that scoring needs no loop.

Row i of every array belongs to `node_ids[i]`; only rows below `count` mean anything. Quantities that differ by device
type are [6, rows] in the order of `DeviceType`, so that the row of one type is contiguous. A type that reports memory
of its own (a graphics card) is measured by that, every other type by the memory of its node.

What is written here, and when, is `place`'s; what is made of it `rank`'s.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.domain.device import DeviceType
from conductor.domain.node import Node, NodeId
from conductor.scheduling.score import NEUTRAL_HISTORY, Floats

DEVICE_ROW: Final = {device_type: row for row, device_type in enumerate(DeviceType)}

_BY_NODE: Final = (
    "thermal",
    "temperature_c",
    "queued",
    "running",
    "slots",
    "history",
    "heard_at_s",
    "free_at_s",
    "late_s",
    "usable",
    "drained",
)
_BY_TYPE: Final = ("units", "units_taken", "utilisation", "memory", "memory_free", "memory_taken", "own_memory")


class Columns:
    """The arrays. Floats except `usable`, `drained` and `own_memory`, which are booleans.

    By node: thermal part, hottest temperature in °C (NaN without a sensor), tasks queued and running, slots, history
    part, when last heard, when all it has to do for us is due and by how much that was put off so far, and whether it
    may be chosen (`usable`: neither silent nor drained).
    By type: compute units there are, taken by our tasks, and busy (share); bytes of memory there are, free as last
    measured, and taken by our tasks.
    """

    thermal: Floats
    temperature_c: Floats
    queued: Floats
    running: Floats
    slots: Floats
    history: Floats
    heard_at_s: Floats
    free_at_s: Floats
    late_s: Floats
    usable: npt.NDArray[np.bool_]
    drained: npt.NDArray[np.bool_]
    units: Floats
    units_taken: Floats
    utilisation: Floats
    memory: Floats
    memory_free: Floats
    memory_taken: Floats
    own_memory: npt.NDArray[np.bool_]

    def __init__(self, rows: int = 16) -> None:
        self.node_ids: list[NodeId] = []
        self.row_of: dict[NodeId, int] = {}
        for name in _BY_NODE:
            setattr(self, name, np.zeros(rows, np.bool_ if name in ("usable", "drained") else np.float64))
        for name in _BY_TYPE:
            setattr(self, name, np.zeros((len(DEVICE_ROW), rows), np.bool_ if name == "own_memory" else np.float64))

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return len(self.node_ids)

    def add(self, node_id: NodeId) -> int:
        """Give a new node the next row, with neutral values."""
        row = self.count
        if row == len(self.thermal):
            self._grow()
        self.node_ids.append(node_id)
        self.row_of[node_id] = row
        for name in (*_BY_NODE, *_BY_TYPE):
            getattr(self, name)[..., row] = 0
        self.thermal[row] = 1.0
        self.temperature_c[row] = np.nan
        self.slots[row] = 1.0
        self.history[row] = NEUTRAL_HISTORY
        return row

    def drop(self, node_id: NodeId) -> None:
        """Forget a node; the last row moves into its place."""
        row, last = self.row_of.pop(node_id), self.count - 1
        moved = self.node_ids.pop()
        if row != last:
            self.node_ids[row] = moved
            self.row_of[moved] = row
            for name in (*_BY_NODE, *_BY_TYPE):
                column = getattr(self, name)
                column[..., row] = column[..., last]

    def describe(self, row: int, node: Node) -> None:
        """Write a node's hardware; what is measured or taken stays, except memory free of a type that is new."""
        for device_type, at in DEVICE_ROW.items():
            own = max((device.memory_bytes for device in node.devices if device.type is device_type), default=0)
            own = 0 if device_type is DeviceType.CPU else own
            before = self.memory[at, row]
            self.units[at, row] = node.compute_units(device_type)
            self.own_memory[at, row] = own > 0
            self.memory[at, row] = own or node.memory_bytes
            if self.memory[at, row] != before:
                self.memory_free[at, row] = self.memory[at, row]

    def _grow(self) -> None:
        for name in (*_BY_NODE, *_BY_TYPE):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros_like(column)], axis=-1))
