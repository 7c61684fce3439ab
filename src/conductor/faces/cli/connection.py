"""Find the running server, or keep one for the duration of a command.

The embedded server is the same program in a process of its own: it ends when this command ends, however that happens,
because it watches the pipe that only this command holds open. It has a session of its own, so that Ctrl-C reaches this
command alone, which then cancels its task in good order; what it logs goes to `server.log` in the data folder.
"""

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from rich.console import Console

from conductor.app.installation import Installation
from conductor.domain.errors import SettingsError
from conductor.faces.cli.client import Client, Unreachable

_READY_WITHIN_S: Final = 60.0
_ENDED_WITHIN_S: Final = 60.0
_ASK_AGAIN_S: Final = 0.1


@contextlib.contextmanager
def connected(
    installation: Installation, *, console: Console, embed: bool = True, work: bool = False
) -> Iterator[Client]:
    """A client of the running server; without one, of an embedded server that lives as long as the block.

    Args:
        installation: whose server.
        console: where waiting is shown.
        embed: whether to start a server if none runs.
        work: whether the embedded one executes tasks; else it only looks, and starts nothing that was left waiting.

    Raises:
        Unreachable: no server runs and `embed` is False, or none came up in time.
        SettingsError: the embedded server cannot start with these settings.
    """
    url = running_url(installation, console)
    if url is not None:
        yield Client(url, installation.read_key())
    elif embed:
        with _embedded(installation, console, work=work) as url:
            yield Client(url, installation.read_key())
    else:
        raise Unreachable("no server is running; start one with `conductor serve`")


def running_url(installation: Installation, console: Console) -> str | None:
    """Where the running server listens; one that is starting or ending is waited for. None if there is none."""
    with contextlib.ExitStack() as waiting:
        deadline_s, pause, shown = time.monotonic() + _READY_WITHIN_S, threading.Event(), None
        while server := installation.running_server():
            if server.url is not None and _listens(server.url):
                return server.url
            if time.monotonic() > deadline_s:
                raise Unreachable(
                    f"the process {server.pid} uses {installation.data_dir} and serves nobody; stop it, or choose "
                    "another folder with --data-dir"
                )
            if not shown:
                doing = "starting" if server.url is None else "ending"
                shown = waiting.enter_context(console.status(f"Waiting for the server that is {doing} …"))
            pause.wait(_ASK_AGAIN_S)
    return None


def _listens(url: str) -> bool:
    address = urlsplit(url)
    try:
        with socket.create_connection((address.hostname, address.port), timeout=_ENDED_WITHIN_S):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _embedded(installation: Installation, console: Console, *, work: bool) -> Iterator[str]:
    command = [sys.executable, "-m", "conductor.faces.http", *installation.arguments(), "--embedded"]
    command += [] if work else ["--look-only"]
    with _log(installation.paths.server_log) as log:
        start = 0 if log is None else log.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            with console.status("Starting a server for this command …"):
                url = _first_line(process)
            if not url:
                raise _not_started(process, installation.paths.server_log, start)
            yield url
        finally:
            _end(process)


@contextlib.contextmanager
def _log(path: Path) -> Iterator[IO[bytes] | None]:
    """Where the server writes; None, our own standard error, if the folder cannot be written: the server will say why."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        yield None
        return
    with os.fdopen(descriptor, "ab") as log:
        yield log


def _first_line(process: "subprocess.Popen[bytes]") -> str:
    """The address, printed once the server listens; empty if it ended instead or takes too long."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline().decode().strip() if selector.select(_READY_WITHIN_S) else ""


def _not_started(process: "subprocess.Popen[bytes]", log: Path, start: int) -> Unreachable | SettingsError:
    """What the server said before it ended, as the error of this command."""
    _end(process)
    prefix, lines = "conductor: ", []
    if log.exists():
        lines = log.read_bytes()[start:].decode("utf-8", "replace").split("\n")
    said = next((line.removeprefix(prefix) for line in reversed(lines) if line.startswith(prefix)), "")
    message = said or f"the server for this command did not start; {log} may say why"
    return SettingsError(message) if process.returncode == 2 else Unreachable(message)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close its input, which tells it to end, and see to it that it does."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_ENDED_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
