"""Keep the C library from spreading memory over an arena a thread: a server that is idle holds megabytes less."""

import ctypes
from contextlib import suppress
from typing import Final

#: `M_ARENA_MAX` of glibc's malloc.h; its default is eight arenas a core.
_ARENA_MAX: Final = -8


def share_one_arena() -> None:
    """Let all threads take memory from the same place, from now on; without effect where the C library is not glibc.

    Threads are few here and wait for disks and models, not for the allocator.
    Source: mallopt(3).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
