"""`conductor status` and `conductor login`: is a server running, and how does a browser get in."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

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
    """Say whether a server runs here and how it is, its language model included."""
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
    print_mind(health["mind"], here.console)
    for problem in health["problems"]:
        if not problem.startswith("language model: "):  # told above
            here.console.print(problem, style="red", markup=False)


def print_mind(mind: Mapping[str, Any], console: Console) -> None:
    """Which language model takes part in decisions; where it is not the chosen one, why not and what to do."""
    running = mind["running"] or "none, the encoder decides alone"
    console.print(f"Language model: {running} (mind.model is {mind['configured']}).", markup=False)
    if mind["why"]:
        style = "yellow" if mind["running"] or mind["state"] == "loading" else "red"
        console.print(f"Why not the chosen one: {mind['why']}", style=style, markup=False)
        console.print(f"What to do: {mind['remedy']}.", markup=False)


def login(context: typer.Context) -> None:
    """Print an address that logs a browser in once, within ten minutes."""
    here = contexts.of(context)
    with here.server(embed=False) as client:
        here.console.print(client.post("/v1/logins")["url"], soft_wrap=True)
