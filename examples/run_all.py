"""The main job, end to end, on the inputs of this folder: `make run`, or `make run ARGS=--once` to stop after the report.

Starts a server (or uses the one that runs), gives it five pieces of work in plain words, shows each decision and what
came of it, sets the predictions beside the measurements, verifies the ledger, and keeps serving.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from conductor.app.installation import Installation
from conductor.app.verification import verify_ledger
from conductor.domain.units import format_duration
from conductor.faces.cli import printing
from conductor.faces.cli.client import Client
from conductor.faces.cli.run import follow

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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--once", action="store_true", help="stop after the report")
    options = parser.parse_args()
    console = Console(highlight=False)
    installation = Installation.find(environ=os.environ)
    server = None if installation.running_server() else _start(installation)
    try:
        running = installation.running_server()
        if running is None or running.url is None:
            console.print("The server did not start; its message is above.", style="red")
            return 1
        client = Client(running.url, installation.read_key())
        sound = _work(client, installation, console)
        if server is None or options.once or not sound:
            return 0 if sound else 1
        console.print(f"\nServing at {running.url}; Ctrl-C ends it. Open once, within ten minutes:")
        console.print(client.post("/v1/logins")["url"], soft_wrap=True)
        server.wait()
    except KeyboardInterrupt:
        console.print("\nStopping …")
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
    return 0


def _work(client: Client, installation: Installation, console: Console) -> bool:
    """Run the five jobs, print the report; whether all succeeded and the ledger verifies."""
    out = Path(tempfile.mkdtemp(prefix="conductor-"))
    finished = []
    for number, job in enumerate(jobs(out), start=1):
        console.rule(f"{number} of 5", style="dim")
        task = client.post("/v1/tasks", job)
        console.print(printing.card(task))
        task = follow(client, task, None)
        printing.outcome(_shortened(task), console)
        finished.append(task)
    console.rule("Decided and measured", style="dim")
    console.print(_report(finished))
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
        expected = decision["duration_s"]
        rows.append(
            [
                task["description"][:44],
                decision["device"],
                decision["available_device"],
                f"{decision['confidence']:.0%}",
                f"{format_duration(expected['value'])} ({format_duration(expected['low'])} to "
                f"{format_duration(expected['high'])})",
                format_duration(outcome["duration_s"]),
                printing.state(task["state"]),
            ]
        )
    columns = ["Task", "Device", "Ran on", "Confidence", "Predicted", "Measured", "State"]
    return printing.table(None, columns, rows)


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


def _start(installation: Installation) -> subprocess.Popen[str]:
    """Start the server and wait until it listens; it says so on its first line."""
    command = shutil.which("conductor", path=str(Path(sys.executable).parent)) or "conductor"
    arguments = [command, *installation.arguments(), "serve", "--log-level", "warning"]
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    print(server.stdout.readline().strip() or "The server ended.", flush=True)
    return server


if __name__ == "__main__":
    sys.exit(main())
