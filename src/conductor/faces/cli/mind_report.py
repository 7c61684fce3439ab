"""`conductor mind report`: how good past decisions were, as plots of plain text and as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from conductor.domain.units import parse_duration_s
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing

_BAR: Final = 20
#: What each figure and column means, with its unit; at most 62 characters.
_CALIBRATION: Final = {
    "expected error": "mean gap between said and succeeded, as a share; 0 is best",
    "Brier score": "mean squared gap per outcome; 0 is best, a coin's is 0.25",
    "said": "confidence stated beforehand, in %; mean of tasks stated alike",
    "succeeded": "share of those tasks that succeeded, in %; best ends at the │",
    "outcomes": "how many finished tasks these were",
}
_OVER_TIME: Final = {
    "until": "end of the last task of the period, local date and time",
    "outcomes": "how many tasks finished in it",
    "within ±20 %": "successes that took as long as predicted, within ±20 %, in %",
    "succeeded": "tasks that succeeded, in %",
    "ideal device": "tasks that ran on the device type ideal for them, in %",
    "regret": "extra time where they ran, in % of that at the best place",
    "–": "nothing in the period can tell",
}
_NOTHING: Final = (
    "Nothing to report yet: no task has run{since}.\n"
    'Run some, for example `conductor run "Sort a list of names" -- sort names.txt`, and look again.'
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    context: typer.Context,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Write PNG files into this folder too.")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="Draw the PNG files on a dark ground.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Only the latest outcomes, such as 12h or 7d.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Plot how good past decisions were: calibration of confidence, accuracy and regret over time."""
    here = contexts.of(context)
    since_s = None if since is None else parse_duration_s(since, field="since")
    with here.server() as client:
        found = client.get("/v1/mind/report", since_s=since_s)
    files = _saved(found, output, dark=dark) if output is not None and found["count"] else []
    if as_json:
        printing.print_json(found)
        return
    if not found["count"]:
        here.console.print(_NOTHING.format(since=f" in the last {since}" if since else ""), markup=False)
        return
    here.console.print("\n".join(lines(found)), markup=False)
    for file in files:
        here.console.print(f"Written: {file}", markup=False, soft_wrap=True)


def _saved(found: Mapping[str, Any], folder: Path, *, dark: bool) -> list[Path]:
    from conductor.app.minds.report import save_plots  # loads the database, which `--help` must not wait for

    return save_plots(found, folder, dark=dark)


def lines(found: Mapping[str, Any]) -> list[str]:
    """The report as plain text of at most 80 columns, each column explained below its table."""
    return [
        f"Calibration: {found['count']} outcomes, expected error "
        f"{found['expected_calibration_error']:.3f}, Brier score {found['brier']:.3f}",
        "  said   succeeded (│: as said)     outcomes",
        *(_calibration_line(each) for each in found["bins"]),
        "",
        *_legend(_CALIBRATION),
        "",
        "Over time (each line: outcomes that followed one another)",
        "  until              outcomes  within ±20 %  succeeded  ideal device   regret",
        *(_period_line(each) for each in found["periods"]),
        "",
        *_legend(_OVER_TIME),
        "",
        *_regret_lines(found["periods"]),
    ]


def _legend(columns: Mapping[str, str]) -> list[str]:
    return [f"  {name:<15} {meaning}" for name, meaning in columns.items()]


def _calibration_line(each: Mapping[str, Any]) -> str:
    bar = list(_bar(each["seen"]).ljust(_BAR, "·"))
    bar[min(int(each["said"] * _BAR), _BAR - 1)] = "│"
    return f"  {each['said']:4.0%}   {''.join(bar)} {each['seen']:4.0%} {each['count']:8d}"


def _period_line(each: Mapping[str, Any]) -> str:
    shares = (_share(each[name], width) for name, width in (("within", 13), ("succeeded", 10), ("ideal_device", 13)))
    return (
        f"  {printing.when(each['end_unix_s'])[:16]} {each['count']:10d} {' '.join(shares)} {_share(each['regret'], 8)}"
    )


def _regret_lines(periods: Sequence[Mapping[str, Any]]) -> list[str]:
    told = [each for each in periods if each["regret"] is not None]
    if not told:
        return ["Regret: no workload ran in more than one place yet, so there is nothing to compare."]
    most = max(max(each["regret"] for each in told), 0.05)
    return [
        "Regret: extra time against the best place known today, waiting left out",
        *(
            f"  {printing.when(each['end_unix_s'])[:16]}  {_bar(each['regret'] / most):{_BAR}} {each['regret']:6.1%}"
            for each in told
        ),
    ]


def _bar(share: float) -> str:
    return "█" * round(share * _BAR)


def _share(value: float | None, width: int) -> str:
    return ("–" if value is None else f"{value:.0%}").rjust(width)
