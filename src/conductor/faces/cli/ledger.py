"""`conductor ledger` and `conductor verify-receipt`: look at the record, prove entries, verify every byte.

Verification needs no server and no database: it reads the ledger file or the receipt, and nothing else.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from conductor.domain.units import format_duration
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing
from conductor.faces.cli.exits import BROKEN_LEDGER

app = typer.Typer(name="ledger", help="The signed record: show, verify, prove.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("verify")
def verify(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="A ledger file; this installation's by default.")] = None,
    public_key: Annotated[
        str | None, typer.Option("--public-key", help="The key that must have signed (64 hex digits).")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Verify every byte: form, order, Merkle roots, links and signatures; names the place of a fault."""
    from rich.progress import BarColumn, Progress, TextColumn

    from conductor.app.verification import verify_ledger

    here = contexts.of(context)
    path = file or here.installation.paths.ledger
    with Progress(TextColumn("Verifying"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), console=here.notes,
                  transient=True) as progress:  # fmt: skip
        bar = progress.add_task("", total=1.0)
        found = verify_ledger(path, public_key=public_key, on_share=lambda share: progress.update(bar, completed=share))
    if as_json:
        printing.print_json(found.as_json())
    elif not found.ok:
        for fault in found.faults:
            here.console.print(Text.assemble(("Broken", "red"), f": {fault}"), soft_wrap=True)
        here.console.print(f"{found.entries:,} entries before that are proven.")
    elif found.head is None:
        here.console.print("The ledger is empty, and that is in order.")
    else:
        here.console.print(
            f"[green]Verified[/green]: {found.entries:,} entries in {found.blocks:,} blocks, {found.size_bytes:,} bytes; "
            f"root {found.head.header.root}, signed by {found.head.header.public_key}.",
            soft_wrap=True,
        )
    if not found.ok:
        raise typer.Exit(BROKEN_LEDGER)


@app.command("show")
def show(
    context: typer.Context,
    index: Annotated[int | None, typer.Argument(help="One entry; the latest ones by default.", min=0)] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    as_json: _Json = False,
) -> None:
    """Show the head and the latest entries, or one entry."""
    here = contexts.of(context)
    with here.server() as client:
        head = client.get("/v1/ledger")
        entries = client.get("/v1/ledger/entries", start=index, limit=1 if index is not None else limit)["entries"]
    if as_json:
        printing.print_json(head | {"entries": entries})
        return
    if not entries:
        here.console.print("The ledger is empty; the first decision opens it.")
        return
    if index is not None:
        here.console.print_json(data=entries[0])
        return
    here.console.print(f"{head['size']:,} entries under the root\n{head['root']}\n", style="dim", soft_wrap=True)
    rows = [
        [
            str(entry["index"]),
            printing.when_short(entry["at_unix_ms"] / 1000),
            entry["kind"],
            entry["subject"],
            printing.line(_gist(entry)),
        ]
        for entry in reversed(entries)
    ]
    here.console.print(printing.table(["Entry", "When", "Kind", "About", "Says"], rows, numbers=["Entry"]))


@app.command("prove")
def prove(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="A task's id, `last`, or the number of an entry.", metavar="TASK|ENTRY")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; - prints.")] = None,
    kind: Annotated[str, typer.Option(help="Which entry of the task: outcome or decision.")] = "outcome",
    since: Annotated[
        int | None, typer.Option("--since", min=0, help="Instead: prove that the ledger only grew since this size.")
    ] = None,
) -> None:
    """Write a receipt that verifies offline: the entry, its inclusion proof, the signed head."""
    here = contexts.of(context)
    with here.server() as client:
        if since is not None:
            proof = client.get("/v1/ledger/proofs/consistency", old_size=since)
        elif what.isdecimal():
            proof = client.get("/v1/ledger/proofs/inclusion", index=int(what))
        else:
            proof = client.get(f"/v1/tasks/{what}/receipt", kind=kind)
    path = output or Path(f"receipt-{what}.json")
    if str(path) == "-":
        printing.print_json(proof)
        return
    with contexts.writing(str(path)):
        path.write_text(json.dumps(proof, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    here.console.print(f"Wrote {path}; `conductor verify-receipt {path}` verifies it anywhere.")


def register_verification(app: typer.Typer) -> None:
    """Add `verify-receipt`, which stands on its own because it needs no installation."""
    app.command("verify-receipt")(verify_receipt)


def verify_receipt(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A receipt that `conductor ledger prove` wrote.")],
    public_key: Annotated[
        str | None, typer.Option("--public-key", help="The key that must have signed (64 hex digits).")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Verify a receipt offline: no server, no database, no ledger file."""
    from conductor.app.verification import verify_receipt_file

    found = verify_receipt_file(file, public_key=public_key)
    if as_json:
        printing.print_json(found.as_json())
        return
    console, entry, header = contexts.of(context).console, found.entry, found.signed.header
    console.print(
        f"[green]Verified[/green]: entry {entry.index:,}, the {entry.kind} of {entry.subject}, stands in the ledger of "
        f"{header.size:,} entries that {header.public_key} signed at {printing.when(header.at_unix_ms / 1000)}.",
        soft_wrap=True,
    )
    if public_key is None:
        console.print("Whose key that is, the receipt cannot say; compare it, or pass --public-key.", style="dim")


def _gist(entry: dict[str, Any]) -> str:
    """The few facts of an entry that a listing has room for."""
    body = entry["body"] | entry["body"].get("choice", {})
    said = [str(body[name]) for name in ("state", "device") if name in body]
    if "confidence" in body:
        said.append(f"{float(_first(body['confidence'])):.0%} sure")
    if "duration_s" in body:
        said.append(format_duration(float(_first(body["duration_s"]))))
    if "sha256" in body:
        said.append(f"sha256 {str(body['sha256'])[:16]}…")
    return ", ".join(said)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value
