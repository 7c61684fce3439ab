"""`conductor explain`: the full breakdown of one decision."""

from typing import Annotated

import typer

from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="A task's id, or `last`.", metavar="TASK")] = "last",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain why a task runs where it runs, what was expected, and why the others lost."""
    here = contexts.of(context)
    with here.server() as client:
        found = client.get(f"/v1/tasks/{task}/explanation")
    if as_json:
        printing.print_json(found)
    else:
        here.console.print(printing.indented(found["text"]))
