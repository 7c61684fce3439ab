"""What a service manager hears from a real server, and when the watchdog stops hearing of it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import delete

from conductor.adapters.sql import schema
from conductor.adapters.sql.committer import GroupCommitter, Statement
from conductor.adapters.sql.database import Database

PATIENCE_S = 60.0


@dataclass
class Heard:
    """The messages that arrived, in order."""

    receiver: socket.socket
    messages: list[str] = field(default_factory=list)

    def until(self, beginning: str) -> str:
        """Read on until a message begins so; signs of life go on for ever, so not for ever."""
        for _ in range(200):
            message = self.receiver.recv(4096).decode()
            self.messages.append(message)
            if message.startswith(beginning):
                return message
        raise AssertionError(f"nothing began with {beginning}: {set(self.messages)}")


@contextmanager
def listening(address: Path) -> Iterator[Heard]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(address))
        receiver.settimeout(PATIENCE_S)
        yield Heard(receiver)


def test_a_server_says_ready_alive_reloading_and_stopping(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONDUCTOR_")}
    page = tmp_path / "conductor.yaml"
    page.write_text("mind: {model: none}\n")
    with listening(tmp_path / "notify") as heard:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "conductor.faces.http",
                "--data-dir",
                tmp_path / "data",
                "--config",
                page,
                "--port",
                "0",
            ],
            env={**kept, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            ready = heard.until("READY=1")
            heard.until("WATCHDOG=1")
            server.send_signal(signal.SIGHUP)
            reloading = heard.until("RELOADING=1")
            again = heard.until("READY=1")
            server.terminate()
            stopping = heard.until("STOPPING=1")
            assert server.wait(PATIENCE_S) == 0
        finally:
            server.kill()
            server.wait()

    assert "STATUS=Serving http://127.0.0.1:" in ready
    assert again == ready
    assert reloading.splitlines()[1].removeprefix("MONOTONIC_USEC=").isdecimal()
    assert stopping == "STOPPING=1\nSTATUS=Stopping: running tasks may end"
    assert heard.messages[-1] == stopping


@pytest.mark.anyio
async def test_a_commit_that_hangs_is_no_life_and_one_that_is_refused_is(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite:///{tmp_path / 'conductor.db'}")
    committer = GroupCommitter(database, patience_s=1)
    assert await committer.goes_on(within_s=0.01), "nothing waits"
    committer.add(Statement(database, delete(schema.settings)), ())

    assert not await committer.goes_on(within_s=0.01), "nobody commits"
    committer.failure = "the disk is full"
    assert await committer.goes_on(within_s=0.01), "it is tried again and again"
    committer.failure = None
    committing = asyncio.create_task(committer.run())
    assert await committer.goes_on(within_s=PATIENCE_S)
    committer.close()
    await committing
    assert not await committer.goes_on(within_s=PATIENCE_S), "it has ended"
    await database.close()
