"""Decide about many texts at once and measure how good the decisions are; needs no server and records nothing.

The mind is the one that the server of this installation decides with (`mind_at_rest`). The fleet is this machine, as
found now, and there is no experience: with the shipped mind the same texts get the same device anywhere. Evaluations are
for an idle fleet instead, so that their figures do not depend on what else this machine does meanwhile.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from conductor.adapters.attachments.describing import Describer
from conductor.adapters.attachments.own_file import own_copy, own_file
from conductor.adapters.attachments.reading import Reading
from conductor.adapters.clock import SystemClock
from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.sensors.machine import LocalMachine
from conductor.adapters.sensors.probes import own_probes
from conductor.app.installation import Installation
from conductor.app.minds.at_rest import mind_at_rest
from conductor.app.serving.endpoint_keys import endpoint_keys
from conductor.decisions.batch import Row, check_labels, decide_rows, judged, output_row, read_rows
from conductor.decisions.evaluate import IdleFleet, Report, evaluate
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import FleetView
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.clock import Clock
from conductor.domain.decision import Decision
from conductor.domain.json import JsonObject
from conductor.domain.node import NodeId
from conductor.domain.task import Submission
from conductor.fleet.heat import thermal_score
from conductor.fleet.inventory import merge_devices
from conductor.scheduling.place import PlacementTable

#: Texts read at once; enough to keep the encoder busy, few enough to show progress.
_PER_BATCH = 64


class Mind:
    """The decision maker by itself; blocking.

    Raises:
        SettingsError: a stored setting is impossible.
    """

    def __init__(self, installation: Installation) -> None:
        self._clock = clock = SystemClock()
        encoder = OnnxEncoder()
        found = asyncio.run(mind_at_rest(installation, encoder, clock))
        #: What decides besides the shipped mind, and what stays away and why; a sentence each.
        self.remarks = found.remarks
        self._settings = found.settings

        def a_maker(fleet: FleetView) -> DecisionMaker:
            memory = ExperienceMemory(width=encoder.width, places=1)
            maker = DecisionMaker(encoder, fleet, memory, clock, found.language_model)
            maker.retune(found.tuned)
            return maker

        self._maker = a_maker(_this_machine(clock, installation.data_dir))
        self._idle = a_maker(IdleFleet())

    def decide(self, text: str, attached: Sequence[Path] = ()) -> Decision:
        """The decision about one text, with files of the caller's own.

        Raises:
            InvalidInput: the text is empty, too long or no text, or a file cannot be attached.
        """
        most_bytes = self._settings.attachments.max_bytes
        files = tuple(own_file(path, most_bytes=most_bytes, described=self._described) for path in attached)
        return self._maker.decide("preview", Submission(description=text, attachments=files))

    def _described(self, path: Path, reading: Reading) -> Reading:
        return asyncio.run(self._asked(path, reading))

    async def _asked(self, path: Path, reading: Reading) -> Reading:
        client = EndpointClient(keys=endpoint_keys(self._settings.serving.endpoint_keys).get)
        describer = Describer(
            client,
            model=lambda: self._settings.attachments.vision_model,
            copy=own_copy,
            clock=self._clock,
        )
        try:
            return await describer.described(path, reading)
        finally:
            await client.close()

    def decide_many(self, lines: Iterable[str]) -> "Batch":
        """Decisions about lines of `{"id", "text"}`.

        Raises:
            InvalidInput: a line is malformed; names line and field.
        """
        return Batch(self._maker, read_rows(lines))

    def evaluate(self, lines: Iterable[str]) -> Report:
        """How good the decisions are on lines of `{"id", "text", "accept", "best"}`.

        Raises:
            InvalidInput: there is no line, or one is malformed; names line and field.
        """
        rows = read_rows(lines)
        check_labels(rows)
        return evaluate([judged(row, analysis, decision) for row, analysis, decision in decide_rows(self._idle, rows)])


class Batch:
    """Parsed rows, decided as they are iterated over: one finished output row after the other."""

    def __init__(self, maker: DecisionMaker, rows: list[Row]) -> None:
        self._maker = maker
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[JsonObject]:
        for start in range(0, len(self._rows), _PER_BATCH):
            for row, _, decision in decide_rows(self._maker, self._rows[start : start + _PER_BATCH]):
                yield output_row(row, decision)


def _this_machine(clock: Clock, data_dir: Path) -> PlacementTable:
    folder = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    machine = LocalMachine(
        node_id=NodeId("this machine"),
        clock=clock,
        probes=own_probes(),
        unify=merge_devices,
        data_folder=folder,
    )
    now_s = clock.monotonic_s()
    table = PlacementTable()
    table.upsert(machine.describe(), heard_at_s=now_s)
    reading = machine.read()
    table.observe(reading, heard_at_s=now_s, thermal=thermal_score(reading))
    table.advance(now_s)
    return table
