"""How things look in a terminal: the decision card, tables, results; and plain JSON for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from conductor.domain.units import format_bytes, format_duration

STATE_STYLES: Mapping[str, str] = {
    "succeeded": "green",
    "failed": "red",
    "dead": "red",
    "cancelled": "yellow",
    "running": "cyan",
}


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A plain table that stays readable when it is copied."""
    made = Table(*columns, title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for row in rows:
        made.add_row(*row)
    return made


def when(unix_s: float) -> str:
    """Local date and time, to the second."""
    return datetime.fromtimestamp(unix_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def state(name: str) -> Text:
    """A task's state in its colour."""
    return Text(name, STATE_STYLES.get(name, ""))


def card(task: Mapping[str, Any]) -> Panel:
    """A decision as a card: what, where, how long, how sure, why, and who else was looked at."""
    decision = task["decision"]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", justify="right")
    facts.add_column()
    facts.add_row("Device", _device(decision))
    facts.add_row("Kind", decision["task_kind"].replace("_", " "))
    facts.add_row("Compute units", _interval(decision["compute_units"], lambda value: f"{value:.3g}"))
    facts.add_row("Duration", _interval(decision["duration_s"], format_duration))
    facts.add_row("Priority", f"{decision['priority']} ({_level(decision['priority'])})")
    facts.add_row("Confidence", _confidence(decision))
    parts: list[Any] = [facts, Text(), Text(decision["reasoning"], overflow="fold")]
    if decision["nodes"]:
        parts += [Text(), nodes(decision["nodes"])]
    title = Text.assemble((_short(task["description"]), "bold"), "  ", (task["task_id"], "dim"))
    return Panel(Group(*parts), title=title, title_align="left", border_style="cyan", box=box.ROUNDED)


def nodes(scores: Sequence[Mapping[str, Any]]) -> Table:
    """The suggested nodes, best first, with the parts of each score and why the others lost."""
    return table(
        None,
        ["Node", "Score", "Thermal", "Queue", "Capability", "History", "Remark"],
        [
            [
                node["node_id"],
                f"{node['score']:.2f}",
                *(f"{node[part]:.2f}" for part in ("thermal", "queue", "capability", "history")),
                node["rejected_because"] or node["remark"] or ("chosen" if place == 0 else ""),
            ]
            for place, node in enumerate(scores)
        ],
    )


def outcome(task: Mapping[str, Any], console: Console) -> None:
    """How a task ended, what was measured, and its result."""
    result = task["outcome"]
    line = Text.assemble(state(task["state"]))
    if result is not None:
        line.append(f"  in {format_duration(result['duration_s'])}")
        predicted = task["decision"]["duration_s"]
        line.append(f" (predicted {format_duration(predicted['value'])})", "dim")
        if result["peak_memory_bytes"]:
            line.append(f", {format_bytes(result['peak_memory_bytes'])} at most", "dim")
        if task["state"] != "succeeded":
            line.append(f"\n{result['message']}")
    console.print(line)
    if result is not None and result["result"] is not None:
        console.print_json(data=result["result"])


def _device(decision: Mapping[str, Any]) -> Text:
    text = Text.assemble((decision["device"], "bold"), f"  (runner-up {decision['runner_up']})")
    if decision["available_device"] != decision["device"]:
        text.append(f"; this fleet has none, so {decision['available_device']}", "yellow")
    return text


def _interval(estimate: Mapping[str, Any], show: Any) -> str:
    return (
        f"{show(estimate['value'])}  ({show(estimate['low'])} to {show(estimate['high'])}, from "
        f"{'measured runs' if estimate['source'] == 'history' else 'the description'})"
    )


def _confidence(decision: Mapping[str, Any]) -> str:
    parts = decision["parts"]
    return (
        f"{decision['confidence']:.0%}  (similarity {parts['similarity']:.0%}, device success "
        f"{parts['device_success']:.0%}, nodes {parts['node_availability']:.0%}, resources "
        f"{parts['resource_availability']:.0%})"
    )


def _level(priority: int) -> str:
    return ("critical", "high", "medium", "low", "low")[priority - 1]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else line[:69] + "…"
