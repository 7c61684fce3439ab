"""Read models' files into the operating system's memory before they are asked for, and tell when there is leisure for more.

Linux only: a stretch is announced (`posix_fadvise`), then read by a thread of the lowest priority for disk and processor;
what is there already is found out by samples (`RWF_NOWAIT`) and not read. Before each stretch it is looked at how much
memory may still be filled: what the kernel calls available, within the limits around this process, less a reserve.

Not covered: other systems, where nothing is read ahead; whether the kernel keeps what was read.
Source: posix_fadvise(2), preadv2(2), ioprio_set(2).
"""

import asyncio
import ctypes
import os
import platform
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from conductor.adapters.sensors.allowance import MemoryAllowance, usable_cores
from conductor.adapters.sensors.counters import LinuxCounters
from conductor.adapters.sensors.tree import Tree
from conductor.domain.model import ModelName
from conductor.domain.units import GIB, MIB

#: Left alone at the least: for the tasks, and whatever else runs here.
_RESERVE_BYTES: Final = GIB
_RESERVED_SHARE: Final = 0.1
#: Read between two looks at memory: a fifth of a second of a slow disk.
_STRETCH_BYTES: Final = 32 * MIB
#: Read at once; one page in each of these is looked at to find out whether all of it is in memory.
_STEP_BYTES: Final = MIB
#: A machine with more work than for this part of its cores has no leisure.
_BUSY_SHARE: Final = 0.5
_SYSCALLS: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
_THREAD, _IDLE_CLASS, _CLASS_SHIFT = 1, 3, 13
_NICEST: Final = 19


class SpareMemory:
    """A `Leisure` of this machine.

    Args:
        tree: where the kernel tells; `/`, or a recorded folder.
    """

    def __init__(self, tree: Tree) -> None:
        self._counters = LinuxCounters(tree)
        self._allowance = MemoryAllowance(tree)
        self._cores = usable_cores(tree)

    async def spare_bytes(self) -> int:
        """As `Leisure.spare_bytes`."""
        return await asyncio.to_thread(self._at_leisure)

    def free_bytes(self) -> int:
        """What may be filled, busy or not; blocking."""
        total, available = self._counters.memory_bytes()
        reserve = max(_RESERVE_BYTES, int(self._allowance.total_bytes(total) * _RESERVED_SHARE))
        return max(0, self._allowance.free_bytes(available) - reserve)

    def _at_leisure(self) -> int:
        return 0 if self._counters.load_average_1m() > self._cores * _BUSY_SHARE else self.free_bytes()


class PageCache:
    """The `WeightFiles` of this machine.

    Args:
        files_of: where a model's weights are; blocking, empty where they are not here.
        free_bytes: what may be filled now; blocking.
    """

    def __init__(self, files_of: Callable[[ModelName], Sequence[Path]], free_bytes: Callable[[], int]) -> None:
        self._files_of = files_of
        self._free_bytes = free_bytes

    async def fetch(self, model: ModelName) -> AsyncGenerator[int, None]:
        """As `WeightFiles.fetch`."""
        if not sys.platform.startswith("linux"):
            return
        ended, loop = threading.Event(), asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="reads ahead", initializer=_step_back)
        try:
            stretches = self._stretches(model, ended)
            while (count := await loop.run_in_executor(thread, next, stretches, None)) is not None:
                yield count
        finally:
            ended.set()  # ends within a step
            thread.shutdown(wait=False)

    def _stretches(self, model: ModelName, ended: threading.Event) -> Iterator[int]:
        """Reads a stretch for each number that is taken; in the thread."""
        room = self._free_bytes()  # what is read counts as available afterwards, so what it takes must be remembered
        with suppress(OSError):  # a file that is gone or forbidden: the load will tell
            for path in self._files_of(model):
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    size = os.fstat(file).st_size
                    for at in range(0, size, _STRETCH_BYTES):
                        until = min(size, at + _STRETCH_BYTES)
                        if until - at > min(room, self._free_bytes()) or ended.is_set():
                            return
                        count = _read(file, at, until, ended)
                        room -= count
                        yield count
                finally:
                    os.close(file)


def is_in_memory(file: int, at: int) -> bool:
    """Whether the page at this place can be read without the disk; False where the file system does not say."""
    try:
        return os.preadv(file, [bytearray(1)], at, os.RWF_NOWAIT) == 1
    except OSError:
        return False


def _read(file: int, at: int, until: int, ended: threading.Event) -> int:
    """Have a stretch in memory; how many bytes of it were not."""
    absent = [
        place for place in range(at, until, _STEP_BYTES) if not is_in_memory(file, min(place + _STEP_BYTES, until) - 1)
    ]
    for place in absent:
        os.posix_fadvise(file, place, _STEP_BYTES, os.POSIX_FADV_WILLNEED)
    buffer, count = bytearray(_STEP_BYTES), 0
    for place in absent:
        if ended.is_set():
            break
        count += os.preadv(file, [memoryview(buffer)[: min(_STEP_BYTES, until - place)]], place)
    return count


def _step_back() -> None:
    """Have this thread wait for everybody else: at the disk, where its scheduler knows priorities, and for a core."""
    number = _SYSCALLS.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, _THREAD, 0, _IDLE_CLASS << _CLASS_SHIFT)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICEST)
