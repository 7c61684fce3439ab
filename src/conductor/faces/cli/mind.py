"""`conductor mind`: how good the decisions are."""

from pathlib import Path
from typing import Annotated

import typer

from conductor.domain.errors import InvalidInput
from conductor.faces.cli import context as contexts
from conductor.faces.cli import mind_report, mind_tune, printing

app = typer.Typer(
    name="mind", help="The decision maker: evaluate, report, tune, versions, rollback.", no_args_is_help=True
)
mind_report.register(app)
mind_tune.register(app)


@app.command("evaluate")
def evaluate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help='JSON lines {"id", "text", "accept", "best"}.')],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Decide about labelled texts; print accuracy on `accept` and `best`, per class, and calibration (ECE)."""
    from conductor.app.minds.batch import Mind  # loads the encoder, which `--help` must not wait for

    here = contexts.of(context)
    lines = contexts.read_text(str(file)).splitlines()
    with here.notes.status("Evaluating …"):
        mind = Mind(here.installation)
        for remark in mind.remarks:
            here.notes.print(remark, style="dim", markup=False)
        try:
            report = mind.evaluate(lines)
        except InvalidInput as wrong:
            raise InvalidInput(f"{file}: {wrong.message}", field=wrong.field) from wrong
    if as_json:
        printing.print_json(contexts.as_json(report))
    else:
        here.console.print(report.text(), markup=False)
