"""Watch this machine: describe it once, read it every second, and tell placement, telemetry and whoever asks.

Readings are kept in memory for a batch and written behind. A machine that stops answering its own sensors is recorded as
silent by the roster; work that runs goes on.
"""

import asyncio
from typing import Final

import structlog

from conductor.adapters.sql.records import SqlReadings
from conductor.domain.clock import Clock
from conductor.domain.node import Node, NodeReading
from conductor.fleet.heat import thermal_score
from conductor.fleet.performance import PerformanceBook
from conductor.fleet.ports import Machine
from conductor.fleet.roster import Roster
from conductor.scheduling.place import PlacementTable

_READINGS_PER_WRITE: Final = 10
_FORGET_EVERY_S: Final = 600.0

log = structlog.get_logger(__name__)


class MachineWatch:
    """Keeps the roster and the placement table true for this machine. `run` must be a task of the owner."""

    def __init__(
        self,
        machine: Machine,
        *,
        clock: Clock,
        roster: Roster,
        performance: PerformanceBook,
        placement: PlacementTable,
        readings: SqlReadings,
        interval_s: float,
        kept_s: float,
        slots: int,
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._roster = roster
        self._performance = performance
        self._placement = placement
        self._readings = readings
        self._interval_s = interval_s
        self._kept_s = kept_s
        self._slots = slots
        self._unwritten: list[NodeReading] = []
        self._read_at_s = clock.monotonic_s()
        self._forgotten_at_s = clock.monotonic_s()

    async def begin(self) -> Node:
        """Find the hardware and take the first reading."""
        node = await asyncio.to_thread(self._machine.describe)
        self._roster.join(node)
        self._placement.upsert(node, heard_at_s=self._clock.monotonic_s(), slots=self._slots)
        await self._read()
        return node

    async def run(self) -> None:
        """Read at every interval until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self._read()
            except OSError as failure:  # out of file descriptors, most likely; the roster calls it silent
                log.warning("machine_not_read", reason=failure.strerror)
            self._forget()

    async def _read(self) -> None:
        reading = await asyncio.to_thread(self._machine.read)
        now_s = self._clock.monotonic_s()
        self._roster.hear(reading)
        self._performance.heard(reading.node_id, gap_s=now_s - self._read_at_s, expected_gap_s=self._interval_s)
        self._read_at_s = now_s
        self._placement.observe(
            reading,
            heard_at_s=now_s,
            thermal=thermal_score(reading),
            history=self._performance.score(reading.node_id),
        )
        self._placement.advance(now_s)
        self._unwritten.append(reading)
        if len(self._unwritten) >= _READINGS_PER_WRITE:
            self._readings.put(self._unwritten)
            self._unwritten = []

    def _forget(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._forgotten_at_s >= _FORGET_EVERY_S:
            self._forgotten_at_s = now_s
            self._readings.forget(self._clock.now_unix_s() - self._kept_s)
