"""`conductor settings`: show every value with its origin, change and forget."""

import json
from typing import Annotated, Any

import typer

from conductor.domain.errors import NotFound
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing, settings_md

app = typer.Typer(
    name="settings",
    help="Settings: show, set, unset. SETTINGS.md: validate, models, history, rollback.",
    no_args_is_help=True,
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("show")
def show(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="One setting; all by default.")] = None,
    as_json: _Json = False,
) -> None:
    """Show each value and where it came from; of one setting also what it means. Secrets are masked."""
    here = contexts.of(context)
    with here.server() as client:
        found = client.get("/v1/settings")["settings"]
    if name is not None:
        found = [row for row in found if row["name"] == name]
        if not found:
            from conductor.app.settings.keys import catalogue, nearest

            meant = nearest(name, catalogue())
            remedy = f"did you mean {meant}?" if meant else "`conductor settings show` lists them"
            raise NotFound(f"there is no setting {name!r}; {remedy}", field="name")
    if as_json:
        printing.print_json({"settings": found})
        return
    if name is not None:
        here.console.print(f"{_shown(found[0]['value'])}  ({_origin(found[0])})", soft_wrap=True, markup=False)
        here.console.print(found[0]["description"], style="dim", soft_wrap=True, markup=False)
        return
    rows = [[row["name"], _shown(row["value"]), _origin(row)] for row in found]
    here.console.print(printing.table(["Setting", "Value", "From"], rows))
    here.notes.print("What one means: `conductor settings show NAME`.", style="dim")


@app.command("set")
def set_one(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The setting.")],
    value: Annotated[str, typer.Argument(help="Its value; JSON is understood, other text is taken as it is.")],
) -> None:
    """Change a setting for good; it wins over environment, file and default."""
    _change(context, name, lambda client: client.put(f"/v1/settings/{name}", {"value": _value(value)}))


@app.command("unset")
def unset(context: typer.Context, name: Annotated[str, typer.Argument(help="The setting.")]) -> None:
    """Forget a changed setting, so that environment, file or default counts again."""
    _change(context, name, lambda client: client.delete(f"/v1/settings/{name}"))


def _change(context: typer.Context, name: str, call: Any) -> None:
    here = contexts.of(context)
    is_served = here.installation.running_server() is not None
    with here.server() as client:
        changes = call(client)["changes"]
    if not changes:
        here.console.print(f"{name} has that value already.", markup=False)
    for change in changes:
        shown = f"{change['name']}: {_shown(change['old'])} → {_shown(change['new'])}"
        here.console.print(f"{shown}; {_effect(change, is_served=is_served)}.", markup=False, soft_wrap=True)
    if any(change["name"].startswith("mind.model") for change in changes):
        here.notes.print("Whether the model works, `conductor status` says once a server runs with it.", style="dim")


def _effect(change: dict[str, Any], *, is_served: bool) -> str:
    """From when on a changed value counts."""
    if not is_served:
        return "takes effect with the next command or server"
    if change["needs_restart"]:
        return "takes effect when the server is started again, which goes on with the old value until then"
    return "in effect now"


def _origin(row: dict[str, Any]) -> str:
    return f"{row['source']}: {row['place']}" if row["place"] else row["source"]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


settings_md.register(app)
