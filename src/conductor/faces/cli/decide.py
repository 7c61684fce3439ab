"""`conductor decide`: decide about one text, or about a file of them, without running anything."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from conductor.domain.errors import InvalidInput
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("decide")(decide)


def decide(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="The work in plain words.")] = None,
    source: Annotated[
        Path | None, typer.Option("--input", help='JSON lines {"id", "text"}; - reads standard input.', allow_dash=True)
    ] = None,
    target: Annotated[Path | None, typer.Option("--output", help="Where the decisions go; - or none prints.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (for one text).")] = False,
    attach: Annotated[
        list[Path] | None, typer.Option("--attach", metavar="FILE", help="A file that the work is about; repeatable.")
    ] = None,
) -> None:
    """Decide device, kind, priority, resources and duration from plain words. Nothing runs, nothing is recorded."""
    if (text is None) == (source is None):
        raise InvalidInput("give one text, or a file with --input", field="text")
    if attach and text is None:
        raise InvalidInput("--attach goes with one text", field="attachments")
    from rich.progress import track

    from conductor.app.minds.batch import Mind  # loads the encoder, which `--help` must not wait for

    here = contexts.of(context)
    with here.notes.status("Loading the models …"):
        mind = Mind(here.installation)
    for remark in mind.remarks:
        here.notes.print(remark, style="dim", markup=False)
    if text is not None:
        decision = contexts.as_json(mind.decide(text, attach or ()))
        if as_json:
            printing.print_json(decision)
        else:
            here.console.print(printing.card({"description": text, "task_id": "", "decision": decision}))
        return
    batch = mind.decide_many(contexts.read_text(str(source)).splitlines())
    printed = target is None or str(target) == "-"
    with (
        contexts.writing(str(target)),
        contextlib.nullcontext(sys.stdout) if target is None or printed else target.open("w", encoding="utf-8") as out,
    ):
        for row in track(batch, total=len(batch), description="Deciding", console=here.notes, transient=True):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    if not printed:
        here.notes.print(f"Wrote {len(batch):,} decisions to {target}.")
