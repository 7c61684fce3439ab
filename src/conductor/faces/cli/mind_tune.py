"""`conductor mind tune`, `versions`, `rollback`: adapt the decisions to this installation, and go back."""

import threading
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

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
    here.console.print(f"What now: {found['next_step']}.", soft_wrap=True)


_LEGEND: Final = """\
Hold-out: how many texts judged the version: set aside before, it never saw them
Right:    on the right device, with the version before → with this one
Log loss: mean surprise at the right device in nats; 0 is best, a die's is 1.79
Each version has a hold-out of its own: compare along a row. More: --json"""
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
    here.console.print(listed(found["versions"]))
    if len(found["versions"]) > 1:
        here.console.print(_LEGEND, style="dim", markup=False)
    else:
        here.console.print("No version was tuned yet; `conductor mind tune` makes one.", style="dim", soft_wrap=True)
    if found["problem"]:
        here.notes.print(found["problem"], style="red", soft_wrap=True)


def listed(versions: Sequence[Mapping[str, Any]]) -> Table:
    """Versions as a table of at most 80 columns."""
    columns = ["Version", "In use", "Made", "Hold-out", "Right", "Log loss"]
    return printing.table(columns, map(_version, versions), numbers=["Hold-out"])


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


def _version(one: Mapping[str, Any]) -> list[str]:
    used, reached = "yes" if one["active"] else "no", one["hold_out"]
    if one["version"] == 0:
        return ["0 (shipped)", used, "–", "–", "–", "–"]
    name = f"{one['version']}{'' if one['usable'] else ' (for another encoder)'}"
    made = printing.when(one["made_at_unix_s"])[:16] if one["made_at_unix_s"] else "–"
    if reached is None:
        return [name, used, made, "–", "–", "–"]
    right, loss = reached["right"], reached["log_loss"]
    return [
        name,
        used,
        made,
        str(reached["count"]),
        f"{right['before']:.0%} → {right['after']:.0%}",
        f"{loss['before']:.3f} → {loss['after']:.3f}",
    ]
