"""`conductor models`: which models there are, which take part in decisions, which are served, and our own for others."""

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from conductor.domain.units import format_bytes
from conductor.faces.cli import context as contexts
from conductor.faces.cli import model_statistics, printing, served_models
from conductor.faces.cli.client import Client
from conductor.faces.cli.status import print_mind

app = typer.Typer(name="models", help="Models: list, show, load, unload, forget, stats, export.", no_args_is_help=True)

#: Characters of a line that the other columns take: the longest word of each, and two spaces before it.
_OTHER_COLUMNS: Final = len("hugging face") + len("not in use") + len("1023.9 MiB") + 12 + 4 * 2
_NARROWEST: Final = 12
_LOADING_S: Final = 10.0
_ASK_AGAIN_S: Final = 0.2


@app.command("list")
def list_models(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the models in use, those on this machine that could be, and those that SETTINGS.md serves, with their state."""
    from conductor.app.minds.listing import listed_models
    from conductor.app.minds.state import MindNow

    here = contexts.of(context)
    is_served = here.installation.running_server() is not None
    with here.server() as client:
        mind = _mind(client, here.notes, patience_s=0.0 if is_served else _LOADING_S)
        served = client.get("/models")
    found = contexts.as_json(listed_models(MindNow(**mind), environment=os.environ, home=here.installation.around.home))
    if as_json:
        printing.print_json(
            {"models": found, "mind": mind, "served": served["models"], "table_digest": served["table_digest"]}
        )
        return
    width = here.console.width
    rows = [_row(model, width - _OTHER_COLUMNS) for model in found]
    here.console.print(printing.table(["Model", "Kind", "State", "Size", "Digest"], rows, numbers=["Size", "Digest"]))
    for model in found:
        if model["where"] != "the package":
            name = _shortened(model["name"], width // 2)
            here.console.print(f"{name}: {_shortened(model['where'], width - len(name) - 2)}", markup=False)
    print_mind(mind, here.console)
    here.console.print()
    served_models.print_served(here, served["models"])
    here.notes.print("Choose another mind: `conductor settings set mind.model …`, see docs/minds.md.", style="dim")


def _mind(client: Client, notes: Console, *, patience_s: float) -> dict[str, Any]:
    """How the language model fares; a server that was started for this command is given time to find out."""
    mind: dict[str, Any] = client.get("/health")["mind"]
    pause, deadline_s = threading.Event(), time.monotonic() + patience_s
    with notes.status("Loading the language model …") if mind["state"] == "loading" else contextlib.nullcontext():
        while mind["state"] == "loading" and time.monotonic() < deadline_s:
            pause.wait(_ASK_AGAIN_S)
            mind = client.get("/health")["mind"]
    return mind


served_models.register(app)
model_statistics.register(app)


@app.command("export")
def export(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
    float32: Annotated[
        bool, typer.Option("--float32", help="Numbers in full: five times the size, the very same decisions.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write our own language model as a GGUF file, with the same 4-bit weights, for llama.cpp and its kin."""
    from conductor.app.minds.export import export_own_mind

    here = contexts.of(context)
    with here.notes.status("Writing …"):
        size_bytes = export_own_mind(target, float32=float32)
    if as_json:
        printing.print_json({"file": str(target), "size_bytes": size_bytes})
    else:
        here.console.print(f"{target}: {format_bytes(size_bytes)}")
        here.notes.print(f"Use it as the mind: `conductor settings set mind.model {target.resolve()}`.", style="dim")


def _row(model: dict[str, Any], name_width: int) -> list[Text]:
    size = "" if model["size_bytes"] is None else format_bytes(model["size_bytes"])
    name = _shortened(model["name"], max(name_width, _NARROWEST))
    cells = (name, model["kind"], model["state"], size, model["sha256"][:12])
    return [Text(cell, no_wrap=True) for cell in cells]


def _shortened(text: str, width: int) -> str:
    """A name or path with its middle left out where it is too long: beginning and end tell most."""
    if len(text) <= width:
        return text
    kept = max(width, _NARROWEST) - 1
    return f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
