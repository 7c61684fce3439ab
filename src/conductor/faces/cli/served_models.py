"""`conductor models show`, `load`, `unload`, `forget`: the models that SETTINGS.md names, and what has become of each.

Loading and unloading need a server that stays: one that was started for a command would take the model with it.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from conductor.domain.units import format_bytes, format_duration
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing

if TYPE_CHECKING:
    from rich.status import Status

    from conductor.faces.cli.client import Client
    from conductor.faces.cli.context import Context

_Wanted = Annotated[str, typer.Argument(metavar="MODEL", help="A category, a title or a technical name.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: The largest models of the slowest disks are loaded within it, the wait for memory included.
_PATIENCE_S: Final = 3600.0
_LOOK_AGAIN_S: Final = 0.5
_STYLES: Final[Mapping[str, str]] = {"loaded": "green", "loading": "cyan", "waiting": "yellow", "error": "red"}


def register(app: typer.Typer) -> None:
    """Add the commands to `conductor models`."""
    app.command("show")(show)
    app.command("load")(load)
    app.command("unload")(unload)
    app.command("forget")(forget)


def show(context: typer.Context, wanted: _Wanted, as_json: _Json = False) -> None:
    """Show one served model: what it is for, its state and why, where it runs, its memory, and what differs from its row."""
    here = contexts.of(context)
    with here.server() as client:
        model = client.get(f"/models/{wanted}")
    if as_json:
        printing.print_json(model)
        return
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", justify="right", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(model):
        facts.add_row(name, value)
    here.console.print(facts)


def load(context: typer.Context, wanted: _Wanted, as_json: _Json = False) -> None:
    """Load a served model ahead of its use, and wait until it is in memory. The server goes on loading if you interrupt."""
    here = contexts.of(context)
    with here.server(embed=False) as client:
        model = _followed(here, client, "load", wanted)
    if as_json:
        printing.print_json(model)
        return
    where = f"{model['backend']} on {model['device']}" if model["device"] else model["backend"]
    took = "" if model["load_s"] is None else f", loaded in {format_duration(model['load_s'])}"
    memory = f", {format_bytes(model['memory_bytes'])}" if model["memory_bytes"] else ""
    here.console.print(f"{model['title']} is {model['state']}: {where}{memory}{took}.", markup=False, soft_wrap=True)
    _print_notes(here, model)


def unload(context: typer.Context, wanted: _Wanted, as_json: _Json = False) -> None:
    """Give a served model's memory back, once nobody uses it; it is loaded again when somebody asks for it."""
    here = contexts.of(context)
    with here.server(embed=False) as client:
        model = _followed(here, client, "unload", wanted)
    if as_json:
        printing.print_json(model)
        return
    now = "not in memory" if model["state"] == "absent" else model["state"]
    here.console.print(f"{model['title']} is {now}.", markup=False, soft_wrap=True)


def forget(
    context: typer.Context,
    wanted: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="A category, a title or a technical name.", show_default=False),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Forget the answers that are kept of a served model, or of all; the same questions are put to models again."""
    here = contexts.of(context)
    with here.server(embed=False) as client:
        forgotten = client.post("/models/forget", {"model": wanted})
    if as_json:
        printing.print_json(forgotten)
        return
    here.console.print(f"Answers forgotten, of those in memory: {forgotten['answers']:,}.", markup=False)


def print_served(here: "Context", models: Sequence[Mapping[str, Any]]) -> None:
    """The served models as a table; where there are none, how to come by some."""
    if not models:
        print_nothing_served(here)
        return
    rows = [[one["category"], one["title"], _state(one), _memory(one), one["backend"]] for one in models]
    here.console.print(printing.table(["Served for", "Model", "State", "Memory", "Backend"], rows, numbers=["Memory"]))
    for one in models:
        if one["state"] == "error":
            here.console.print(f"{one['category']}: {one['reason']}", style="red", markup=False)
        elif one["state"] == "loaded":
            _print_notes(here, one)
        if one["failing"]:
            here.console.print(f"{one['title']}: {one['failing']}", style="red", markup=False)


def print_nothing_served(here: "Context") -> None:
    """Say how to come by served models."""
    from conductor.app.serving.model_table import settings_page

    page = settings_page(here.installation).path
    why = "has no rows in force; `conductor settings validate` checks it" if page.exists() else "does not exist yet"
    here.console.print(f"No model is served: {page} {why}.", markup=False)
    here.console.print("`conductor settings validate --example` prints a page to start from.")


def _print_notes(here: "Context", model: Mapping[str, Any]) -> None:
    for note in model["notes"]:
        here.console.print(f"{model['title']}: {note}", style="yellow", markup=False)


def _followed(here: "Context", client: "Client", verb: str, wanted: str) -> Any:
    """Ask for it, and tell how it goes until it is done."""
    answered: list[Any] = []
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            answered.append(replace(client, timeout_s=_PATIENCE_S).post(f"/models/{verb}", {"model": wanted}))
        except BaseException as failure:  # raised again where it is waited for
            failed.append(failure)

    began_s = time.monotonic()
    asking = threading.Thread(target=ask, daemon=True)  # an interrupted command does not wait for it
    with here.notes.status(Text(f"{verb.capitalize()}ing {wanted} …")) as status:
        asking.start()
        asking.join(_LOOK_AGAIN_S)
        while asking.is_alive():
            _tell(status, client.get(f"/models/{wanted}"), time.monotonic() - began_s)
            asking.join(_LOOK_AGAIN_S)
    if failed:
        raise failed[0]
    return answered[0]


def _tell(status: "Status", model: Mapping[str, Any], waited_s: float) -> None:
    doing = {"waiting": "waiting for memory", "unloading": "unloading once nobody uses it"}
    memory = f", {_memory(model)}" if _memory(model) else ""
    said = f"{model['title']}: {doing.get(model['state'], model['state'])}{memory}, {format_duration(waited_s)} …"
    status.update(Text(said))


def _facts(model: Mapping[str, Any]) -> Iterator[tuple[str, str | Text]]:
    yield "Category", model["category"]
    yield "Purpose", model["purpose"]
    yield "Model", f"{model['title']}: {model['model']}"
    state = _state(model)
    if model["since_unix_s"] is not None:
        state.append(f" since {printing.when(model['since_unix_s'])}", "dim")
    yield "State", state
    if model["reason"]:
        yield "Why", model["reason"]
    if model["failing"]:
        yield "Failing", Text(model["failing"], "red")
    if model["backend"]:
        yield "Runs by", f"{model['backend']} on {model['device']}" if model["device"] else model["backend"]
    if precision := _precision(model):
        yield "Precision", precision
    if _memory(model):
        yield "Memory", _memory(model)
    if model["context_tokens"]:
        yield "Context", f"{model['context_tokens']:,} tokens"
    yield "Kept", "loaded" if model["stay_loaded"] else "on demand"
    if model["load_s"] is not None:
        yield "Loaded in", format_duration(model["load_s"])
    yield "Used", f"generations: {model['generations']:,}, errors: {model['errors']:,}"
    if model["last_error"] and model["last_error"] != model["reason"]:
        yield "Last error", model["last_error"]
    if model["options"]:
        yield "Options", ", ".join(model["options"])
    for note in model["notes"]:
        yield "Note", Text(note, "yellow")


def _precision(model: Mapping[str, Any]) -> str:
    """As it is computed, and as it was asked for where that counts; empty where nobody knows."""
    from conductor.app.serving.model_table import has_precision

    computed, asked = model["computed_precision"] or "", model["precision"] if has_precision(model["model"]) else ""
    return f"{computed}, {asked} asked for" if computed and asked not in ("", computed) else computed or asked


def _state(model: Mapping[str, Any]) -> Text:
    if model["failing"] and model["state"] in ("loaded", "absent"):
        return Text("failing", "red")
    return Text(model["state"], _STYLES.get(model["state"], ""))


def _memory(model: Mapping[str, Any]) -> str:
    """What it takes; with a tilde what it is expected to take; empty where it is elsewhere or nobody knows."""
    if model["state"] == "loaded":
        return format_bytes(model["memory_bytes"]) if model["memory_bytes"] else ""
    expected = model["memory_bytes"] or model["estimated_bytes"] or model["expected_bytes"]
    return f"~{format_bytes(expected)}" if expected else ""
