"""Watch a server program for one model: see when it is ready, notice its end, end it.

A keeper of ours (`keeper`) stands between, so that nothing of the program is left when it dies, when it is stopped and
when this process dies. A program counts as ready only when its own processes hold the port, so that nobody else is mistaken
for it. It is loading for as long as it says something or computes; one that does neither for a while hangs. How it is
begun is `starting`'s.

What it prints is kept to the last lines for error messages and goes nowhere else: it may hold prompts.
"""

import asyncio
import os
import re
import signal
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psutil

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError
from conductor.domain.clock import Clock
from conductor.domain.errors import ModelError
from conductor.domain.redaction import MASK

_KEPT_LINES: Final = 60
_LONGEST_LINE: Final = 400
_SHOWN: Final = 600
_READ_BYTES: Final = 16_384
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.05, 1.0
_HEALTH_WITHIN_S: Final = 5.0
#: Its last words are not waited for any longer: what it left behind may hold the pipe.
_LAST_WORDS_S: Final = 1.0
_OF_INTEREST: Final = re.compile(
    r"error|fail|exception|cannot|unable|invalid|unrecognized|out of memory", re.IGNORECASE
)
_SIGNALS: Final = {one.value: one.name for one in signal.Signals}
_TERMINAL: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long things may take.

    Args:
        loading_s: until it is ready.
        stalled_s: without a word and without computing while it loads.
        grace_s: between asking it to end and killing it.
        ports: that are tried, one after the other, where others take them first.
    """

    loading_s: float = 1_800.0
    stalled_s: float = 300.0
    grace_s: float = 5.0
    ports: int = 3


class ServerProcess:
    """A running server program; made by `starting.start`.

    Attributes:
        origin: `http://127.0.0.1:PORT`.
        program_id: the program's process.
        ended: why it is no longer there; empty while it is.
    """

    def __init__(self, kept: asyncio.subprocess.Process, *, program: str, model: str, port: int, secret: str) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.program_id = 0
        self.ended = ""
        self._kept = kept
        self._program, self._model, self._port, self._secret = program, model, port, secret
        self._gone = asyncio.Event()
        self._said: deque[str] = deque(maxlen=_KEPT_LINES)
        self._said_bytes = 0
        self._listening = [asyncio.create_task(self._hear()), asyncio.create_task(self._watch())]

    async def wait_gone(self, within_s: float) -> bool:
        """Whether it ended within this time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._gone.wait()
        return self._gone.is_set()

    async def ready(self, client: EndpointClient, clock: Clock, bounds: Bounds) -> None:
        """Wait until it answers on its port.

        Raises:
            ModelError: it ended, hangs, or took too long.
        """
        began_s = heard_s = clock.monotonic_s()
        signs, look_s = (0, 0.0), _FIRST_LOOK_S
        while not await self.wait_gone(look_s):
            if await self._answers(client) and await asyncio.to_thread(self._holds_port):
                return
            now_s, look_s = clock.monotonic_s(), min(look_s * 1.5, _LONGEST_LOOK_S)
            if (now := await asyncio.to_thread(self._signs)) != signs:
                signs, heard_s = now, now_s
            if now_s - heard_s > bounds.stalled_s:
                raise ModelError(
                    f"{self._program} hangs: loading {self._model}, it did nothing for {bounds.stalled_s:g} s"
                    f"{self._last_words()}; check that it runs by hand",
                    field="model",
                )
            if now_s - began_s > bounds.loading_s:
                raise ModelError(
                    f"{self._program} did not load {self._model} within {bounds.loading_s:g} s{self._last_words()}; "
                    "choose a smaller model",
                    field="model",
                )
        raise ModelError(self.ended, field="model")

    def memory_bytes(self) -> int:
        """What its processes hold of the machine's memory now."""
        held = 0
        for process in self._processes():
            with suppress(psutil.Error):
                held += int(process.memory_info().rss)
        return held

    async def close(self, why: str) -> None:
        """End it with all that it started; returns when that is so."""
        self.ended = self.ended or why
        assert self._kept.stdin is not None
        self._kept.stdin.close()
        try:
            await self._gone.wait()
        finally:
            self._kill()  # cancelled: the program dies with its keeper
            for task in self._listening:
                task.cancel()
            await asyncio.gather(*self._listening, return_exceptions=True)

    # -- what it tells of itself ----------------------------------------------------------------------------------

    async def _hear(self) -> None:
        """Read what it prints. A line that is never ended counts as one, and so does a progress bar's."""
        assert self._kept.stderr is not None
        rest = ""
        while said := await self._kept.stderr.read(_READ_BYTES):
            self._said_bytes += len(said)
            *lines, rest = re.split(r"[\r\n]+", rest + said.decode("utf-8", "replace"))
            rest = rest[-_LONGEST_LINE:]
            for line in lines:
                self._keep(line)
        self._keep(rest)

    def _keep(self, line: str) -> None:
        if line := _TERMINAL.sub("", line).replace(self._secret, MASK).strip():
            self._said.append(line[:_LONGEST_LINE])

    async def _watch(self) -> None:
        """Follow what the keeper tells, until the program is gone."""
        assert self._kept.stdout is not None
        status: int | None = None
        async for line in self._kept.stdout:
            what, _, number = line.decode("ascii", "replace").strip().partition(" ")
            if what == "started":
                self.program_id = int(number)
            elif what == "ended":
                status = int(number)
        if status is None:
            self._kill()
        with suppress(TimeoutError):  # its last words are still on the way
            async with asyncio.timeout(_LAST_WORDS_S):
                await asyncio.shield(self._listening[0])
        self.ended = self.ended or self._ending(status)
        await self._kept.wait()
        self._gone.set()

    def _ending(self, status: int | None) -> str:
        if status is None:
            how = "lost its keeper"
        elif os.WIFSIGNALED(status):
            how = f"ended with {_SIGNALS.get(os.WTERMSIG(status), 'a signal')}"
        else:
            how = f"ended with exit code {os.waitstatus_to_exitcode(status)}"
        killed = status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        hint = "; perhaps it did not fit into memory: choose a smaller model" if killed else ""
        words = self._last_words(trouble_only=killed)
        return f"{self._program} for {self._model} {how}{hint}{words}; asking again starts it anew"

    def _last_words(self, *, trouble_only: bool = False) -> str:
        """The last lines that tell of trouble, or else the last ones: one that was killed did not see it coming."""
        said = list(self._said)
        telling = [line for line in (said[-3:] if trouble_only else said) if _OF_INTEREST.search(line)]
        if not telling and not trouble_only:
            telling = said
        return f"; it said: {' / '.join(telling[-3:])[-_SHOWN:]}" if telling else ""

    # -- looking at it ----------------------------------------------------------------------------------------------

    async def _answers(self, client: EndpointClient) -> bool:
        with suppress(EndpointError):
            status, _, _ = await client.ask(self.origin, "GET", f"{self.origin}/health", within_s=_HEALTH_WITHIN_S)
            return status == 200
        return False

    def _signs(self) -> tuple[int, float]:
        """What changes while it does something."""
        computed_s = 0.0
        for process in self._processes():
            with suppress(psutil.Error):
                times = process.cpu_times()
                computed_s += times.user + times.system
        return self._said_bytes, computed_s

    def _holds_port(self) -> bool:
        """Whether one of its processes listens there."""
        for process in self._processes():
            with suppress(psutil.Error):
                for one in process.net_connections("tcp"):
                    if one.status == psutil.CONN_LISTEN and one.laddr.port == self._port:
                        return True
        return False

    def _processes(self) -> list[psutil.Process]:
        if not self.program_id or self._gone.is_set():
            return []
        try:
            program = psutil.Process(self.program_id)
            return [program, *program.children(recursive=True)]
        except psutil.Error:
            return []

    def _kill(self) -> None:
        """What should be gone by now, in case that it is not."""
        if self._gone.is_set():
            return
        with suppress(ProcessLookupError, PermissionError):
            if self.program_id:
                os.killpg(self.program_id, signal.SIGKILL)
        with suppress(ProcessLookupError):
            self._kept.kill()
