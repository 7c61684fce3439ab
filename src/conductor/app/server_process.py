"""What a process that serves for days asks of the interpreter and the C library; a program that holds us decides itself."""

import gc
from typing import Final

from conductor.adapters.allocator import share_one_arena

#: New objects between two searches for garbage; Python's 700 would take a tenth of the gateway's processor time.
_OBJECTS_UNTIL_SEARCH: Final = 20_000


def settle_in() -> None:
    """To be called before threads begin."""
    gc.set_threshold(_OBJECTS_UNTIL_SEARCH, *gc.get_threshold()[1:])
    share_one_arena()
