"""Follow one task in the terminal: its output as it comes, and a bar of elapsed against expected time."""

import contextlib
import io
from typing import Any, NamedTuple

from rich.console import Console, RenderableType
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table

from conductor.domain.errors import Conflict, NotFound
from conductor.domain.units import format_duration
from conductor.faces.cli.client import Client


class Followed(NamedTuple):
    """A task as it stood last, and whether a person interrupted."""

    task: dict[str, Any]
    interrupted: bool


def follow(client: Client, task: dict[str, Any], console: Console | None, *, cancel: bool) -> Followed:
    """Show transitions and output until the task is settled, or until Ctrl-C.

    Args:
        client: the server that has the task.
        task: as the server last described it.
        console: where to show; None shows nothing.
        cancel: whether Ctrl-C cancels the task; else it goes on unseen.
    """
    path, interrupted = f"/v1/tasks/{task['task_id']}", False
    with _Screen(console, task) if console is not None else contextlib.nullcontext() as screen:
        try:
            for name, data in client.events(f"{path}/events"):
                if screen is not None:
                    screen.show(name, data)
            if screen is not None:
                screen.catch_up(client, path)
        except KeyboardInterrupt:
            interrupted = True
            if cancel:
                with contextlib.suppress(Conflict):  # it ended in the same moment
                    client.post(f"{path}/cancel", reason="interrupted at the terminal")
    return Followed(client.get(path), interrupted)


class _Screen:
    """What a person sees of a task under way."""

    def __init__(self, console: Console, task: dict[str, Any]) -> None:
        decision = task["decision"]
        self._console = console
        self._expected_s = float(decision["duration_s"]["value"]) if decision else 0.0
        self._rest: dict[str, str] = {}
        self._shown: set[str] = set()
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), _Elapsed(), console=console, transient=True
        )
        self._bar = self._progress.add_task("Waiting", start=False, total=None, expected_s=self._expected_s)

    def __enter__(self) -> "_Screen":
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()
        for stream, rest in self._rest.items():
            self._line(stream, rest)

    def show(self, name: str, data: dict[str, Any]) -> None:
        """One event of the stream."""
        if name == "output":
            self._output(data["stream"], data["text"])
            return
        detail = data["detail"]
        attempt = detail.get("attempt", 1)
        if data["state"] == "running":
            self._progress.reset(self._bar, description="Running" if attempt == 1 else f"Running, attempt {attempt}")
        elif "retry_in_s" in detail:
            self._progress.update(self._bar, description="Waiting to try again")
            self._console.print(f"{detail['message']}; again in {detail['retry_in_s']:.1f} s", style="yellow")

    def catch_up(self, client: Client, path: str) -> None:
        """Show what a task printed that had ended before anybody could watch it."""
        for stream in {"stdout", "stderr"} - self._shown:
            printed = io.BytesIO()
            with contextlib.suppress(NotFound):  # it printed nothing there
                client.copy(f"{path}/output/{stream}", printed)
            self._output(stream, printed.getvalue().decode(errors="replace"))

    def _output(self, stream: str, text: str) -> None:
        """Whole lines only: the bar redraws the line it stands on. A lone carriage return ends a line too."""
        self._shown.add(stream)
        lines = (self._rest.pop(stream, "") + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for each in lines[:-1]:
            self._line(stream, each)
        if lines[-1]:
            self._rest[stream] = lines[-1]

    def _line(self, stream: str, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True, style="dim" if stream == "stderr" else None)


class _Elapsed(ProgressColumn):
    """Elapsed against expected time; the bar stops short of its end when a task takes longer than expected."""

    def render(self, task: Task) -> RenderableType:
        """The column of one line."""
        elapsed_s, expected_s = task.elapsed or 0.0, float(task.fields["expected_s"])
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(total=expected_s, completed=min(elapsed_s, 0.99 * expected_s), width=24),
            f"{format_duration(elapsed_s)} of about {format_duration(expected_s)}",
        )
        return row
