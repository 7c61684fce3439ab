"""Have loaded models read what requests of their categories begin with, while nobody uses any model.

One beginning at a time, over all models: they share the processor. Whoever asks ends it, and what was read by then counts as
read (`WarmingRunner.warm`); it is gone on with later, a few times. One over which a model failed is not tried again.

Not covered: what requests begin with (`begin_with`); keeping it for longer than the model is in memory.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Final

from conductor.domain.generation import Message, Usage
from conductor.domain.model import Category
from conductor.serving.lifetimes.residence import Loaded, Resident
from conductor.serving.lifetimes.tallies import Tally
from conductor.serving.ports import Warmed, WarmingRunner
from conductor.serving.registry import ModelKey

#: A beginning that gave way so often is left alone.
_MOST_ATTEMPTS: Final = 8
#: An answer to whose prompt this part of the beginning was known has used it.
_ENOUGH: Final = 0.5

_Which = tuple[ModelKey, Category]
_Turns = tuple[Message, ...]


class BeginningsAhead:
    """Which beginnings are read, and which are to be.

    Args:
        residents: shared with their owner.
        spawn: runs work beside the loop, as long as it lasts.
        wake: asks the owner for another look.
        doubt: has it found out whether a model that failed still lives.
    """

    def __init__(
        self,
        residents: Mapping[ModelKey, Resident],
        tally: Tally,
        *,
        spawn: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"],
        wake: Callable[[], None],
        doubt: Callable[[Resident, Loaded], None],
    ) -> None:
        self._residents = residents
        self._tally = tally
        self._spawn = spawn
        self._wake = wake
        self._doubt = doubt
        self._begins: Callable[[Category], Sequence[Message]] = lambda _category: ()
        self._attempts: dict[_Which, int] = {}  # of those that are to be read
        self._read: dict[_Which, _Turns] = {}
        self._failed: dict[_Which, _Turns] = {}
        self._unused: dict[_Which, int] = {}  # tokens of those that were read and not asked for yet
        self._reading: asyncio.Task[None] | None = None

    def begin_with(self, begins: Callable[[Category], Sequence[Message]]) -> None:
        """What requests of a category begin with, from now on."""
        self._begins = begins

    def plan(self, key: ModelKey, categories: Sequence[Category]) -> None:
        """The model is in memory, or something may begin otherwise: read what is not read."""
        self._attempts.update(((key, category), 0) for category in categories)

    def look(self) -> None:
        """Begin with the next one; nobody wants anything of any model."""
        if self._reading is not None:
            return
        for which in sorted(self._attempts, key=self._attempts.__getitem__):
            resident = self._residents.get(which[0])
            loaded = None if resident is None or not resident.is_open else resident.loaded
            if loaded is None:
                continue
            begins = tuple(self._begins(which[1]))
            is_done = not begins or begins in (self._read.get(which), self._failed.get(which))
            too_often = self._attempts[which] >= _MOST_ATTEMPTS
            if is_done or too_often or not isinstance(loaded.runner, WarmingRunner):
                del self._attempts[which]
                continue
            self._attempts[which] += 1
            self._reading = self._spawn(self._warm(loaded.runner, loaded, which, begins))
            self._reading.add_done_callback(self._ended)  # it may be cancelled before it begins
            return

    def give_way(self) -> None:
        """Somebody asks for a model."""
        if self._reading is not None:
            self._reading.cancel()

    def generated(self, key: ModelKey, category: Category, usage: Usage | None) -> None:
        """An answer ended well: its beginning is read by now, and whether it was before says what reading it was worth."""
        self._attempts.pop((key, category), None)
        tokens = self._unused.pop((key, category), None)
        if tokens is not None:
            self._tally.over(used=usage is not None and usage.cached_tokens >= tokens * _ENOUGH)

    def gone(self, key: ModelKey) -> None:
        """The model is out of memory, and what it had read with it."""
        for which in _of(key, self._unused):
            self._give_up(which)
        for kept in (self._read, self._attempts):
            for which in _of(key, kept):
                kept.pop(which)

    def forget(self, key: ModelKey) -> None:
        """No row names the model any more."""
        self.gone(key)
        for which in _of(key, self._failed):
            del self._failed[which]

    def close(self) -> None:
        """Read nothing more."""
        self._attempts.clear()
        self.give_way()

    async def _warm(self, runner: WarmingRunner, loaded: Loaded, which: _Which, begins: _Turns) -> None:
        failed, warmed = False, Warmed(0, 0, 0)
        try:
            warmed = await runner.warm(begins)
        except Exception:  # a beginning is not worth a failure that anybody hears of
            failed = True
        resident = self._residents.get(which[0])
        if resident is None or resident.loaded is not loaded or which not in self._attempts:
            return  # what it was for is over
        if not failed and warmed.ready < warmed.tokens:
            return  # it gave way, and is tried again
        del self._attempts[which]
        self._give_up(which)
        if failed:
            self._failed[which] = begins
            self._doubt(resident, loaded)  # perhaps it died of it
            return
        self._read[which] = begins
        if warmed.known < warmed.tokens:
            self._unused[which] = warmed.tokens
            self._tally.fetched += 1

    def _ended(self, _: "asyncio.Task[None]") -> None:
        self._reading = None
        self._wake()

    def _give_up(self, which: _Which) -> None:
        """What was read before in its place, if anything was, is not asked for any more."""
        if self._unused.pop(which, None) is not None:
            self._tally.over(used=False)


def _of(key: ModelKey, kept: Mapping[_Which, object]) -> list[_Which]:
    return [which for which in kept if which[0] == key]
