"""Answers about machines and models: which there are, and how one of them is."""

from collections.abc import Sequence

from conductor.decisions.converse.snapshot import (
    ModelNow,
    NodeNow,
    Snapshot,
    busy_on,
    devices_on_offer,
    used_memory_share,
)
from conductor.decisions.converse.wording import listing, plural
from conductor.decisions.reasoning import percent
from conductor.domain.units import format_bytes


def nodes_answer(snapshot: Snapshot) -> str:
    """Every node with its devices, in a line each."""
    if not snapshot.nodes:
        return "No node has joined yet. `conductor serve` on a machine makes it the first one."
    away = len(snapshot.nodes) - len(snapshot.present())
    head = f"There {'is' if len(snapshot.nodes) == 1 else 'are'} {plural(len(snapshot.nodes), 'node')}"
    head += f", {away} of them silent." if away else ", heard of just now." if len(snapshot.nodes) == 1 else ", all up."
    return "\n".join([head, *(f"- {_line(node)}" for node in snapshot.nodes)])


def node_answer(snapshot: Snapshot, node: NodeNow) -> str:
    """How one node is."""
    name = node.node.hostname
    if node.is_silent:
        return f"{name} is silent at the moment, so it gets no work. When it reports again, it is used again."
    lines = [f"{name} is up: {reading_words(node)}."]
    busy = busy_on(snapshot, node.node.node_id)
    lines.append(f"It runs {plural(busy, 'task')} now." if busy else "It runs no task right now.")
    if node.attempts:
        lines.append(f"Its performance score is {node.performance:.2f}, over {plural(node.attempts, 'attempt')}.")
    return " ".join(lines)


def readings_answer(snapshot: Snapshot, *, heat: bool) -> str:
    """What the sensors of every node say now, temperatures first when these were asked for."""
    present = snapshot.present()
    if not present:
        return "No node is up, so there is nothing to read."
    head = [_heat(present)] if heat else []
    return "\n".join([*head, *(f"- {node.node.hostname}: {reading_words(node)}{_disk(node)}." for node in present)])


def reading_words(node: NodeNow) -> str:
    """The latest reading; what has no sensor is said to be unknown."""
    reading = node.reading
    if reading is None:
        return "no reading yet"
    said = [f"processor {percent(reading.cpu_utilisation)} busy"]
    if reading.gpu_utilisation is not None:
        said.append(f"GPU {percent(reading.gpu_utilisation)} busy")
    used = used_memory_share(node)
    if used is not None:
        said.append(f"{percent(used)} of {format_bytes(node.node.memory_bytes)} of memory in use")
    celsius = node.hottest_celsius
    said.append(f"hottest sensor at {celsius:.0f} °C" if celsius is not None else "no thermometer")
    return ", ".join(said)


def models_answer(snapshot: Snapshot) -> str:
    """The models that take part, with the beginning of their checksums."""
    if not snapshot.models:
        return "No model is loaded."
    head = f"{plural(len(snapshot.models), 'model')} take{'s' if len(snapshot.models) == 1 else ''} part here:"
    return "\n".join([head, *map(_model_line, snapshot.models)])


def _model_line(model: ModelNow) -> str:
    seen = f"its checksum begins {model.sha256[:12]}" if model.sha256 else "its weights cannot be checked from here"
    return f"- {model.name}: {model.role} ({seen})"


def fleet_sentence(snapshot: Snapshot) -> str:
    """What the nodes that are up have to offer."""
    offered = devices_on_offer(snapshot)
    if not offered:
        return "No node is up."
    kinds = listing([f"{count} {device}" for device, count in offered.items()])
    return f"{plural(len(snapshot.present()), 'node')} up, with {kinds}."


def _heat(nodes: Sequence[NodeNow]) -> str:
    known = [(node.hottest_celsius, node.node.hostname) for node in nodes if node.hottest_celsius is not None]
    if not known:
        return "I cannot tell how warm it is: no node has a thermometer that can be read."
    celsius, name = max(known)
    return f"The hottest sensor is that of {name}, at {celsius:.0f} °C."


def _disk(node: NodeNow) -> str:
    return "" if node.reading is None else f", {format_bytes(node.reading.free_disk_bytes)} of disk free"


def _line(node: NodeNow) -> str:
    machine = node.node
    devices = ", ".join(f"{device.type} ({device.name})" for device in machine.devices) or "no devices"
    load = "" if node.reading is None else f"; processor {percent(node.reading.cpu_utilisation)} busy"
    state = "silent" if node.is_silent else "up"
    return (
        f"{machine.hostname}: {state}; {machine.logical_cores} cores, {format_bytes(machine.memory_bytes)} of memory; "
        f"{devices}{load}"
    )
