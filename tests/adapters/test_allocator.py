"""Threads take memory from one arena once we asked for it, and from several before."""

import platform
import subprocess
import sys

import pytest

#: Eight threads hold memory at the same time; then glibc's further arenas are counted: they begin at multiples of 64 MiB.
SCRIPT = """
import threading
from conductor.adapters.allocator import share_one_arena
{asked}
together = threading.Barrier(8)
def hold():
    held = [bytearray(100_000) for _ in range(20)]
    together.wait()
    assert held
    together.wait()
threads = [threading.Thread(target=hold) for _ in range(7)]
for thread in threads:
    thread.start()
together.wait()
starts = [int(line.split("-")[0], 16) for line in open("/proc/self/maps")]
print(sum(start % (64 << 20) == 0 for start in starts))
together.wait()
"""


def arenas(asked: str) -> int:
    script = SCRIPT.format(asked=asked)
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return int(said.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_threads_share_one_arena_once_asked() -> None:
    assert arenas("share_one_arena()") == 0
    assert arenas("") > 0
