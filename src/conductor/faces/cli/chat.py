"""`conductor ask` and `conductor chat`: questions and orders in plain words, to the server; intents of a file, locally."""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from conductor.domain.errors import ConductorError, Conflict, InvalidInput, NotFound
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing
from conductor.faces.cli.client import Client, Unreachable

_HELP: Final = (
    "Ask about status, nodes, models, speed; which device suits some work; why a task went where it went. Order work "
    "(put commands between backticks or behind two dashes) or cancel it: a plan is shown first, and y or n answers it.\n"
    "/help shows this, /quit or Ctrl-D ends."
)
_FAREWELLS: Final = frozenset({"/quit", "/exit", "quit", "exit", "bye", "goodbye", "q"})
_PROMPT: Final = "you> "
_ROWS: Final = 'Each line is a row such as {"id": "a1", "text": "Which nodes are there?"}'
#: So many faulty rows are named; the first few show what is wrong with a file.
_SHOWN: Final = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ask")(ask)
    app.command("chat")(chat)


def ask(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="The question in plain words; - reads standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole reply as JSON.")] = False,
) -> None:
    """Ask one question. Every number in the answer is measured; nothing is executed."""
    here = contexts.of(context)
    text = contexts.read_text("-") if question == "-" else question
    with here.server() as client:
        reply = client.post("/v1/talk", {"text": text})
    if as_json:
        printing.print_json(reply)
        return
    _print(here, reply)
    if reply["plan"] is not None:
        here.notes.print("Nothing was done: plans are confirmed in `conductor chat`.", style="dim")


def chat(
    context: typer.Context,
    intents: Annotated[
        bool, typer.Option("--intents", help="Only tell the intents of the rows of --input; needs no server.")
    ] = False,
    source: Annotated[
        Path | None, typer.Option("--input", help='JSON lines {"id", "text"}; - reads standard input.', allow_dash=True)
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--output", help='Where {"id", "intent"} go; - or none prints.', allow_dash=True)
    ] = None,
) -> None:
    """Talk with Conductor: questions, orders, explanations. Plans are shown first and executed after a yes."""
    here = contexts.of(context)
    if intents:
        if source is None:
            raise InvalidInput("--intents reads the rows of a file: add --input FILE, or --input -", field="input")
        _tell_intents(here, str(source), target)
        return
    if source is not None or target is not None:
        raise InvalidInput("--input and --output go with --intents", field="input")
    with here.server(work=True) as client:
        _converse(here, client)


def _converse(here: contexts.Context, client: Client) -> None:
    conversation: str | None = None
    plan: dict[str, Any] | None = None
    if sys.stdin.isatty():
        import readline  # noqa: F401  # its import gives `input` a history and keys for editing

        here.console.print("Conductor listens. /help tells what it understands, Ctrl-D ends.", style="dim")
    for line in _lines():
        if not line.strip():
            continue
        if line.strip(" .!").casefold() in _FAREWELLS:
            return
        if line.strip() == "/help":
            here.console.print(Text(_HELP))
            continue
        body = {"text": line, "conversation_id": conversation}
        if plan is not None and line.strip().casefold() in ("y", "yes"):
            body["confirm_token"] = plan["token"]
        try:
            reply = client.post("/v1/talk", body)
        except Unreachable:
            raise
        except (InvalidInput, NotFound, Conflict) as refused:
            here.notes.print(Text(refused.message, "yellow"))
            plan = None
            if isinstance(refused, NotFound):  # the server has forgotten it; the next line begins a new one
                conversation = None
            continue
        except ConductorError as failed:
            here.notes.print(Text(failed.message, "red"))
            continue
        conversation, plan = reply["conversation_id"], reply["plan"]
        _print(here, reply)
        if plan is not None:
            here.console.print("y confirms, n leaves it.", style="dim")


def _lines() -> Iterator[str]:
    """What is typed, or piped in, until its end."""
    if not sys.stdin.isatty():
        yield from contexts.read_text("-").splitlines()
        return
    while True:
        try:
            yield input(_PROMPT)
        except EOFError:
            sys.stdout.write("\n")
            return


def _print(here: contexts.Context, reply: dict[str, Any]) -> None:
    here.console.print(Text(reply["text"]), soft_wrap=not here.console.is_terminal)


def _tell_intents(here: contexts.Context, source: str, target: Path | None) -> None:
    """Write the intents of all rows that can be used, then name those that cannot; a bad row costs no other."""
    from rich.progress import track

    from conductor.app.intents import IntentBatch  # loads the encoder, which `--help` must not wait for

    batch = IntentBatch(_rows_of(source).split("\n"))  # `splitlines` would cut rows at marks that JSON lets stand
    if not len(batch) and not batch.faults:
        raise InvalidInput(f"{_named(source)} is empty: there is no row to read; {_ROWS}", field="input")
    if len(batch):
        printed = target is None or str(target) == "-"
        with (
            contexts.writing(str(target)),
            contextlib.nullcontext(sys.stdout)
            if target is None or printed
            else target.open("w", encoding="utf-8") as out,
        ):
            for row in track(batch, total=len(batch), description="Reading", console=here.notes, transient=True):
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
        if not printed:
            here.notes.print(f"Wrote {len(batch):,} intents to {target}.")
    if batch.faults:
        raise InvalidInput(_faults(batch.faults, len(batch)), field=batch.faults[0].field)


def _rows_of(source: str) -> str:
    try:
        return contexts.read_text(source)
    except NotFound as missing:
        raise NotFound(f"{missing.message}; check its name and the folder you are in. {_ROWS}", field="input") from None


def _named(source: str) -> str:
    return "standard input" if source == "-" else source


def _faults(faults: Sequence[ConductorError], written: int) -> str:
    """How many rows were left out, and what is wrong with the first of them."""
    rows = "1 row was" if len(faults) == 1 else f"{len(faults):,} rows were"
    others = f"the other {written:,} are written" if written else "so nothing was written"
    lines = [
        f"{rows} left out, {others}; correct these and run it again",
        *(fault.message for fault in faults[:_SHOWN]),
    ]
    more = len(faults) - _SHOWN
    return "\n  ".join([*lines, *([f"and {more:,} more"] if more > 0 else [])])
