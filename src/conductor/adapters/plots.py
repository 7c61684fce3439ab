"""Draw the report on past decisions as PNG files; what is in it is `decisions.report`'s.

Each picture stands by itself: axes with units, a legend below the plot, where it hides nothing, and a ground of its own, so
that it reads the same on any page. Lines differ in marker and dash as well as in colour (palette: Okabe and Ito 2008).

Needs matplotlib, which is an extra: it is loaded by the first drawing, and its own settings and backends are left alone
(figures are drawn on their own canvas, not through pyplot).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from conductor.domain.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class _Paper:
    """Colours of one ground."""

    ground: str
    ink: str
    faint: str
    series: tuple[str, str, str]


_LIGHT: Final = _Paper("#ffffff", "#1f2328", "#8c959f", ("#0072b2", "#d55e00", "#007a5a"))
_DARK: Final = _Paper("#16191d", "#e6e9ed", "#7d8590", ("#56b4e9", "#e69f00", "#3fcf9f"))
_STYLES: Final = (("o", "-"), ("s", "--"), ("^", ":"))


def draw_report(report: Mapping[str, Any], folder: Path, *, dark: bool = False) -> list[Path]:
    """Write `calibration.png`, `accuracy.png` and `regret.png` into a folder, which is made if need be.

    Args:
        report: `MindReport` as plain JSON, with at least one outcome.
        dark: light lines on a dark ground.

    Returns:
        The files. `regret.png` is left out when no period can tell a regret.

    Raises:
        InvalidInput: matplotlib is not installed, or the folder cannot be written.
    """
    drawn = figures(report, dark=dark)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in drawn.items():
            figure.savefig(folder / name, dpi=150)
    except OSError as failure:
        raise InvalidInput(f"{folder} cannot be written: {failure.strerror or failure}", field="output") from failure
    return [folder / name for name in drawn]


def figures(report: Mapping[str, Any], *, dark: bool = False) -> "dict[str, Figure]":
    """The figures by the names of their files; see `draw_report`.

    Raises:
        InvalidInput: matplotlib is not installed.
    """
    paper = _DARK if dark else _LIGHT
    drawn = {"calibration.png": _calibration(report, paper), "accuracy.png": _accuracy(report["periods"], paper)}
    if any(period["regret"] is not None for period in report["periods"]):
        drawn["regret.png"] = _regret(report["periods"], paper)
    return drawn


def _calibration(report: Mapping[str, Any], paper: _Paper) -> "Figure":
    figure, axes = _axes("Calibration: does the stated confidence hold?", paper)
    bins = report["bins"]
    most = max(each["count"] for each in bins)
    axes.plot([0, 100], [0, 100], color=paper.faint, linestyle="--", label="ideal: succeeds as often as stated")
    axes.scatter(
        [100 * each["said"] for each in bins],
        [100 * each["seen"] for each in bins],
        s=[30 + 220 * each["count"] / most for each in bins],
        color=paper.series[0],
        edgecolors=paper.ground,
        zorder=3,
        label="finished tasks that were stated about alike; the number says how many",
    )
    for each in bins:
        axes.annotate(
            f"{each['count']:,}",
            (100 * each["said"], 100 * each["seen"]),
            xytext=(-11, -4),
            textcoords="offset points",
            horizontalalignment="right",
            color=paper.ink,
            fontsize=8,
        )
    error = 100 * report["expected_calibration_error"]
    axes.set(xlabel="stated confidence (%)", ylabel="share that succeeded (%)", xlim=(0, 103), ylim=(-3, 107))
    _explain(figure, axes, paper, f"mean gap {error:.1f} percentage points over {report['count']:,} finished tasks")
    return figure


def _accuracy(periods: Sequence[Mapping[str, Any]], paper: _Paper) -> "Figure":
    figure, axes = _axes("Accuracy: how good were the decisions over time?", paper)
    for place, (name, label) in enumerate(
        (
            ("within", "took within ±20 % of the predicted duration"),
            ("succeeded", "succeeded"),
            ("ideal_device", "ran on the ideal device type"),
        )
    ):
        _line(axes, periods, name, label, paper, place)
    axes.set(ylabel="share of finished tasks (%)", ylim=(-3, 107))
    _time(axes, periods)
    _explain(figure, axes, paper, _periods(periods))
    return figure


def _regret(periods: Sequence[Mapping[str, Any]], paper: _Paper) -> "Figure":
    figure, axes = _axes("Regret: what did the choice of place cost?", paper)
    _line(axes, periods, "regret", "extra time against the best place known today, waiting left out", paper, 0)
    axes.set_ylabel("extra time (% of the best place's)")
    axes.set_ylim(bottom=0, top=max(5.0, axes.get_ylim()[1]))
    _time(axes, periods)
    _explain(figure, axes, paper, _periods(periods))
    return figure


def _axes(title: str, paper: _Paper) -> "tuple[Figure, Axes]":
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise InvalidInput(
            "drawing PNG files needs matplotlib; install it with `pip install 'conductor[plots]'`, or leave out "
            "--output to see the plots in the terminal",
            field="output",
        ) from missing
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
    figure = Figure(figsize=(7.2, 4.8), layout=layout, facecolor=paper.ground)
    axes = figure.add_subplot(facecolor=paper.ground)
    axes.set_title(title, color=paper.ink, fontweight="bold", loc="left", pad=22)
    axes.grid(color=paper.faint, alpha=0.35, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=paper.ink, which="both")
    for side, spine in axes.spines.items():
        spine.set_color(paper.faint)
        spine.set_visible(side in ("left", "bottom"))
    axes.xaxis.label.set_color(paper.ink)
    axes.yaxis.label.set_color(paper.ink)
    return figure, axes


def _line(axes: "Axes", periods: Sequence[Mapping[str, Any]], name: str, label: str, paper: _Paper, place: int) -> None:
    told = [period for period in periods if period[name] is not None]
    at: list[Any] = [datetime.fromtimestamp(period["end_unix_s"], UTC) for period in told]
    marker, dash = _STYLES[place]
    values = [100 * period[name] for period in told]
    axes.plot(at, values, marker=marker, linestyle=dash, color=paper.series[place], label=label, clip_on=False)


def _time(axes: "Axes", periods: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    first, last = periods[0]["end_unix_s"], periods[-1]["end_unix_s"]
    margin_s = max(0.04 * (last - first), 60.0)  # the ends of very few tasks may be a second apart
    from_when: Any = datetime.fromtimestamp(first - margin_s, UTC)
    to_when: Any = datetime.fromtimestamp(last + margin_s, UTC)
    axes.set_xlim(from_when, to_when)
    locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.xaxis.get_offset_text().set_color(axes.xaxis.label.get_color())
    axes.set_xlabel("end of the period (date and time, UTC)")


def _explain(figure: "Figure", axes: "Axes", paper: _Paper, below_title: str) -> None:
    """One line below the title, and the legend below the plot."""
    axes.text(0, 1.03, below_title, transform=axes.transAxes, color=paper.ink, fontsize=9)
    figure.legend(loc="outside lower center", ncols=1, frameon=False, labelcolor=paper.ink, fontsize=9)


def _periods(periods: Sequence[Mapping[str, Any]]) -> str:
    sizes = sorted({period["count"] for period in periods})
    each = f"{sizes[-1]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    count = "1 period" if len(periods) == 1 else f"{len(periods)} periods"
    return f"{count} of {each} finished task{'' if sizes[-1] == 1 else 's'}"
