"""`conductor settings validate`, `models`, `history`, `rollback`: the page `SETTINGS.md` with persona and model table.

Works on the files themselves: a running server takes over what is saved by itself.
"""

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conductor.domain.errors import ConductorError, NotFound, SettingsError
from conductor.domain.model import ServedModel
from conductor.faces.cli import context as contexts
from conductor.faces.cli import exits, printing

if TYPE_CHECKING:
    from conductor.app.serving.model_table import Copy, Standing
    from conductor.faces.cli.context import Context

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `conductor settings`."""
    app.command("validate")(validate)
    app.command("models")(models)
    app.command("history")(history)
    app.command("rollback")(roll_back)


def validate(
    context: typer.Context,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="The page; the installation's SETTINGS.md by default.")
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a page to start from instead.")] = False,
    as_json: _Json = False,
) -> None:
    """Check a SETTINGS.md and say what would load and unload by it. Changes nothing."""
    from conductor.app.serving.model_table import EXAMPLE, check, known_categories, settings_page

    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    here = contexts.of(context)
    page = settings_page(here.installation)
    name = str(page.path) if file is None else file
    is_in_place = name != "-" and Path(name).resolve() == page.path.resolve()
    if file is None and not page.path.exists():
        raise NotFound(f"there is no {page.path}; `conductor settings validate --example` prints a page to start from")
    content = contexts.read_text(name).encode()
    try:
        reading, changes = check(page, content, known_categories(), is_in_place=is_in_place)
    except SettingsError as wrong:
        if not as_json:
            raise
        printing.print_json({"valid": False, **wrong.details})
        raise typer.Exit(exits.WRONG_INPUT) from wrong
    lines = changes.lines(_in_memory(here))
    if as_json:
        printing.print_json(
            {
                "valid": True,
                "digest": reading.table.digest,
                "warnings": [warning.as_json() for warning in reading.warnings],
                "changes": lines,
            }
        )
        return
    count = len(reading.table.rows)
    here.console.print(f"Valid: {count} {'category' if count == 1 else 'categories'}, {_about(reading.table.persona)}.")
    for warning in reading.warnings:
        here.console.print(warning.sentence, style="yellow", markup=False, soft_wrap=True)
    _print_changes(here, lines)
    here.notes.print(f"Digest {reading.table.digest}", style="dim")


def models(context: typer.Context, as_json: _Json = False) -> None:
    """Show the model table in force: which model serves which category, and how it is kept."""
    from conductor.app.serving.model_table import known_categories, look, precision_text, settings_page, write_size

    here = contexts.of(context)
    page = settings_page(here.installation)
    standing = look(page, known_categories())
    if as_json:
        printing.print_json(_as_json(standing, page.path))
        return
    if standing.table.rows:
        columns = ["Category", "Model", "Technical name", "Memory", "Kept", "Precision"]
        rows = [
            [
                standing.table.title_of(row.category),
                row.title,
                row.name,
                write_size(row.memory_bytes),
                _kept(row),
                precision_text(row),
            ]
            for row in standing.table.rows
        ]
        here.console.print(printing.table(columns, rows, numbers=["Memory"]))
        here.console.print(f"{_about(standing.table.persona).capitalize()}. Digest {standing.digest}", soft_wrap=True)
    if standing.problem is not None:
        here.notes.print(standing.problem.message, style="red", markup=False, soft_wrap=True)
        served = "The last valid page stays" if standing.table.rows else "No earlier page was"
        here.notes.print(f"{served} in force.", style="red")
    elif not standing.table.rows:
        missing = "has no rows yet" if standing.exists else "does not exist yet"
        here.console.print(f"No model is served: {page.path} {missing}.", markup=False, soft_wrap=True)
        here.console.print("`conductor settings validate --example` prints a page to start from.", soft_wrap=True)
    for warning in standing.warnings:
        here.notes.print(warning.sentence, style="yellow", markup=False, soft_wrap=True)


def history(context: typer.Context, as_json: _Json = False) -> None:
    """List the pages that were in force, oldest first."""
    from conductor.app.serving.model_table import settings_page

    kept = settings_page(contexts.of(context).installation).kept()
    if as_json:
        found = [{"number": each.number, "at_unix_s": each.at_unix_s, "digest": each.digest} for each in kept]
        printing.print_json(
            {"pages": [entry | {"file": str(each.path)} for entry, each in zip(found, kept, strict=True)]}
        )
        return
    here = contexts.of(context)
    if not kept:
        here.console.print("No SETTINGS.md was in force yet; a server keeps what it takes over.", soft_wrap=True)
        return
    rows = [[str(each.number), printing.when(each.at_unix_s), each.digest[:12]] for each in kept]
    here.console.print(printing.table(["Page", "In force from", "Digest"], rows, numbers=["Page"]))


def roll_back(
    context: typer.Context,
    number: Annotated[
        int | None,
        typer.Argument(min=1, help="Which page of the history; by default the last valid one other than the present."),
    ] = None,
) -> None:
    """Put an earlier SETTINGS.md back in place; a running server takes it over at once."""
    from conductor.app.serving.model_table import roll_back as put_back
    from conductor.app.serving.model_table import settings_page

    here = contexts.of(context)
    page = settings_page(here.installation)
    in_memory = _in_memory(here)  # before a running server changes it
    done = put_back(page, number, at_unix_s=time.time())
    since = printing.when(done.page.at_unix_s)
    here.console.print(f"{page.path} is again page {done.page.number} of {since}.", markup=False, soft_wrap=True)
    _print_changes(here, done.changes.lines(in_memory))
    if here.installation.running_server() is None:
        here.notes.print("No server runs here; the next one takes it over.", style="dim")
    if done.replaced is not None:
        here.notes.print(f"What it said before is in {done.replaced}.", style="dim", markup=False, soft_wrap=True)


def _in_memory(here: "Context") -> "Collection[Copy] | None":
    """What the running server has loaded; nothing where none runs, None where it does not say."""
    from conductor.app.serving.model_table import copies_in_memory

    if here.installation.running_server() is None:
        return ()
    try:
        with here.server(embed=False) as client:
            models = client.get("/models")["models"]
    except ConductorError:
        return None
    return copies_in_memory((model["model"], model["precision"], model["state"]) for model in models)


_STYLES = {"+": "green", "-": "red", "~": "yellow"}


def _print_changes(here: "Context", lines: Sequence[str]) -> None:
    if not lines:
        here.console.print("It changes nothing of what is in force.")
    for line in lines:
        here.console.print(line, style=_STYLES.get(line[0], ""), markup=False, soft_wrap=True)


def _kept(row: ServedModel) -> str:
    return "loaded" if row.stay_loaded else "on demand"


def _about(persona: str) -> str:
    return f"persona of {len(persona.split())} words" if persona else "no persona"


def _as_json(standing: "Standing", path: Path) -> dict[str, Any]:
    problem = standing.problem
    return {
        "file": str(path),
        "exists": standing.exists,
        "digest": standing.digest,
        "persona": standing.table.persona,
        "models": [
            contexts.as_json(row) | {"category_title": standing.table.title_of(row.category)}
            for row in standing.table.rows
        ],
        "problem": None if problem is None else {"message": problem.message, **problem.details},
        "warnings": [warning.as_json() for warning in standing.warnings],
    }
