"""Start the programs that are compared, wait until they are ready, weigh them, and leave none behind.

Every program gets an output file of its own and is watched through it; at the end its whole process tree is ended,
including children that made themselves sessions of their own. Only processes started here are ever touched.
"""

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.harness import CannotRun

POLL_S: Final = 0.005
END_WITHIN_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Running:
    """A program that was started; `started_at_s` is monotonic seconds just before the exec."""

    process: psutil.Popen
    output: Path
    started_at_s: float

    def said(self) -> str:
        """Everything it printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, ready: Callable[[], bool], *, within_s: float) -> float:
        """Seconds from the exec until `ready` says so.

        Raises:
            CannotRun: it ended first, or took longer than `within_s`.
        """
        name = " ".join(self.process.args[:6])
        while not ready():
            if self.process.poll() is not None:
                raise CannotRun(f"`{name}` ended with {self.process.returncode}:\n{self.said()[-2000:]}")
            if time.monotonic() - self.started_at_s > within_s:
                raise CannotRun(f"`{name}` was not ready after {within_s:g} s:\n{self.said()[-2000:]}")
            time.sleep(POLL_S)
        return time.monotonic() - self.started_at_s

    def wait_for_words(self, words: str, *, within_s: float = 60.0) -> float:
        """Seconds from the exec until it printed `words`."""
        return self.wait_until(lambda: words in self.said(), within_s=within_s)

    def memory_bytes(self) -> int:
        """Proportional set size of its whole tree: shared pages are divided among those who share them."""
        total = 0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    end_within_s: float = END_WITHIN_S,
) -> Iterator[Running]:
    """Keep a program running for the length of the block; it has `end_within_s` to end by itself when asked to."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        output = Path(scratch, "output")
        with output.open("wb") as sink:
            started_at_s = time.monotonic()
            process = psutil.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=folder,
                start_new_session=True,
            )
        try:
            yield Running(process, output, started_at_s)
        finally:
            end_tree(process, within_s=end_within_s)


def end_tree(process: psutil.Popen, *, within_s: float) -> None:
    """Ask the program to end and give it time; then end whatever of its tree is still there."""
    tree = process.children(recursive=True) if process.is_running() else []
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    _, alive = psutil.wait_procs([process, *tree], timeout=within_s)
    for survivor in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            survivor.kill()
    psutil.wait_procs(alive, timeout=END_WITHIN_S)


def finish(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    within_s: float = 600.0,
) -> str:
    """Run a program to its end; returns what it printed to standard output.

    Raises:
        CannotRun: it failed or took too long.
    """
    name = " ".join(command[:6])
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotRun(f"`{name}` did not end within {within_s:g} s") from None
    except OSError as missing:
        raise CannotRun(f"`{name}` cannot be started: {missing}") from missing
    if done.returncode != 0:
        raise CannotRun(f"`{name}` ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def last_json(output: str) -> Any:
    """The JSON value on the last line of a program's output; programs of others print what they like above it."""
    return json.loads(output.strip().splitlines()[-1])


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
