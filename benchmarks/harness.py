"""What every benchmark shares: rounds taken in turn, figures reduced to one row, the table, the results file.

A benchmark is a module of this package with `run() -> list[Row]`. Here is decided how measurements become a row and
what counts as a goal met; what is measured, and against whom, is for the module. A goal that is not met is a result,
`CannotRun` and `WrongResult` are failures. Not covered: how often a thing must be measured until its median is to be
trusted; the spread stands in the table for that.
"""

import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

import psutil

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = Path(__file__).parent / "results"
COLUMNS: Final = ("metric", "unit", "ours", "peer_name", "peer", "ratio", "goal", "met", "spread")

Measured = TypeVar("Measured")


class CannotRun(Exception):
    """Something the benchmark needs is missing; the message says what and how to get it."""


class WrongResult(Exception):
    """A side answered quickly but not rightly, so its figures mean nothing."""


class Row(TypedDict):
    """One line of a table.

    `ours` and `peer` are medians over the rounds, `ratio` says how many times better ours is (below 1: worse),
    `spread` is (largest − smallest) / median of ours, None after a single round. `met` is None where there is no goal.
    """

    metric: str
    unit: str
    ours: float
    peer_name: str | None
    peer: float | None
    ratio: float | None
    goal: str | None
    met: bool | None
    spread: float | None


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on our own figure (`at least`, `below`), or on how many times better than the peer it is (`times peer`)."""

    relation: str
    bound: float

    def __post_init__(self) -> None:
        if self.relation not in ("at least", "below", "times peer"):
            raise ValueError(f"unknown relation {self.relation!r}")

    def __str__(self) -> str:
        bound = f"{self.bound:,g}"
        return {"at least": f"≥ {bound}", "below": f"< {bound}", "times peer": f"≥ {bound} × peer"}[self.relation]

    def is_met(self, ours: float, ratio: float | None) -> bool:
        """Judged on the unrounded figures. A ratio that could not be measured is not met."""
        if self.relation == "times peer":
            return ratio is not None and ratio >= self.bound
        return ours >= self.bound if self.relation == "at least" else ours < self.bound


def compare(
    metric: str,
    unit: str,
    ours: Sequence[float],
    *,
    more_is_better: bool,
    peer_name: str | None = None,
    peer: Sequence[float] = (),
    goal: Goal | None = None,
) -> Row:
    """Reduce the rounds of both sides to one row."""
    mine = statistics.median(ours)
    theirs = statistics.median(peer) if peer else None
    ratio = None
    if theirs and mine:
        ratio = mine / theirs if more_is_better else theirs / mine
    return Row(
        metric=metric,
        unit=unit,
        ours=figures(mine),
        peer_name=peer_name,
        peer=None if theirs is None else figures(theirs),
        ratio=None if ratio is None else figures(ratio),
        goal=None if goal is None else str(goal),
        met=None if goal is None else goal.is_met(mine, ratio),
        spread=round((max(ours) - min(ours)) / mine, 3) if mine and len(ours) > 1 else None,
    )


def figures(value: float, digits: int = 4) -> float:
    """Round to significant digits, and never before the decimal point."""
    if not value or not math.isfinite(value):
        return value
    return round(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def interleave(rounds: int, sides: Mapping[str, Callable[[], Measured]]) -> dict[str, list[Measured]]:
    """Measure every side once per round, so that a busy minute of the machine hits all of them.

    Every second round goes backwards: no side always follows the same neighbour.
    """
    measured: dict[str, list[Measured]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in names:
            measured[name].append(sides[name]())
    return measured


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def cpu_model() -> str:
    """The name of the processor, as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit() -> str:
    """The commit that is measured, with `-dirty` when tracked files differ from it; `unknown` outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
    described = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "unknown"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as aligned text; figures to the right, words to the left."""
    cells = [list(COLUMNS), *([_shown(row[column]) for column in COLUMNS] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(COLUMNS))]
    numeric = {"ours", "peer", "ratio", "spread"}
    lines = [
        "  ".join(
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, cell, width in zip(COLUMNS, line, widths, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float | int):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
    return str(value)


def write(name: str, rows: Sequence[Mapping[str, Any]], *, measured_commit: str, folder: Path = RESULTS) -> Path:
    """Write `<folder>/<name>.json`; returns its path."""
    document = {"name": name, "commit": measured_commit, "machine": machine(), "rows": [dict(row) for row in rows]}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
