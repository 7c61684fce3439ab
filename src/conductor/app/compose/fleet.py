"""Find out what this machine is, and open the books on the fleet: who is there, how well each works, what fits where."""

from dataclasses import dataclass

from conductor.adapters.sensors.machine import LocalMachine
from conductor.adapters.sensors.probes import installed_probes, own_probes
from conductor.adapters.sql.records import SqlReadings
from conductor.app.compose.foundation import Foundation
from conductor.app.machine import MachineWatch
from conductor.domain.node import Node
from conductor.fleet.inventory import merge_devices
from conductor.fleet.performance import PerformanceBook
from conductor.fleet.roster import Roster
from conductor.scheduling.place import PlacementTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The machines that work, `home` being this one."""

    roster: Roster
    performance: PerformanceBook
    placement: PlacementTable
    watch: MachineWatch
    home: Node


async def find_fleet(foundation: Foundation) -> Fleet:
    """Describe this machine and take its first reading."""
    clock, settings = foundation.clock, foundation.settings
    roster = Roster(clock=clock, silence_s=settings.node.silence_s)
    performance = PerformanceBook()
    placement = PlacementTable(silence_s=settings.node.silence_s)
    watch = MachineWatch(
        _machine(foundation),
        clock=clock,
        roster=roster,
        performance=performance,
        placement=placement,
        readings=SqlReadings(foundation.database, foundation.committer),
        interval_s=settings.node.reading_interval_s,
        kept_s=settings.node.readings_kept_s,
        slots=settings.executor.workers,
    )
    return Fleet(roster=roster, performance=performance, placement=placement, watch=watch, home=await watch.begin())


def _machine(foundation: Foundation) -> LocalMachine:
    return LocalMachine(
        node_id=foundation.folder.node_id,
        clock=foundation.clock,
        probes=[*own_probes(), *installed_probes()],
        unify=merge_devices,
        data_folder=foundation.folder.paths.root,
    )
