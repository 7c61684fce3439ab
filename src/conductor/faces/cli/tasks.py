"""`conductor tasks`: list, show, watch, output, cancel, repeat."""

from typing import Annotated

import typer
from rich.text import Text

from conductor.domain.units import format_duration
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing
from conductor.faces.cli.run import follow

app = typer.Typer(name="tasks", help="Tasks: list, show, watch, cancel, repeat.", no_args_is_help=True)

_Task = Annotated[str, typer.Argument(help="A task's id, or `last`.", metavar="TASK")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def listing(
    context: typer.Context,
    state: Annotated[list[str] | None, typer.Option(help="Only tasks in this state; may be repeated.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    text: Annotated[str | None, typer.Option(help="Only descriptions that contain this.")] = None,
    before: Annotated[str | None, typer.Option(help="Only tasks older than this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    as_json: _Json = False,
) -> None:
    """List tasks, newest first."""
    here = contexts.of(context)
    with here.server() as client:
        found = client.get("/v1/tasks", state=state, user_id=user, text=text, before=before, limit=limit)
    if as_json:
        printing.print_json(found)
        return
    if not found["tasks"]:
        here.console.print('No tasks here. `conductor run "what to do" -- COMMAND` submits one.')
        return
    here.console.print(
        printing.table(
            None,
            ["Task", "State", "Submitted", "Device", "Took", "Description"],
            [
                [
                    task["task_id"],
                    printing.state(task["state"]),
                    printing.when(task["submitted_at_unix_s"]),
                    (task["decision"] or {}).get("device", ""),
                    format_duration(task["outcome"]["duration_s"]) if task["outcome"] else "",
                    Text(" ".join(task["description"].split()), overflow="ellipsis", no_wrap=True),
                ]
                for task in found["tasks"]
            ],
        )
    )
    if found["next_before"]:
        here.console.print(f"More: `conductor tasks list --before {found['next_before']}`", style="dim")


@app.command("show")
def show(context: typer.Context, task: _Task, as_json: _Json = False) -> None:
    """Show one task: its decision, its outcome, or why it waits."""
    here = contexts.of(context)
    with here.server() as client:
        found = client.get(f"/v1/tasks/{task}")
    if as_json:
        printing.print_json(found)
        return
    if found["decision"]:
        here.console.print(printing.card(found))
    if found["pending_because"]:
        here.console.print(f"Waiting: {found['pending_because']['sentence']}", style="yellow")
    if found["outcome"]:
        printing.outcome(found, here.console)


@app.command("watch")
def watch(context: typer.Context, task: _Task) -> None:
    """Follow a task until it is settled. Interrupting cancels it."""
    here = contexts.of(context)
    with here.server() as client:
        found = follow(client, client.get(f"/v1/tasks/{task}"), here.console)
    printing.outcome(found, here.console)


@app.command("events")
def events(context: typer.Context, task: _Task, as_json: _Json = False) -> None:
    """List every transition of a task: its whole story, also of one that died."""
    here = contexts.of(context)
    with here.server() as client:
        found = client.get(f"/v1/tasks/{task}/events", follow="false")
    if as_json:
        printing.print_json(found)
        return
    rows: list[list[str | Text]] = [
        [printing.when(event["at_unix_s"]), printing.state(event["state"]), _told(event["detail"])]
        for event in found["events"]
    ]
    here.console.print(printing.table(None, ["When", "State", "Detail"], rows))


@app.command("output")
def output(
    context: typer.Context,
    task: _Task,
    stderr: Annotated[bool, typer.Option("--stderr", help="What it printed to standard error.")] = False,
) -> None:
    """Print all that a task printed."""
    with contexts.of(context).server() as client:
        typer.echo(client.text(f"/v1/tasks/{task}/output/{'stderr' if stderr else 'stdout'}"), nl=False)


@app.command("cancel")
def cancel(context: typer.Context, task: _Task) -> None:
    """Cancel a task; returns when all of its processes have ended."""
    here = contexts.of(context)
    with here.server(embed=False) as client:
        found = client.post(f"/v1/tasks/{task}/cancel", reason="asked for at the terminal")
    here.console.print(f"{found['task_id']} is {found['state']}.")


@app.command("repeat")
def repeat(context: typer.Context, task: _Task) -> None:
    """Submit the same work again as a new task."""
    here = contexts.of(context)
    with here.server(embed=False) as client:
        found = client.post(f"/v1/tasks/{task}/repeat")
    here.console.print(f"Queued again as {found['task_id']}.")


def _told(detail: dict[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in detail.items())
