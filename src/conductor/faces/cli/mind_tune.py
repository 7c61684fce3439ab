"""`conductor mind tune`, `versions`, `rollback`: adapt the decisions to this installation, and go back."""

import threading
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from conductor.domain.errors import ModelError
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing
from conductor.faces.cli.client import Client

_ASK_AGAIN_S: Final = 0.3


def register(app: typer.Typer) -> None:
    """Add the commands to `conductor mind`."""
    app.command("tune")(tune)
    app.command("versions")(versions)
    app.command("rollback")(rollback)


def tune(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Learn from corrections, devices asked for and outcomes; kept only if better on texts that were set aside."""
    here = contexts.of(context)
    with here.server() as client:
        client.post("/v1/mind/tune")
        found = _followed(client, here.notes)
    if found["state"] == "failed":
        raise ModelError(found["because"])
    if as_json:
        printing.print_json(found)
        return
    if found["judgement"]:
        judgement = found["judgement"]
        rows = [_row(name, judgement[f"{key}_before"], judgement[f"{key}_after"]) for key, name in _SETS]
        columns = ["Texts", "Count", "Right before", "Right after", "Log loss before", "Log loss after"]
        here.console.print(printing.table(columns, rows, numbers=columns[1:]))
    sources = ", ".join(f"{count} by {source}" for source, count in sorted(found["labels"].items()))
    if sources:
        here.console.print(f"Learned from: {sources}.")
    verdict = {"kept": f"Version {found['version']} is kept and in use", "not_kept": "Not kept"}
    here.console.print(f"{verdict.get(found['state'], 'Nothing to tune yet')}: {found['because']}.", soft_wrap=True)


_SETS: Final = (("held_out", "hold-out"), ("guard", "general work"))


def versions(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the tuned versions; 0 is the mind as shipped."""
    here = contexts.of(context)
    with here.server() as client:
        found = client.get("/v1/mind/versions")
    if as_json:
        printing.print_json(found)
        return
    columns = ["Version", "In use", "Made", "Labels", "Right before", "Right after", "Digest"]
    here.console.print(printing.table(columns, [_version(one) for one in found["versions"]], numbers=["Labels"]))
    if found["problem"]:
        here.notes.print(found["problem"], style="red", soft_wrap=True)


def rollback(
    context: typer.Context,
    version: Annotated[
        int | None, typer.Argument(min=0, help="Which one; by default the one that the present version replaced.")
    ] = None,
) -> None:
    """Go back to another version, or with 0 to the mind as shipped; the next decision uses it."""
    here = contexts.of(context)
    with here.server() as client:
        used = client.post("/v1/mind/rollback", {"version": version})["version"]
    here.console.print(f"Version {used} is in use." if used else "The mind as shipped is in use.")


def _followed(client: Client, notes: Console) -> Any:
    """The finished fit; how far it is, is shown meanwhile."""
    pause = threading.Event()
    with notes.status("Tuning …") as shown:
        while (found := client.get("/v1/mind/tune"))["state"] == "running":
            if found["total"]:
                shown.update(f"Tuning … {found['done']} of {found['total']} texts read")
            pause.wait(_ASK_AGAIN_S)
    return found


def _row(name: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    rights = [f"{figures['right']:.1%}" for figures in (before, after)]
    return [name, str(before["count"]), *rights, *(f"{figures['log_loss']:.3f}" for figures in (before, after))]


def _version(one: dict[str, Any]) -> list[str]:
    used, card = "yes" if one["active"] else "no", one["card"]
    if card is None:
        return ["0 (shipped)", used, "", "", "", "", ""]
    judgement = card["judgement"]
    return [
        f"{one['version']}{'' if one['usable'] else ' (for another encoder)'}",
        used,
        printing.when_short(card["created_at_unix_s"]),
        str(sum(card["labels"].values())),
        f"{judgement['held_out_before']['right']:.1%}",
        f"{judgement['held_out_after']['right']:.1%}",
        card["sha256"]["adapter.npz"][:12],
    ]
