"""Keep a service manager informed: ready, how it fares, alive, reloading, stopping.

The watchdog hears of us at half its interval, and only while the event loop turns (this runs in it) and the database
still gets its rows. A database that says no is no reason to be ended: its rows are in memory, tried again, and would be
lost; the status says so instead. A commit that neither ends nor fails is one.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Final

import structlog

from conductor.adapters.service_manager import ServiceManager
from conductor.app.conductor import Conductor
from conductor.domain.errors import ConductorError

#: How often the status is looked at where no watchdog sets the pace.
_LOOK_EVERY_S: Final = 10.0

log = structlog.get_logger(__name__)


class Supervision:
    """What one server tells its manager."""

    def __init__(self, manager: ServiceManager, conductor: Conductor, url: str) -> None:
        self._manager = manager
        self._conductor = conductor
        self._url = url
        self._told = ""
        self._reload_asked = asyncio.Event()

    def ready(self) -> None:
        """The server listens."""
        self._told = self._status()
        self._manager.ready(self._told)

    def ask_reload(self) -> None:
        """Have `watch` read the settings again."""
        self._reload_asked.set()

    async def watch(self) -> None:
        """Say that the server lives, and how, until cancelled."""
        watchdog_s = self._manager.watchdog_s
        every_s = _LOOK_EVERY_S if watchdog_s is None else watchdog_s / 2
        while True:
            if await self._conductor.vitals.commits_go_on(within_s=every_s / 2):
                self._manager.alive()
            else:
                log.error("commit_hangs", waited_s=every_s / 2)
            status = self._status()
            if status != self._told:
                self._told = status
                self._manager.status(status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._reload_asked.wait()
                    await self._reload()

    async def _reload(self) -> None:
        """Take in what the settings say now; a mistake in them changes nothing and is told."""
        self._reload_asked.clear()
        self._manager.reloading(now_s=self._conductor.vitals.monotonic_s())
        try:
            await self._conductor.configuration.reload()
        except ConductorError as mistake:
            log.error("settings_not_taken", reason=mistake.message)  # noqa: TRY400  # the message has all that is known
        finally:
            self.ready()

    def _status(self) -> str:
        problems = self._conductor.vitals.problems()
        return f"{self._url}: {'; '.join(problems)}" if problems else f"Serving {self._url}"


@contextlib.asynccontextmanager
async def supervised(conductor: Conductor, url: str, environ: Mapping[str, str]) -> AsyncIterator[Supervision]:
    """Keep the manager that the environment names informed for the duration of the block; the caller says `ready`.

    SIGHUP, which a manager sends to reload, does so; without a manager it ends the process as it always did. That the
    server stops is told when the block ends, before tasks are drained.
    """
    manager = ServiceManager.of(environ, pid=os.getpid())
    supervision = Supervision(manager, conductor, url)
    if not manager.listens:
        yield supervision
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, supervision.ask_reload)
    watching = asyncio.create_task(supervision.watch(), name="service manager")
    try:
        yield supervision
    finally:
        manager.stopping("Stopping: running tasks may end")
        loop.remove_signal_handler(signal.SIGHUP)
        watching.cancel()
        await asyncio.wait([watching])
