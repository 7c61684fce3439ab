"""Answers about speed: what is busy, hot, waiting or failing, what that points to, and what nobody measures."""

from conductor.decisions.converse.about_fleet import reading_words
from conductor.decisions.converse.advice import advice
from conductor.decisions.converse.snapshot import DAY_S, HOUR_S, Figures, Snapshot, Tally, figures
from conductor.decisions.converse.wording import kind_words, plural
from conductor.decisions.reasoning import percent
from conductor.domain.units import format_bytes, format_duration

_NETWORK_WORDS = (
    "network",
    "netz",
    "internet",
    "bandwidth",
    "bandbreite",
    "latency",
    "red ",
    "réseau",
    "ancho de banda",
)


def speed_answer(snapshot: Snapshot, utterance: str) -> str:
    """Where time goes, from the measurements of the last hour and day."""
    lines = []
    if any(word in f"{utterance.casefold()} " for word in _NETWORK_WORDS):
        lines.append(_network(snapshot))
    lines.append(_bottleneck(snapshot))
    for node in snapshot.present()[:5]:
        lines.append(f"{node.node.hostname}: {reading_words(node)}.")
    hour, day = figures(snapshot, HOUR_S), figures(snapshot, DAY_S)
    lines.append(_throughput(hour))
    several = len(snapshot.nodes) > 1
    lines += [line for line in (_slowest(day), _errors(day, several_nodes=several)) if line]
    advised = advice(snapshot)[:3]
    lines += advised or ["Nothing measured is beyond its threshold, so I recommend no change."]
    return "\n".join(lines)


def _network(snapshot: Snapshot) -> str:
    flows = [
        f"{node.node.hostname} moves {format_bytes(node.reading.network_bytes_per_s)} per second"
        for node in snapshot.present()
        if node.reading is not None
    ]
    measured = (
        f"Of the network I know the traffic of each node: {'; '.join(flows)}." if flows else "No node reports traffic."
    )
    return f"{measured} Latency, packet loss and bandwidth between nodes are not measured, so I cannot judge them."


def _bottleneck(snapshot: Snapshot) -> str:
    if snapshot.waiting and snapshot.running:
        return (
            f"{plural(snapshot.waiting, 'task')} waiting behind {snapshot.running} running: the queue is where time goes at "
            "the moment."
        )
    if snapshot.waiting:
        reasons = [reason for task_id, reason in snapshot.pending.items() if snapshot.task(task_id)]
        return "\n".join([f"{plural(snapshot.waiting, 'task')} waiting and none under way.", *reasons[:1]])
    if snapshot.running:
        return f"Nothing waits; {plural(snapshot.running, 'task')} under way, so no queue slows anything down."
    return "Nothing runs and nothing waits, so no task is being slowed down at the moment."


def _throughput(hour: Figures) -> str:
    if not hour.total.ended:
        return "No task ended in the last hour, so there is no throughput to report."
    told = f"In the last hour {plural(hour.total.ended, 'task')} ended, {hour.total.failed} of them in failure"
    if not hour.complete:
        told = f"Of the latest tasks, {hour.total.ended} ended in the last hour, {hour.total.failed} of them in failure"
    run = "" if hour.total.median_s is None else f"; the typical run took {format_duration(hour.total.median_s)}"
    waited = "" if hour.median_wait_s is None else f", after a typical wait of {format_duration(hour.median_wait_s)}"
    return f"{told}{run}{waited}."


def _slowest(day: Figures) -> str:
    timed = [tally for tally in day.by_kind if tally.median_s is not None]
    if len(timed) < 2:  # nothing to compare
        return ""
    slowest = max(timed, key=lambda tally: tally.median_s or 0.0)
    typical = format_duration(slowest.median_s or 0.0)
    return f"The slowest kind of work in the last day: {kind_words(slowest.name)}, typically {typical}."


def _errors(day: Figures, *, several_nodes: bool) -> str:
    tallies = (*day.by_device, *day.by_node) if several_nodes else day.by_device
    failing = [tally for tally in tallies if tally.failed]
    if not failing:
        return "No task failed in the last day." if day.total.ended and day.complete else ""
    return f"Failures in the last day: {', '.join(_rate(tally) for tally in failing[:6])}."


def _rate(tally: Tally) -> str:
    return f"{tally.failed} of {tally.ended} on {tally.name} ({percent(tally.error_rate)})"
