"""Watch one launched task: read what it prints, hold it to its slice, and end it when it must end.

One `Supervision` lives as long as one launcher process. It decides nothing about what is allowed (the slice says it)
and does not name how the attempt ended (`endings` does).
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from conductor.adapters.local_processes.control_groups import TaskGroup
from conductor.adapters.local_processes.endings import Stop
from conductor.adapters.local_processes.launching import Launched
from conductor.adapters.local_processes.output import TaskPrinting
from conductor.adapters.local_processes.sampling import sample_tree
from conductor.domain.clock import Clock
from conductor.fleet.ports import Slice

READ_BYTES: Final = 65536
LOOK_EVERY_S: Final = 0.25
#: How long the kernel may take to end what was killed (core of a swapping machine), and pipes to run dry.
KILL_PATIENCE_S: Final = 10.0


class Inlet:
    """A pipe that the event loop reads until its end."""

    def __init__(self, fd: int, take: Callable[[bytes], None], changed: asyncio.Event) -> None:
        self._fd, self._take, self._changed = fd, take, changed
        self.is_open = True
        os.set_blocking(fd, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._take(data)
        else:
            self.close()

    def close(self) -> None:
        """Stop reading."""
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._changed.set()


class Supervision:
    """Everything that is open while one task runs.

    Args:
        launched: the launcher and our ends of its pipes, which are closed here.
        carved: what to hold the task to.
    """

    def __init__(
        self,
        launched: Launched,
        *,
        carved: Slice,
        group: TaskGroup,
        printing: TaskPrinting,
        clock: Clock,
    ) -> None:
        self._process, self._control_fd = launched.process, launched.control_fd
        self._carved, self._group, self._clock = carved, group, clock
        self._printing = printing
        self._deadline_s = clock.monotonic_s() + carved.limits.wall_time_s
        self._changed = asyncio.Event()
        self.status, self.returned = bytearray(), bytearray()
        self.sampled_cpu_s = 0.0
        self.sampled_bytes = 0
        self._status = Inlet(launched.status_fd, self.status.extend, self._changed)
        self._streams = [
            Inlet(launched.stdout_fd, lambda data: self._print(printing.stdout.take, data), self._changed),
            Inlet(launched.stderr_fd, lambda data: self._print(printing.stderr.take, data), self._changed),
        ]
        if launched.result_fd is not None:
            self._streams.append(Inlet(launched.result_fd, self._take_result, self._changed))

    async def watch(self) -> Stop | None:
        """Wait until the task is gone, or until a bound is passed; which one, or None when it ended by itself."""
        while True:
            if not self._status.is_open:
                # Everything is dead by now, so the pipes run dry; what they still hold may pass the bound.
                await self._until(lambda: not any(stream.is_open for stream in self._streams), KILL_PATIENCE_S)
                return self._refused()
            stop = self._refused() or self._outgrown()
            left_s = self._deadline_s - self._clock.monotonic_s()
            if stop is None and left_s <= 0:
                stop = Stop.WALL_TIME
            if stop is not None:
                return stop
            await self._wait(min(left_s, self._next_look_s()))

    async def end(self, *, grace_s: float) -> None:
        """End the task: SIGTERM and `grace_s` to obey it, then SIGKILL; returns when all of it is gone."""
        if grace_s > 0:
            self._order(b"T")
            await self._until(lambda: not self._status.is_open, grace_s)
        self._order(b"K")
        await self._until(lambda: not self._status.is_open, KILL_PATIENCE_S)
        self._process.kill()
        self._group.kill()
        await self._until(lambda: not any(stream.is_open for stream in self._streams), KILL_PATIENCE_S)

    async def close(self) -> None:
        """Close every pipe and collect the launcher."""
        os.close(self._control_fd)
        for inlet in (self._status, *self._streams):
            inlet.close()
        await asyncio.to_thread(self._process.wait)

    def _order(self, letter: bytes) -> None:
        with suppress(BrokenPipeError):  # it ended meanwhile
            os.write(self._control_fd, letter)

    def _print(self, take: Callable[[bytes], None], data: bytes) -> None:
        self._printing.take(take, data)
        if self._printing.is_refused:
            self._changed.set()
            for stream in self._streams:
                stream.close()

    def _take_result(self, data: bytes) -> None:
        self.returned.extend(data)
        if len(self.returned) > self._carved.limits.output_bytes:
            self._changed.set()
            for stream in self._streams:
                stream.close()

    def _refused(self) -> Stop | None:
        if self._printing.disk_error is not None:
            return Stop.DISK
        over = self._printing.is_over or len(self.returned) > self._carved.limits.output_bytes
        return Stop.OUTPUT if over else None

    def _outgrown(self) -> Stop | None:
        """Look at what is used now; control groups bound memory and processes themselves."""
        limits, controllers = self._carved.limits, self._carved.controllers
        usage = self._group.usage()
        cpu_s, held, processes = usage.cpu_time_s, usage.held_bytes, 0
        if not {"memory", "pids", "cpu"} <= controllers:
            tree = sample_tree(
                self._process.pid, has_keeper=bool(self._carved.namespaces), memory_bytes=limits.memory_bytes
            )
            cpu_s = tree.cpu_time_s if cpu_s is None else cpu_s
            held = tree.held_bytes if held is None else held
            processes = tree.processes
        self.sampled_cpu_s = max(self.sampled_cpu_s, cpu_s or 0.0)
        self.sampled_bytes = max(self.sampled_bytes, held or 0)
        if self.sampled_cpu_s > limits.cpu_time_s:
            return Stop.CPU_TIME
        if "memory" not in controllers and self.sampled_bytes > limits.memory_bytes:
            return Stop.MEMORY
        return Stop.PROCESSES if "pids" not in controllers and processes > limits.processes else None

    def _next_look_s(self) -> float:
        """Look again no later than when the processor time could be used up with every core busy."""
        left_s = self._carved.limits.cpu_time_s - self.sampled_cpu_s
        return min(LOOK_EVERY_S, max(0.02, left_s / (os.cpu_count() or 1)))

    async def _wait(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, timeout_s)):
                await self._changed.wait()
        self._changed.clear()

    async def _until(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        deadline_s = self._clock.monotonic_s() + timeout_s
        while not is_so() and (left_s := deadline_s - self._clock.monotonic_s()) > 0:
            await self._wait(left_s)
