"""How things look in a terminal: the decision card, tables, results; and plain JSON for programs.

Ids are never cut, at any width: people copy them into the next command.
"""

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from conductor.domain.units import format_bytes, format_duration

STATE_STYLES: Final[Mapping[str, str]] = {
    "succeeded": "green",
    "failed": "red",
    "dead": "red",
    "cancelled": "yellow",
    "running": "cyan",
}
#: Columns that stand as they are; the others share what is left of the width.
_WHOLE: Final = frozenset({"Task", "Node", "State", "Device", "Took", "Submitted", "When", "Entry", "Kind", "About"})


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, numbers: Collection[str] = ()) -> Table:
    """A plain table that stays readable when it is copied; columns named in `numbers` are set to the right."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in columns:
        made.add_column(
            name,
            no_wrap=name in _WHOLE or name in numbers,
            overflow="fold",
            justify="right" if name in numbers else "left",
        )
    for row in rows:
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return made


def when(unix_s: float) -> str:
    """Local date and time, to the second."""
    return datetime.fromtimestamp(unix_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def when_short(unix_s: float, *, today: datetime | None = None) -> str:
    """Local time of day for what happened today, the date with hours and minutes for the rest."""
    at = datetime.fromtimestamp(unix_s).astimezone()
    same_day = at.date() == (today or datetime.now().astimezone()).date()
    return at.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M")


def state(name: str) -> Text:
    """A task's state in its colour."""
    return Text(name, STATE_STYLES.get(name, ""))


def line(text: str) -> Text:
    """Words on one line, cut at the edge of the terminal with an ellipsis."""
    return Text(" ".join(text.split()), overflow="ellipsis", no_wrap=True)


def card(task: Mapping[str, Any]) -> Panel:
    """A decision as a card: what, where, how long, how sure, why, and who else was looked at."""
    decision = task["decision"]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", justify="right", no_wrap=True)
    facts.add_column(overflow="fold")
    if task["task_id"]:
        facts.add_row("Task", task["task_id"])
    facts.add_row("Device", _device(decision))
    facts.add_row("Kind", decision["task_kind"].replace("_", " "))
    facts.add_row("Compute units", _interval(decision["compute_units"], lambda value: f"{value:.3g}"))
    facts.add_row("Duration", _interval(decision["duration_s"], format_duration))
    facts.add_row("Priority", f"{decision['priority']} ({_level(decision['priority'])})")
    facts.add_row("Confidence", _confidence(decision))
    parts: list[Any] = [facts, Text(), Text(decision["reasoning"], overflow="fold")]
    if decision["nodes"]:
        parts += [Text(), nodes(decision["nodes"])]
    title = Text(_short(task["description"]), "bold")
    return Panel(Group(*parts), title=title, title_align="left", border_style="cyan", box=box.ROUNDED)


def nodes(scores: Sequence[Mapping[str, Any]]) -> Group:
    """The suggested nodes, best first, with the parts of each score, and below why each stands where it does."""
    parts = ("thermal", "queue", "capability", "history")
    rows = [[node["node_id"], f"{node['score']:.2f}", *(f"{node[part]:.2f}" for part in parts)] for node in scores]
    columns = ["Node", "Score", *(part.capitalize() for part in parts)]
    remarks = [
        Padding(Text(f"{node['node_id']}: {remark}", "dim", overflow="fold"), (0, 0, 0, 1), expand=False)
        for place, node in enumerate(scores)
        if (remark := node["rejected_because"] or node["remark"] or ("chosen" if place == 0 else ""))
    ]
    return Group(table(columns, rows, numbers=columns[1:]), *remarks)


def outcome(task: Mapping[str, Any], console: Console) -> None:
    """How a task ended, what was measured, and its result."""
    result = task["outcome"]
    said = Text.assemble((task["state"], f"bold {STATE_STYLES.get(task['state'], '')}"))
    if result is not None:
        said.append(f" in {format_duration(result['duration_s'])}")
        if task["decision"]:
            predicted = task["decision"]["duration_s"]
            said.append(f" (predicted {format_duration(predicted['value'])})", "dim")
        if result["peak_memory_bytes"]:
            said.append(f", {format_bytes(result['peak_memory_bytes'])} of memory at most", "dim")
        if task["state"] != "succeeded":
            said.append(f"\n{result['message']}")
    console.print(said)
    if result is not None and result["result"] is not None:
        console.print_json(data=result["result"])


def indented(text: str) -> Group:
    """Text whose lines keep their indentation when they are wrapped; lines without any are headings if others have."""
    lines = text.splitlines()
    nested = any(each.startswith(" ") for each in lines)
    return Group(
        *(
            Padding(
                Text(each.lstrip(), "bold" if nested and not each.startswith(" ") else "", overflow="fold"),
                (0, 0, 0, len(each) - len(each.lstrip())),
                expand=False,
            )
            for each in lines
        )
    )


def _device(decision: Mapping[str, Any]) -> Text:
    text = Text.assemble((decision["device"], "bold"), f", then {decision['runner_up']}")
    if decision["available_device"] != decision["device"]:
        text.append(f"; no {decision['device']} here, so ", "yellow")
        text.append(decision["available_device"], "bold yellow")
    return text


def _interval(estimate: Mapping[str, Any], show: Any) -> str:
    source = "measured" if estimate["source"] == "history" else "rule of thumb"
    return f"{show(estimate['value'])} ({show(estimate['low'])} to {show(estimate['high'])}, {source})"


def _confidence(decision: Mapping[str, Any]) -> str:
    parts = decision["parts"]
    return (
        f"{decision['confidence']:.0%} (similarity {parts['similarity']:.0%}, device success "
        f"{parts['device_success']:.0%}, nodes {parts['node_availability']:.0%}, resources "
        f"{parts['resource_availability']:.0%})"
    )


def _level(priority: int) -> str:
    return ("critical", "high", "medium", "low", "low")[priority - 1]


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 70 else words[:69] + "…"
