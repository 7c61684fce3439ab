"""Gather what may be said: all figures of a snapshot, of decisions and of a plan, by dimension, for `traceable`.

Everything is gathered before a reply is composed and without looking at it, so a reply cannot bring its own evidence.
"""

from collections.abc import Iterable

from conductor.decisions.converse import advice
from conductor.decisions.converse.plans import Plan
from conductor.decisions.converse.snapshot import (
    DAY_S,
    HOUR_S,
    Snapshot,
    busy_on,
    devices_on_offer,
    figures,
    states,
    used_memory_share,
)
from conductor.decisions.converse.traceable import Facts, Gathering
from conductor.decisions.converse.turn import Turn
from conductor.decisions.converse.wording import shown
from conductor.decisions.reasoning import number
from conductor.domain.decision import Decision, Estimate, NodeScore
from conductor.domain.task import Task


def facts_of_turn(snapshot: Snapshot, turn: Turn) -> Facts:
    """Everything that one reply may say: of the installation, and of the tasks, decisions and plans it is about."""
    decision, waiting = turn.state.decision, turn.state.pending
    spoken = Gathering()
    spoken.say("quotes", *turn.echoes)
    return (
        facts_of_snapshot(snapshot)
        | facts_of_tasks(turn.tasks)
        | facts_of_decisions([] if decision is None else [decision])
        | facts_of_plan(None if waiting is None else waiting.plan)
        | spoken.done()
    )


def facts_of_snapshot(snapshot: Snapshot) -> Facts:
    """Everything a snapshot bears out."""
    known = Gathering()
    _nodes(known, snapshot)
    _figures(known, snapshot)
    known.say("passages", *snapshot.pending.values())
    known.say("quotes", *snapshot.problems)
    for model in snapshot.models:
        known.say("names", model.name, *filter(None, (model.sha256, model.sha256[:12])))
    return known.done()


def facts_of_tasks(tasks: Iterable[Task]) -> Facts:
    """Everything that the tasks spoken of bear out; not those of the whole history, or any number would be found."""
    known = Gathering()
    for task in tasks:
        _task(known, task)
    return known.done()


def facts_of_decisions(decisions: Iterable[Decision]) -> Facts:
    """Everything that decisions bear out, recorded or previewed."""
    known = Gathering()
    for decision in decisions:
        _decision(known, decision)
    return known.done()


def facts_of_plan(plan: Plan | None) -> Facts:
    """What a plan shows."""
    known = Gathering()
    if plan is not None:
        known.say("names", plan.task_id, plan.node)
        known.say("quotes", shown(plan.description), plan.command_line)
        known.add("counts", plan.priority)
        if plan.duration_s is not None:
            _estimate(known, "seconds", plan.duration_s)
    return known.done()


def _nodes(known: Gathering, snapshot: Snapshot) -> None:
    offered = devices_on_offer(snapshot)
    known.add("counts", len(snapshot.nodes), len(snapshot.present()), len(snapshot.nodes) - len(snapshot.present()))
    known.add("counts", *offered.values(), sum(offered.values()), len(snapshot.models))
    for node in snapshot.nodes:
        machine, reading = node.node, node.reading
        known.say("names", machine.node_id, machine.hostname, machine.architecture, machine.operating_system)
        known.add("counts", machine.logical_cores, len(machine.devices), node.attempts)
        known.add("counts", busy_on(snapshot, machine.node_id))
        known.add("shares", node.performance, used_memory_share(node))
        known.add("byte_counts", machine.memory_bytes)
        for device in machine.devices:
            known.say("names", device.name)
            known.add("counts", device.compute_units)
            known.add("byte_counts", device.memory_bytes)
        if reading is not None:
            known.add("shares", reading.cpu_utilisation, reading.gpu_utilisation)
            known.add("celsius", reading.cpu_temperature_celsius, reading.gpu_temperature_celsius)
            known.add("byte_counts", reading.free_memory_bytes, reading.free_disk_bytes, reading.free_vram_bytes)
            known.add("byte_counts", reading.network_bytes_per_s)
            known.add("counts", reading.load_average_1m)


def _figures(known: Gathering, snapshot: Snapshot) -> None:
    unsettled = snapshot.unsettled()
    known.add("counts", snapshot.waiting, snapshot.running, snapshot.ledger_entries, snapshot.ledger_pending)
    known.add("counts", len(snapshot.tasks), len(unsettled), *states(snapshot).values())
    known.add("seconds", HOUR_S, DAY_S)
    for window_s in (HOUR_S, DAY_S):
        found = figures(snapshot, window_s)
        known.add("seconds", found.median_wait_s)
        for tally in found.all():
            known.say("names", tally.name)
            known.add("counts", tally.ended, tally.failed, tally.ended - tally.failed)
            known.add("shares", tally.error_rate)
            known.add("seconds", tally.median_s)
    known.add("shares", advice.CPU_BUSY, advice.GPU_BUSY, advice.MEMORY_USED, advice.ERROR_RATE)
    known.add("celsius", advice.CPU_HOT_CELSIUS, advice.GPU_HOT_CELSIUS)


def _task(known: Gathering, task: Task) -> None:
    known.say("names", task.task_id, task.node_id or "")
    known.say("quotes", shown(task.submission.description))
    known.add("counts", task.attempt)
    if task.outcome is not None:
        known.say("quotes", shown(task.outcome.message))
        known.add("seconds", task.outcome.duration_s, task.outcome.cpu_time_s)
        known.add("byte_counts", task.outcome.peak_memory_bytes)
        known.add("counts", task.outcome.exit_code, task.outcome.signal)
    if task.decision is not None:
        _decision(known, task.decision)


def _decision(known: Gathering, decision: Decision) -> None:
    known.say("passages", decision.reasoning)
    known.add("counts", decision.priority, len(decision.nodes), number(decision.evidence, "estimate_runs"))
    known.add("shares", decision.confidence, *(share for _, share in decision.device_probabilities))
    parts = decision.parts
    known.add("shares", parts.similarity, parts.device_success, parts.node_availability, parts.resource_availability)
    _estimate(known, "counts", decision.compute_units)
    _estimate(known, "seconds", decision.duration_s)
    for node in decision.nodes:
        _score(known, node)
    if len(decision.nodes) > 1:
        known.add("shares", *(decision.nodes[0].score - other.score for other in decision.nodes[1:]))
    for task in decision.similar:
        known.say("names", task.task_id)
        known.say("quotes", shown(task.description))
        known.add("shares", task.similarity)
        known.add("seconds", task.duration_s)


def _score(known: Gathering, node: NodeScore) -> None:
    known.say("names", node.node_id)
    known.add("shares", node.score, node.thermal, node.queue, node.capability, node.history)


def _estimate(known: Gathering, dimension: str, estimate: Estimate) -> None:
    known.add(dimension, estimate.value, estimate.low, estimate.high)
