"""Have the weights of the model that comes next read into the operating system's memory, one model at a time.

One that really waits comes before one that is only expected, whose reading it ends. How they are read, and how much, is for
`WeightFiles`. Not covered: what the kernel makes of it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from math import inf
from typing import Final

from conductor.domain.clock import Clock
from conductor.serving.lifetimes.tallies import Tally
from conductor.serving.ports import WeightFiles
from conductor.serving.registry import ModelKey

#: Files that were read and not loaded for so long have probably left memory again.
_FRESH_S: Final = 900.0
#: Files are not looked at again before.
_AGAIN_S: Final = 60.0


class FilesAhead:
    """Whose files were read, and whose are.

    Args:
        files: None reads nothing.
        spawn: runs work beside the loop, as long as it lasts.
        wake: asks the owner for another look.
    """

    def __init__(
        self,
        files: WeightFiles | None,
        tally: Tally,
        *,
        clock: Clock,
        spawn: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"],
        wake: Callable[[], None],
    ) -> None:
        self._files = files
        self._tally = tally
        self._clock = clock
        self._spawn = spawn
        self._wake = wake
        self._read_since_s: dict[ModelKey, float] = {}
        self._looked_at_s: dict[ModelKey, float] = {}
        self._reading: tuple[ModelKey, asyncio.Task[None]] | None = None

    def look(self, now_s: float, waiting: Sequence[ModelKey], likely: Sequence[ModelKey]) -> None:
        """Begin reading for the first of those that wait, or else of those that are likely, which was not read lately."""
        for stale in [key for key, since_s in self._read_since_s.items() if now_s - since_s > _FRESH_S]:
            self._give_up(stale)
        wanted = [one for one in (*waiting, *likely) if one not in self._read_since_s]
        key = next((one for one in wanted if now_s - self._looked_at_s.get(one, -inf) > _AGAIN_S), None)
        if key is None or self._files is None:
            return
        if self._reading is not None:
            if key not in waiting or self._reading[0] in waiting:
                return
            self._reading[1].cancel()
        self._looked_at_s[key] = now_s
        task = self._spawn(self._read(key, self._files))
        self._reading = key, task
        task.add_done_callback(self._ended)  # it may be cancelled before it begins

    def loading(self, key: ModelKey) -> None:
        """The model is being loaded, and reads its files itself."""
        self._stop(key)
        self._looked_at_s.pop(key, None)
        if self._read_since_s.pop(key, None) is not None:
            self._tally.over(used=True)

    def forget(self, key: ModelKey) -> None:
        """No row names the model any more."""
        self._stop(key)
        self._looked_at_s.pop(key, None)
        self._give_up(key)

    def close(self) -> None:
        """Read nothing more."""
        self._files = None
        if self._reading is not None:
            self._reading[1].cancel()

    async def _read(self, key: ModelKey, files: WeightFiles) -> None:
        # What is wrong with the files, the load will tell; the loop over all models must go on.
        with suppress(Exception):
            async with aclosing(files.fetch(key.name)) as stretches:
                async for count in stretches:
                    self._tally.bytes += count
                    if count and key not in self._read_since_s:
                        self._read_since_s[key] = self._clock.monotonic_s()
                        self._tally.fetched += 1

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if self._reading is not None and self._reading[1] is task:
            self._reading = None
        self._wake()

    def _stop(self, key: ModelKey) -> None:
        if self._reading is not None and self._reading[0] == key:
            self._reading[1].cancel()

    def _give_up(self, key: ModelKey) -> None:
        if self._read_since_s.pop(key, None) is not None:
            self._tally.over(used=False)
