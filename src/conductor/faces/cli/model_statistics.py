"""`conductor models stats`: how many calls language models answered since the server started, how well, and how fast."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from conductor.domain.units import format_bytes, format_duration
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing
from conductor.faces.cli.served_models import print_nothing_served

if TYPE_CHECKING:
    from conductor.faces.cli.context import Context

_COLUMNS: Final = ("Calls", "Good", "Failed", "Left", "Mean", "p50", "p95", "First", "Tok/s")
_SECOND_MS: Final = 999.5
_LEGEND: Final = (
    "Good: succeeded, of those that succeeded or failed. Left: the caller went away. First: time to the first piece, "
    "p50. Tok/s: tokens written per second in which the model had work."
)


def register(app: typer.Typer) -> None:
    """Add the command to `conductor models`."""
    app.command("stats")(stats)


def stats(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show calls, success rate, latency, time to the first piece and tokens a second, by model and by category."""
    here = contexts.of(context)
    with here.server(embed=False) as client:
        found = client.get("/stats")
        served = [] if as_json else client.get("/models")["models"]
    if as_json:
        printing.print_json(found)
        return
    if not served and not found["models"]:
        print_nothing_served(here)
    elif not found["models"]:
        here.console.print("No language model was asked since the server started; docs/serving.md says how to ask one.")
    else:
        titles = {one["model"]: one["title"] for one in served}
        _print_tallies(here, "Model", [(titles.get(name, name), tally) for name, tally in found["models"].items()])
        here.console.print()
        engines = [(name.replace("_", " "), tally) for name, tally in found["engines"].items()]
        _print_tallies(here, "Category", engines)
        for name, tally in found["models"].items():
            if tally["failing"]:
                here.console.print(f"{titles.get(name, name)}: {tally['failing']}", style="red", markup=False)
    for line in _kept(found):
        here.console.print(line, markup=False)
    for line in _ahead(found):
        here.console.print(line, markup=False)
    for line in _troubles(found):
        here.console.print(line, style="yellow", markup=False)
    if found["models"]:
        here.notes.print(_LEGEND, style="dim")


def _print_tallies(here: "Context", what: str, tallies: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    rows = [[name, *_cells(tally)] for name, tally in sorted(tallies, key=_most_asked)]
    here.console.print(printing.table([what, *_COLUMNS], rows, numbers=_COLUMNS))


def _most_asked(named: tuple[str, Mapping[str, Any]]) -> tuple[int, str]:
    return -named[1]["count"], named[0]


def _cells(tally: Mapping[str, Any]) -> Iterator[str | Text]:
    latency, rate = tally["latency"], tally["success_rate"]
    yield str(tally["count"])
    yield "" if rate is None else Text(_percent(rate), "red" if tally["failing"] else "")
    yield str(tally["errors"])
    yield str(tally["cancelled"])
    for name in ("mean_ms", "p50_ms", "p95_ms"):
        yield _time(latency[name])
    yield _time(tally["first_token"]["p50_ms"])
    yield f"{tally['tokens_per_s']:.3g}" if tally["tokens_per_s"] else ""


def _percent(share: float) -> str:
    """Never rounded up to all."""
    return "100 %" if share == 1 else f"{int(share * 1000) / 10:g} %"


def _time(milliseconds: float | None) -> str:
    """As short as it can be told."""
    if milliseconds is None:
        return ""
    return f"{milliseconds:.0f} ms" if milliseconds < _SECOND_MS else format_duration(milliseconds / 1000)


def _kept(found: Mapping[str, Any]) -> Iterator[str]:
    """What the answer cache saved, in a line; nothing where nobody asked it, and of a server that has none."""
    levels = {name: level for name, level in found.get("cache", {}).items() if level["hits"] or level["misses"]}
    told = [
        f"{name} {level['hits']:,} of {level['hits'] + level['misses']:,} ({_percent(level['hit_rate'])}), "
        f"{level['entries']:,} in {format_bytes(level['bytes'])}"
        for name, level in levels.items()
    ]
    if told:
        yield f"Kept answers given: {'; '.join(told)}."


def _ahead(found: Mapping[str, Any]) -> Iterator[str]:
    """What was made ready before it was asked for, in a line; nothing where nothing was."""
    told = [
        f"{kind} {one['fetched']:,} (used {one['used']:,}, in vain {one['wasted']:,}{_rate(one)})"
        for kind, one in found.get("ahead", {}).items()
        if one["fetched"]
    ]
    if told:
        yield f"Made ready ahead: {'; '.join(told)}."


def _rate(one: Mapping[str, Any]) -> str:
    return "" if one["hit_rate"] is None else f", {_percent(one['hit_rate'])}"


def _troubles(found: Mapping[str, Any]) -> Iterator[str]:
    if found["unserved"]:
        yield f"Calls for which no model could be found: {found['unserved']}."
    if found["unrecorded_calls"]:
        yield f"Calls that are on no ledger, because it was too slow: {found['unrecorded_calls']}."
    upstreams = {one["name"]: one for among in found["gateway"]["upstreams"].values() for one in among}
    for name, one in upstreams.items():
        if one["breaker"] != "closed":
            yield f"{name} rests after {one['failures']} failures; asked again in {format_duration(one['rests_for_s'])}."
