"""Decide what to recommend, by rules on what is measured; each piece of advice names its figure and its threshold.

Rules, in the order of urgency: something does not work, a node is silent, too hot, out of memory, busy; tasks of one
device, node or kind fail too often; too many wait. Nothing is recommended without a figure beyond its threshold.

Not covered: acting on it.
"""

from collections.abc import Iterator
from typing import Final

from conductor.decisions.converse.snapshot import (
    DAY_S,
    Figures,
    NodeNow,
    Snapshot,
    figures,
    used_memory_share,
)
from conductor.decisions.converse.wording import kind_words, plural
from conductor.decisions.reasoning import percent

CPU_BUSY: Final = 0.85
GPU_BUSY: Final = 0.90
MEMORY_USED: Final = 0.90
CPU_HOT_CELSIUS: Final = 80.0
GPU_HOT_CELSIUS: Final = 85.0
ERROR_RATE: Final = 0.20
#: A rate over fewer ends than this is an accident.
ENOUGH_ENDS: Final = 3
WAITING_PER_RUNNING: Final = 2
ENOUGH_WAITING: Final = 5


def advice(snapshot: Snapshot) -> list[str]:
    """Recommendations, most urgent first; empty when nothing is beyond its threshold."""
    found = [f"Look into this first: “{problem}”." for problem in snapshot.problems]
    for node in snapshot.nodes:
        found += _about(node)
    found += _failures(figures(snapshot, DAY_S), several_nodes=len(snapshot.nodes) > 1)
    found += _queue(snapshot)
    return found


def _about(node: NodeNow) -> Iterator[str]:
    name, reading = node.node.hostname, node.reading
    if node.is_silent:
        yield f"{name} is silent: check that it is switched on and connected; new work goes elsewhere meanwhile."
        return
    if reading is None:
        return
    for part, celsius, limit in (
        ("processor", reading.cpu_temperature_celsius, CPU_HOT_CELSIUS),
        ("GPU", reading.gpu_temperature_celsius, GPU_HOT_CELSIUS),
    ):
        if celsius is not None and celsius >= limit:
            yield (
                f"The {part} of {name} is at {celsius:.0f} °C, with the limit at {limit:.0f} °C: give it a rest or "
                "better cooling."
            )
    used = used_memory_share(node)
    if used is not None and used >= MEMORY_USED:
        yield (
            f"{name} uses {percent(used)} of its memory, more than {percent(MEMORY_USED)}: lower the tasks' memory "
            "limits or run fewer of them at once."
        )
    for part, share, limit in (
        ("processor", reading.cpu_utilisation, CPU_BUSY),
        ("GPU", reading.gpu_utilisation, GPU_BUSY),
    ):
        if share is not None and share >= limit:
            yield (
                f"The {part} of {name} is {percent(share)} busy, more than {percent(limit)}: add a node, or give less "
                "urgent tasks a lower priority."
            )


def _failures(day: Figures, *, several_nodes: bool) -> Iterator[str]:
    on = (*day.by_device, *day.by_node) if several_nodes else day.by_device  # else it would say the same twice
    for what, tallies in (("on", on), ("in", day.by_kind)):
        for tally in tallies:
            if tally.ended >= ENOUGH_ENDS and tally.error_rate >= ERROR_RATE:
                name = kind_words(tally.name) if what == "in" else tally.name
                yield (
                    f"{tally.failed} of {plural(tally.ended, 'task')} {what} {name} failed in the last day "
                    f"({percent(tally.error_rate)}, worth a look from {percent(ERROR_RATE)} on): "
                    "`conductor tasks list --state failed` shows them."
                )


def _queue(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.waiting >= ENOUGH_WAITING and snapshot.waiting > WAITING_PER_RUNNING * snapshot.running:
        yield (
            f"{plural(snapshot.waiting, 'task')} waiting while {snapshot.running} under way: "
            "more workers (`executor.workers`) or another node would shorten the queue."
        )
