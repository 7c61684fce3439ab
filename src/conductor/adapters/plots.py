"""Draw the report on past decisions as PNG files; what is in it is `decisions.report`'s.

Needs matplotlib, which is an extra: it is loaded by the first drawing, and its own settings and backends are left alone
(figures are drawn on their own canvas, not through pyplot).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conductor.domain.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_report(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `calibration.png`, `accuracy.png` and `regret.png` into a folder, which is made if need be.

    Args:
        report: `MindReport` as plain JSON, with at least one outcome.

    Returns:
        The files. `regret.png` is left out when no period can tell a regret.

    Raises:
        InvalidInput: matplotlib is not installed, or the folder cannot be written.
    """
    figures = {"calibration.png": _calibration(report), "accuracy.png": _accuracy(report["periods"])}
    if any(period["regret"] is not None for period in report["periods"]):
        figures["regret.png"] = _regret(report["periods"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            figure.savefig(folder / name, dpi=120)
    except OSError as failure:
        raise InvalidInput(f"{folder} cannot be written: {failure.strerror or failure}", field="output") from failure
    return [folder / name for name in figures]


def _axes(title: str) -> "tuple[Figure, Axes]":
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise InvalidInput(
            "drawing PNG files needs matplotlib; install it with `pip install 'conductor[plots]'`, or leave out "
            "--output to see the plots in the terminal",
            field="output",
        ) from missing
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes


def _calibration(report: Mapping[str, Any]) -> "Figure":
    error = report["expected_calibration_error"]
    figure, axes = _axes(f"Calibration: expected error {error:.3f} over {report['count']} outcomes")
    bins = report["bins"]
    most = max(each["count"] for each in bins)
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="as said")
    axes.scatter(
        [each["said"] for each in bins],
        [each["seen"] for each in bins],
        s=[20 + 180 * each["count"] / most for each in bins],
        label="as it went (area: outcomes)",
    )
    axes.set(xlabel="stated confidence", ylabel="share that succeeded", xlim=(0, 1), ylim=(-0.03, 1.03))
    axes.legend(loc="upper left")
    return figure


def _accuracy(periods: Sequence[Mapping[str, Any]]) -> "Figure":
    figure, axes = _axes("Decisions over time")
    for name, label in (
        ("within", "durations within ±20 %"),
        ("succeeded", "succeeded"),
        ("ideal_device", "on the ideal device type"),
    ):
        _line(axes, periods, name, label)
    axes.set(ylabel="%", ylim=(-3, 103))
    axes.legend(loc="lower right")
    return figure


def _regret(periods: Sequence[Mapping[str, Any]]) -> "Figure":
    figure, axes = _axes("Regret over time")
    _line(axes, periods, "regret", "extra time against the best place known today")
    axes.set_ylabel("% of the best time")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
    return figure


def _line(axes: "Axes", periods: Sequence[Mapping[str, Any]], name: str, label: str) -> None:
    told = [period for period in periods if period[name] is not None]
    at: list[Any] = [datetime.fromtimestamp(period["end_unix_s"], UTC) for period in told]
    axes.plot(at, [100 * period[name] for period in told], marker="o", label=label)
    axes.tick_params(axis="x", rotation=30)
