"""`conductor models`: which models there are, which take part in decisions, and our own as a file for others."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from conductor.domain.units import format_bytes
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing

app = typer.Typer(name="models", help="Models: list, export.", no_args_is_help=True)


@app.command("list")
def list_models(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the models in use and those on this machine that could be: kind, use, size, digest, place."""
    from conductor.app.model_list import listed_models

    here = contexts.of(context)
    with here.server() as client:
        settings = {row["name"]: row["value"] for row in client.get("/v1/settings")["settings"]}
    around = here.installation.around
    found = listed_models(settings["mind.model"], environment=os.environ, home=around.home)
    if as_json:
        printing.print_json({"models": contexts.as_json(found)})
        return
    columns = ["Model", "Kind", "In use", "Use", "Size", "Digest", "Where"]
    rows = [_row(contexts.as_json(model)) for model in found]
    here.console.print(printing.table(columns, rows, numbers=["Size", "Digest"]))
    here.notes.print("Choose another mind: `conductor settings set mind.model …`, see docs/minds.md.", style="dim")


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
    from conductor.app.model_export import export_own_mind

    here = contexts.of(context)
    with here.notes.status("Writing …"):
        size_bytes = export_own_mind(target, float32=float32)
    if as_json:
        printing.print_json({"file": str(target), "size_bytes": size_bytes})
    else:
        here.console.print(f"{target}: {format_bytes(size_bytes)}")
        here.notes.print(f"Use it as the mind: `conductor settings set mind.model {target.resolve()}`.", style="dim")


def _row(model: dict[str, Any]) -> list[str]:
    size = "" if model["size_bytes"] is None else format_bytes(model["size_bytes"])
    used = "yes" if model["in_use"] else "no"
    return [model["name"], model["kind"], used, model["use"], size, model["sha256"][:12], model["where"]]
