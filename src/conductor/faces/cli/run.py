"""`conductor run`: submit work in plain words, watch it, see the result and its receipt."""

import contextlib
import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from conductor.domain.errors import InvalidInput
from conductor.domain.units import parse_bytes, parse_duration_s
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing
from conductor.faces.cli.client import Client, Unreachable
from conductor.faces.cli.exits import INTERRUPTED, TASK_FAILED


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", context_settings={"allow_interspersed_args": True})(run)


def run(
    context: typer.Context,
    description: Annotated[str, typer.Argument(help="The work in plain words.")],
    command: Annotated[
        list[str] | None, typer.Argument(help="After --, a command with its arguments.", metavar="[-- COMMAND...]")
    ] = None,
    python: Annotated[
        str | None, typer.Option("--python", metavar="MODULE:FUNCTION", help="Call this instead of a command.")
    ] = None,
    args: Annotated[str | None, typer.Option("--args", metavar="JSON", help="Keyword arguments for --python.")] = None,
    embed: Annotated[
        str | None, typer.Option("--embed", metavar="FILE", help="Embed the texts of a .csv, .jsonl or .txt file.")
    ] = None,
    spec: Annotated[
        str | None, typer.Option("--spec", metavar="JSON", help="A whole workload: {kind, spec, limits}.")
    ] = None,
    priority: Annotated[int | None, typer.Option(min=1, max=5, help="1 critical … 5 low.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Memory limit, such as 512M.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="Wall time limit, such as 90s or 10min.")] = None,
    network: Annotated[bool, typer.Option("--network", help="Let the task use the network.")] = False,
    retries: Annotated[int | None, typer.Option(min=0, max=100, help="Attempts after the first.")] = None,
    directory: Annotated[str | None, typer.Option(help="Where it runs; here by default.")] = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option("--attach", metavar="FILE", help="A file it is about, found in attachments/ below; repeatable."),
    ] = None,
    key: Annotated[str | None, typer.Option("--idempotency-key", help="Submit at most once under this key.")] = None,
    user: Annotated[str, typer.Option(help="On whose account it runs.")] = "local",
    detach: Annotated[bool, typer.Option("--detach", help="Submit to the running server and return.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the finished task as JSON.")] = False,
) -> None:
    """Decide where work fits best, run it there, and show what came of it.

    Without a command, a callable or a file only the decision is made. Uses the running server, or an embedded one for
    as long as the command takes. With --attach it runs in a folder of its own unless --directory is given; the variable
    CONDUCTOR_ATTACHMENTS names the folder of the attached files.
    """
    here = contexts.of(context)
    workload = _workload(command, python, args, embed, spec, directory)
    if command and attach and directory is None and workload is not None:
        del workload["spec"]["directory"]  # the attached files travel with the task, and so does where it runs
    limits = _limits(memory, timeout, network)
    if workload is not None:
        workload["limits"] = workload.get("limits", {}) | limits
    elif limits:
        raise InvalidInput("limits were given, but nothing to execute; add `-- COMMAND`", field="limits")
    submission: dict[str, Any] = {
        "description": description,
        "workload": workload,
        "priority": priority,
        "user_id": user,
        "idempotency_key": key,
        "max_retries": retries,
    }
    with here.server(embed=not detach, work=True) as client:
        submission["attachments"] = [_uploaded(client, path, user) for path in attach or ()]
        task = client.post("/v1/tasks", submission)
        if not as_json:
            here.console.print(printing.card(task))
        if workload is None or detach:
            _show_submitted(task, here, as_json=as_json)
            return
        with contextlib.suppress(Unreachable):
            _see_through(client, task, here, as_json=as_json)
            return
    # The server was somebody else's embedded one, or was stopped. The task is durable: another server goes on with it.
    here.notes.print("The server ended before the task did; another one goes on with it.", style="yellow")
    with here.server(work=True) as client:
        _see_through(client, task, here, as_json=as_json)


def _uploaded(client: Client, path: Path, user: str) -> str:
    """Send a file; returns its id."""
    try:
        with path.open("rb") as file:
            found = client.upload("/v1/attachments", file, name=path.name, user_id=user)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as failure:
        raise InvalidInput(f"{path} cannot be attached: {failure.strerror}", field="attachments") from failure
    return str(found["attachment_id"])


def _show_submitted(task: dict[str, Any], here: contexts.Context, *, as_json: bool) -> None:
    if as_json:
        printing.print_json(task)
    elif task["workload"] is None:
        here.console.print("Decided only: nothing was given to execute. Add `-- COMMAND` to run one.", style="dim")
    else:
        here.console.print(f"Queued; `conductor tasks watch {task['task_id']}` follows it.")


def _see_through(client: Client, task: dict[str, Any], here: contexts.Context, *, as_json: bool) -> None:
    """Follow the task to its end and show what came of it; its failure is the command's."""
    from conductor.faces.cli.following import follow  # rich's progress bars, which `--help` must not wait for

    task, interrupted = follow(client, task, None if as_json else here.console, cancel=True)
    if as_json:
        printing.print_json(task)
    else:
        printing.outcome(task, here.console)
        _show_receipt(client, task, here.console)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if task["state"] != "succeeded":
        raise typer.Exit(TASK_FAILED)


def _show_receipt(client: Client, task: dict[str, Any], console: Console) -> None:
    receipt = client.get(f"/v1/tasks/{task['task_id']}/receipt")
    size = receipt["block"]["size"]
    console.print(
        f"Recorded as entry {receipt['index']:,} of the ledger, sealed under a root of {size:,} entries. A receipt that "
        f"anyone can verify: `conductor ledger prove {task['task_id']}`",
        style="dim",
    )


def _workload(
    command: list[str] | None,
    python: str | None,
    args: str | None,
    embed: str | None,
    spec: str | None,
    directory: str | None,
) -> dict[str, Any] | None:
    given = [
        name
        for name, value in (("a command", command), ("--python", python), ("--embed", embed), ("--spec", spec))
        if value
    ]
    if len(given) > 1:
        raise InvalidInput(f"{given[0]} and {given[1]} were both given; a task executes one thing", field="workload")
    if args is not None and python is None:
        raise InvalidInput("--args goes with --python", field="args")
    where = str(Path(directory or os.getcwd()).absolute())  # noqa: PTH109
    if command:
        return {"kind": "command", "spec": {"command": command, "directory": where}}
    if python:
        return {
            "kind": "python",
            "spec": {"callable": python, "args": _json(args or "{}", "args"), "directory": where},
        }
    if embed:
        return {"kind": "embed", "spec": {"file": str(Path(where, embed))}}
    return None if spec is None else _json(spec, "spec")


def _json(text: str, field: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"--{field} is not JSON: {error}", field=field) from error
    if not isinstance(value, dict):
        raise InvalidInput(f'--{field} is not a JSON object; write it as {{"name": value}}', field=field)
    return value


def _limits(memory: str | None, timeout: str | None, network: bool) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if memory is not None:
        limits["memory_bytes"] = parse_bytes(memory, field="memory")
    if timeout is not None:
        limits["wall_time_s"] = parse_duration_s(timeout, field="timeout")
    if network:
        limits["network"] = True
    return limits
