"""`conductor status` and `conductor login`: is a server running, and how does a browser get in."""

from typing import Annotated

import typer

from conductor.domain.units import format_duration
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status")(status)
    app.command("login")(login)


def status(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Say whether a server runs here and how it is."""
    here = contexts.of(context)
    with here.server(embed=False) as client:
        health = client.get("/health") | {"url": client.url}
    if as_json:
        printing.print_json(health)
        return
    here.console.print(
        f"Conductor {health['version']} at {health['url']}, up {format_duration(health['uptime_s'])}: "
        f"{health['tasks_running']} running, {health['tasks_waiting']} waiting."
    )
    for problem in health["problems"]:
        here.console.print(problem, style="red", markup=False)


def login(context: typer.Context) -> None:
    """Print an address that logs a browser in once, within ten minutes."""
    here = contexts.of(context)
    with here.server(embed=False) as client:
        here.console.print(client.post("/v1/logins")["url"], soft_wrap=True)
