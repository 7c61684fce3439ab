"""The main job, end to end, on the inputs of this folder: `make run`, or `make run ARGS=--once` to stop after the report.

Starts a server (or uses the one that runs), gives it five pieces of work in plain words, shows each decision and what
came of it, sets the predictions beside the measurements, verifies the ledger, and keeps serving. Exit codes: 0 all five
succeeded and the ledger verifies, 1 something did not, 3 no server.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from conductor.app.installation import Installation
from conductor.app.verification import verify_ledger
from conductor.domain.errors import ConductorError
from conductor.domain.units import format_duration
from conductor.faces.cli import printing
from conductor.faces.cli.client import Client, Unreachable
from conductor.faces.cli.connection import running_url
from conductor.faces.cli.exits import INTERRUPTED, code_of
from conductor.faces.cli.following import follow

HERE = Path(__file__).parent
ROOT = HERE.parent


def jobs(out: Path) -> list[dict[str, Any]]:
    """The five pieces of work; results go to `out`."""
    return [
        _command(
            "Encode this clip to H.264",
            ["ffmpeg", "-hide_banner", "-loglevel", "warning", "-y", "-i", "examples/clip.mkv",
             "-c:v", "libx264", "-preset", "medium", "-c:a", "aac", str(out / "clip.mp4")],
        ),
        _python(
            "Apply a sharpening filter to these photos",
            "examples.filters:sharpen",
            {"folder": "examples/photos", "output": str(out / "sharpened")},
        ),
        _command(
            "Resample this recording from 44.1 kHz to 16 kHz mono",
            ["ffmpeg", "-hide_banner", "-loglevel", "warning", "-y", "-i", "examples/chord-44k1.wav",
             "-ar", "16000", "-ac", "1", str(out / "chord-16k.wav")],
        ),
        {
            "description": "Score these customer reviews as positive or negative with the embedding model",
            "workload": {
                "kind": "embed",
                "spec": {
                    "file": str(HERE / "reviews.csv"),
                    "column": "text",
                    "compare": {
                        "positive": ["Excellent, I love it.", "Works very well, great value, very happy."],
                        "negative": ["Terrible, it broke.", "Does not work, disappointed, want my money back."],
                    },
                },
            },
        },
        _python(
            "Simulate the orbits of 60 planets around a star for 4000 steps",
            "examples.simulation:orbits",
            {"bodies": 60, "steps": 4000},
        ),
    ]  # fmt: skip


def main() -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make run ARGS=…", description=__doc__.partition("\n")[0])
    parser.add_argument("--once", action="store_true", help="stop after the report")
    options = parser.parse_args()
    console = Console(highlight=False, emoji=False)
    for ending in (signal.SIGTERM, signal.SIGHUP):  # end like Ctrl-C: the server must not outlive us
        signal.signal(ending, signal.default_int_handler)
    try:
        return _main(console, once=options.once)
    except ConductorError as error:
        console.print(f"run: {error.message}", style="red", markup=False, soft_wrap=True)
        return code_of(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _main(console: Console, *, once: bool) -> int:
    installation = Installation.find(environ=os.environ)
    with _server(installation, console) as (client, ours):
        sound = _work(client, installation, console)
        if ours is not None and sound and not once:
            login = client.post("/v1/logins")["url"]
            with contextlib.suppress(KeyboardInterrupt):
                console.print(
                    f"\nServing at {client.url}; Ctrl-C ends it. Opens in a browser once, within ten minutes:"
                )
                console.print(login, soft_wrap=True)
                ours.wait()
    return 0 if sound else 1


@contextlib.contextmanager
def _server(installation: Installation, console: Console) -> Iterator[tuple[Client, "subprocess.Popen[str] | None"]]:
    """A client of the running server; without one, of a server of our own, which ends with the block."""
    url = running_url(installation, console)
    if url is not None:
        console.print(f"Using the server at {url}.")
        yield Client(url, installation.read_key()), None
        return
    with console.status("Starting the server …"):
        server = _start(installation)
        url = running_url(installation, console)
    try:
        if url is None:
            raise Unreachable("the server did not start; its message is above")
        yield Client(url, installation.read_key()), server
    finally:
        if server.poll() is None:
            console.print("Stopping the server …", style="dim")
            server.terminate()
        server.wait()


def _work(client: Client, installation: Installation, console: Console) -> bool:
    """Run the five jobs, print the report; whether all succeeded and the ledger verifies."""
    out = Path(tempfile.mkdtemp(prefix="conductor-"))
    finished = []
    wanted = jobs(out)
    for number, job in enumerate(wanted, start=1):
        console.print(f"\n{number} of {len(wanted)}", style="dim")
        task = client.post("/v1/tasks", job)
        console.print(printing.card(task))
        task, interrupted = follow(client, task, console, cancel=True)
        if interrupted:
            raise KeyboardInterrupt
        printing.outcome(_shortened(task), console)
        finished.append(task)
    console.print("\nDecided and measured", style="bold")
    console.print(_report(finished))
    console.print()
    for task in finished:  # a receipt exists once the entry is sealed, so the file below is complete
        client.get(f"/v1/tasks/{task['task_id']}/receipt")
    found = verify_ledger(installation.paths.ledger)
    if found.head is not None:
        verdict = "[green]verified[/green]" if found.ok else "[red]BROKEN[/red]"
        console.print(f"Ledger {verdict}: {found.entries:,} entries in {found.blocks:,} blocks, "
                      f"root {found.head.header.root}", soft_wrap=True)  # fmt: skip
    console.print(f"Results are in {out}.")
    return found.ok and all(task["state"] == "succeeded" for task in finished)


def _report(tasks: list[dict[str, Any]]) -> Any:
    rows = []
    for task in tasks:
        decision, outcome = task["decision"], task["outcome"]
        rows.append(
            [
                printing.line(task["description"]),
                decision["device"],
                decision["available_device"],
                f"{decision['confidence']:.0%}",
                format_duration(decision["duration_s"]["value"]),
                format_duration(outcome["duration_s"]),
                printing.state(task["state"]),
            ]
        )
    columns = ["Work", "Device", "On", "Sure", "Predicted", "Measured", "State"]
    return printing.table(columns, rows, numbers=["Sure", "Predicted", "Measured"])


def _shortened(task: dict[str, Any]) -> dict[str, Any]:
    """The result without its longest lists, so that the report stays readable."""
    result = (task["outcome"] or {}).get("result")
    if not isinstance(result, dict):
        return task
    kept = {name: value for name, value in result.items() if not (isinstance(value, list) and len(value) > 6)}
    return task | {"outcome": task["outcome"] | {"result": kept}}


def _command(description: str, command: list[str]) -> dict[str, Any]:
    return {
        "description": description,
        "workload": {"kind": "command", "spec": {"command": command, "directory": str(ROOT)}},
    }


def _python(description: str, callable_: str, args: dict[str, Any]) -> dict[str, Any]:
    spec = {"callable": callable_, "args": args, "directory": str(ROOT)}
    return {"description": description, "workload": {"kind": "python", "spec": spec}}


def _start(installation: Installation) -> "subprocess.Popen[str]":
    """Start the server and wait until it listens; it says so on its first line.

    In a session of its own: Ctrl-C reaches this program alone, which first settles its task and then stops the server.
    """
    command = [sys.executable, "-m", "conductor.faces.http", *installation.arguments(), "--log-level", "warning"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert server.stdout is not None
    server.stdout.readline()
    return server


if __name__ == "__main__":
    sys.exit(main())
