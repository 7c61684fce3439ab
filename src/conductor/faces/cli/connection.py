"""Find the running server, or keep one for the duration of a command.

The embedded server is the same program in a process of its own: it ends when this command ends, however that happens,
because it watches the pipe that only this command holds open.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from rich.console import Console

from conductor.app.installation import Installation, RunningServer
from conductor.faces.cli.client import Client, Unreachable

_READY_WITHIN_S: Final = 30.0


@contextlib.contextmanager
def connected(installation: Installation, *, console: Console, embed: bool = True) -> Iterator[Client]:
    """A client of the running server; without one, of an embedded server that lives as long as the block.

    Raises:
        Unreachable: no server runs and `embed` is False, or the embedded one did not start.
    """
    running = installation.running_server()
    if running is not None:
        yield Client(_address(running), installation.read_key())
        return
    if not embed:
        raise Unreachable("no server is running; start one with `conductor serve`")
    with _embedded(installation, console) as client:
        yield client


@contextlib.contextmanager
def _embedded(installation: Installation, console: Console) -> Iterator[Client]:
    command = [sys.executable, "-m", "conductor.faces.http", *installation.arguments(), "--embedded"]
    with console.status("Starting an embedded server …"):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        url = process.stdout.readline().strip()  # printed once it listens; empty if it ended instead
    try:
        if not url:
            process.wait(_READY_WITHIN_S)
            raise Unreachable("the embedded server did not start; its message is above")
        yield Client(url, installation.read_key())
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _address(running: RunningServer) -> str:
    if running.url is None:
        raise Unreachable(f"the process {running.pid} uses this installation and serves nobody (yet); try again")
    return running.url
