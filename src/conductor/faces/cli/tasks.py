"""`conductor tasks`: list, show, watch, events, output, cancel, repeat, correct."""

import contextlib
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import ConductorError, InvalidInput, NotFound
from conductor.domain.task import TaskState
from conductor.domain.units import format_duration
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing
from conductor.faces.cli.client import Client
from conductor.faces.cli.exits import INTERRUPTED

app = typer.Typer(name="tasks", help="Tasks: list, show, watch, cancel, repeat, correct.", no_args_is_help=True)


def recent_tasks(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids for shell completion, with descriptions: `last`, and the recent tasks if a server runs."""
    found = [("last", "the task submitted last")]
    options = context.find_root().params  # the callback has not run: completion only parses
    here = contexts.Context(data_dir=options.get("data_dir"), config=options.get("config"))
    with contextlib.suppress(ConductorError):  # nobody reads errors in the middle of a completion
        server = here.installation.running_server()
        if server is not None and server.url is not None:
            client = Client(server.url, here.installation.read_key(), timeout_s=1.0)
            tasks = client.get("/v1/tasks", limit=20)["tasks"]
            found += [(task["task_id"], " ".join(task["description"].split())[:60]) for task in tasks]
    return [row for row in found if row[0].startswith(incomplete)]


Task = Annotated[str, typer.Argument(help="A task's id, or `last`.", metavar="TASK", autocompletion=recent_tasks)]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def listing(
    context: typer.Context,
    state: Annotated[list[TaskState] | None, typer.Option(help="Only tasks in this state; may be repeated.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    text: Annotated[str | None, typer.Option(help="Only descriptions that contain this.")] = None,
    before: Annotated[str | None, typer.Option(metavar="TASK", help="Only tasks older than this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    as_json: _Json = False,
) -> None:
    """List tasks, newest first."""
    here = contexts.of(context)
    states = [one.value for one in state or ()] or None
    with here.server() as client:
        found = client.get("/v1/tasks", state=states, user_id=user, text=text, before=before, limit=limit)
    if as_json:
        printing.print_json(found)
        return
    if not found["tasks"]:
        narrowed = state or user or text or before
        here.console.print(
            "No task is like that; `conductor tasks list` shows all." if narrowed else
            'No tasks yet. `conductor run "what to do" -- COMMAND` submits one.',
            soft_wrap=True,
        )  # fmt: skip
        return
    rows = [
        [
            task["task_id"],
            printing.state(task["state"]),
            printing.when_short(task["submitted_at_unix_s"]),
            (task["decision"] or {}).get("device", ""),
            format_duration(task["outcome"]["duration_s"]) if task["outcome"] else "",
            printing.line(task["description"]),
        ]
        for task in found["tasks"]
    ]
    columns = ["Task", "State", "Submitted", "Device", "Took", "Description"]
    here.console.print(printing.table(columns, rows, numbers=["Took"]))
    if found["next_before"]:
        here.notes.print(f"More: `conductor tasks list --before {found['next_before']}`", style="dim", soft_wrap=True)


@app.command("show")
def show(context: typer.Context, task: Task, as_json: _Json = False) -> None:
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
    elif not found["pending_because"]:
        here.console.print(printing.state(found["state"]))


@app.command("watch")
def watch(context: typer.Context, task: Task) -> None:
    """Follow a task until it is settled. Ctrl-C ends the watching, not the task."""
    from conductor.faces.cli.following import follow  # rich's progress bars, which `--help` must not wait for

    here = contexts.of(context)
    with here.server(embed=False) as client:
        found, interrupted = follow(client, client.get(f"/v1/tasks/{task}"), here.console, cancel=False)
    if interrupted:
        here.notes.print(f"{found['task_id']} is {found['state']} and goes on without a watcher.", soft_wrap=True)
        raise typer.Exit(INTERRUPTED)
    printing.outcome(found, here.console)


@app.command("events")
def events(context: typer.Context, task: Task, as_json: _Json = False) -> None:
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
    here.console.print(printing.table(["When", "State", "Detail"], rows))


@app.command("output")
def output(
    context: typer.Context,
    task: Task,
    stderr: Annotated[bool, typer.Option("--stderr", help="What it printed to standard error.")] = False,
) -> None:
    """Print all that a task printed, byte for byte."""
    with contexts.of(context).server() as client:
        found = client.get(f"/v1/tasks/{task}")
        path = f"/v1/tasks/{found['task_id']}/output/{'stderr' if stderr else 'stdout'}"
        with contextlib.suppress(NotFound):  # it printed nothing, which is printed as nothing
            client.copy(path, sys.stdout.buffer)
    sys.stdout.buffer.flush()


@app.command("cancel")
def cancel(context: typer.Context, task: Task, as_json: _Json = False) -> None:
    """Cancel a task; returns when all of its processes have ended."""
    here = contexts.of(context)
    with here.server() as client:
        found = client.post(f"/v1/tasks/{task}/cancel", reason="asked for at the terminal")
    if as_json:
        printing.print_json(found)
    else:
        here.console.print(f"{found['task_id']} is {found['state']}.")


@app.command("repeat")
def repeat(context: typer.Context, task: Task, as_json: _Json = False) -> None:
    """Submit the same work again as a new task to the running server."""
    here = contexts.of(context)
    with here.server(embed=False) as client:
        found = client.post(f"/v1/tasks/{task}/repeat")
    if as_json:
        printing.print_json(found)
    else:
        here.console.print(f"Queued again; `conductor tasks watch {found['task_id']}` follows it.", soft_wrap=True)


@app.command("correct")
def correct(
    context: typer.Context,
    task: Task,
    device: Annotated[
        DeviceType | None, typer.Option("--device", case_sensitive=False, help="The device type that was right.")
    ] = None,
    kind: Annotated[TaskKind | None, typer.Option("--kind", help="The kind of work it was.")] = None,
    priority: Annotated[int | None, typer.Option(min=1, max=5, help="The right priority; 1 is critical.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back what was said before.")] = False,
) -> None:
    """Say what would have been right for a task; any of device, kind and priority is enough, the others stay as they were.

    A priority counts at once for the same and very similar work; device and kind are learned by `conductor mind tune`.
    """
    said = {"device": device, "task_kind": kind, "priority": priority}
    corrects = any(value is not None for value in said.values())
    if withdraw == corrects:
        raise InvalidInput(
            "say what would have been right with --device, --kind or --priority (one is enough), "
            "or take a correction back with --withdraw"
        )
    here = contexts.of(context)
    with here.server() as client:
        found = client.get(f"/v1/tasks/{task}")["task_id"]
        path = f"/v1/tasks/{found}/correction"
        counts = client.put(path, said) if corrects else client.delete(path)
    here.console.print(
        f"{found}: {_corrected(counts) if corrects else 'the correction is taken back'}.", soft_wrap=True
    )
    if corrects and (counts["device"] or counts["task_kind"]):
        here.console.print("`conductor mind tune` learns from all corrections.", style="dim", soft_wrap=True)


def _corrected(counts: Mapping[str, Any]) -> str:
    """All that counts as right now, what was said before included."""
    parts = [
        counts["device"] or "",
        f"kind {counts['task_kind'].replace('_', ' ')}" if counts["task_kind"] else "",
        f"priority {counts['priority']}" if counts["priority"] else "",
    ]
    return f"{', '.join(filter(None, parts))} would have been right"


def _told(detail: dict[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in detail.items())
