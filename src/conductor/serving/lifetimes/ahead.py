"""Make ready what is probably asked for next: files of weights, beginnings of requests, whole models.

Three things, each behind whatever was really asked for:

* The files of a model that waits for its turn, or by habit is asked for next (`transitions`), are read into the operating
  system's memory, one model at a time.
* What a loaded model is told before every request of its categories is computed while nobody uses any model; it gives way
  to the first who asks.
* A model that is probably next is loaded while nothing else happens and its memory is free (`candidate`; `turns` does it).
  Nothing is ever unloaded for it, and it is the first to go.

What came of each is counted: used, or wasted. Plain bookkeeping over the residents; what is awaited runs as tasks of the
owner. Not covered: keeping habits over a restart; models whose files or caches are elsewhere.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final

from conductor.domain.clock import Clock
from conductor.domain.generation import Message, Usage
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelState
from conductor.serving.lifetimes.residence import Loaded, Resident
from conductor.serving.lifetimes.transitions import Transitions
from conductor.serving.ports import Leisure, Warmed, WarmingRunner, WeightFiles
from conductor.serving.registry import ModelKey, Registry, StateChange

#: Files that were read and not loaded for so long have probably left memory again.
_FRESH_S: Final = 900.0
#: What may be next after a request is believed for so long.
_LIKELY_S: Final = 600.0
#: Files are not looked at again before.
_AGAIN_S: Final = 60.0
#: A beginning that gave way so often is left alone.
_MOST_ATTEMPTS: Final = 8
#: An answer whose prompt was known to this part of the beginning has used it.
_ENOUGH: Final = 0.5


class Kind(StrEnum):
    """What is made ready."""

    FILES = "files"
    BEGINNINGS = "beginnings"
    MODELS = "models"


@dataclass(slots=True)
class Tally:
    """What came of one kind.

    Args:
        fetched: how often something was made ready.
        used: of these, asked for afterwards.
        wasted: given up without having been asked for; the rest may still be.
        bytes: that were read; of files only.
    """

    fetched: int = 0
    used: int = 0
    wasted: int = 0
    bytes: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Used, of those whose time is over."""
        over = self.used + self.wasted
        return self.used / over if over else None

    def as_json(self) -> JsonObject:
        """Plain data."""
        rate = self.hit_rate
        return {
            "fetched": self.fetched,
            "used": self.used,
            "wasted": self.wasted,
            "hit_rate": None if rate is None else round(rate, 4),
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What can be made ready, and with what; None and False do without.

    Args:
        files: reads weights.
        beginnings: whether those are computed.
        leisure: says when models may be loaded ahead.
        quiet_s: for so long nobody must have used any model before one is loaded ahead.
    """

    files: WeightFiles | None = None
    beginnings: bool = False
    leisure: Leisure | None = None
    quiet_s: float = 2.0


@dataclass(slots=True)
class _Books:
    """What was made ready and not used yet, and what is still to do."""

    files: dict[ModelKey, float] = field(default_factory=dict)  # since when
    looked_at: dict[ModelKey, float] = field(default_factory=dict)
    models: set[ModelKey] = field(default_factory=set)
    beginnings: dict[tuple[ModelKey, Category], int] = field(default_factory=dict)  # tokens
    told: dict[tuple[ModelKey, Category], tuple[Message, ...]] = field(default_factory=dict)
    attempts: dict[tuple[ModelKey, Category], int] = field(default_factory=dict)  # of those still to be read


class Ahead:
    """Decides what is made ready, and keeps count.

    Args:
        residents: shared with their owner.
        spawn: runs work beside the loop, as long as it lasts.
        wake: asks the owner for another look.
    """

    def __init__(
        self,
        residents: Mapping[ModelKey, Resident],
        *,
        means: Means,
        registry: Registry,
        clock: Clock,
        spawn: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"],
        wake: Callable[[], None],
    ) -> None:
        self._residents = residents
        self._means = means
        self._registry = registry
        self._clock = clock
        self._spawn = spawn
        self._wake = wake
        self._begins: Callable[[Category], Sequence[Message]] = lambda _category: ()
        self._habits: Transitions[ModelKey] = Transitions()
        self._likely: tuple[ModelKey, ...] = ()
        self._books = _Books()
        self._fetching: tuple[ModelKey, asyncio.Task[None]] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._busy_until_s = -inf
        self.tallies: Mapping[Kind, Tally] = {kind: Tally() for kind in Kind}
        registry.listen(self._on_change)

    # What happens.

    def begin_with(self, begins: Callable[[Category], Sequence[Message]]) -> None:
        """What requests of a category begin with, from now on; those of models in memory are read anew where they differ."""
        self._begins = begins
        for key, resident in self._residents.items():
            if resident.loaded is not None:
                self._plan_beginnings(key)
        self._wake()

    def asked(self, key: ModelKey) -> None:
        """Somebody asks for a model: whatever is computed ahead gives way, and what may be next is known."""
        now_s = self._clock.monotonic_s()
        self._busy_until_s = now_s
        if self._warming is not None:
            self._warming.cancel()
        self._habits.seen(key, now_s)
        self._likely = self._habits.likely_after(key, now_s)
        if key in self._books.models:
            self._books.models.remove(key)
            self.tallies[Kind.MODELS].used += 1
        if any(self._is_absent(one) for one in self._likely):
            self._wake()

    def given_back(self) -> None:
        """Somebody has done with a model."""
        self._busy_until_s = self._clock.monotonic_s()

    def generated(self, key: ModelKey, category: Category, usage: Usage | None) -> None:
        """An answer ended well: its beginning is read by now, and whether it was before says what reading it was worth."""
        self._books.attempts.pop((key, category), None)
        tokens = self._books.beginnings.pop((key, category), None)
        if tokens is not None:
            was_known = usage is not None and usage.cached_tokens >= tokens * _ENOUGH
            self._came_of(Kind.BEGINNINGS, used=was_known)

    def _on_change(self, change: StateChange) -> None:
        key = change.record.key
        if change.record.state is ModelState.LOADING:
            self._stop_fetching(key)
            if self._books.files.pop(key, None) is not None:
                self._came_of(Kind.FILES, used=True)
            self._books.looked_at.pop(key, None)
        elif change.record.state is ModelState.LOADED:
            resident = self._residents.get(key)
            if resident is not None and resident.loaded is not None and resident.loaded.ahead:
                self._books.models.add(key)
                self.tallies[Kind.MODELS].fetched += 1
            self._plan_beginnings(key)
        elif change.before is ModelState.LOADED:
            self._forget_loaded(key)

    def _forget_loaded(self, key: ModelKey) -> None:
        """It is out of memory, and all that was ready there with it."""
        if key in self._books.models:
            self._books.models.remove(key)
            self._came_of(Kind.MODELS, used=False)
        for each in [each for each in self._books.beginnings if each[0] == key]:
            del self._books.beginnings[each]
            self._came_of(Kind.BEGINNINGS, used=False)
        for which in [which for which in self._books.told if which[0] == key]:
            del self._books.told[which]
        for which in [which for which in self._books.attempts if which[0] == key]:
            del self._books.attempts[which]

    def forget(self, key: ModelKey) -> None:
        """No row names it any more."""
        self._habits.forget(key)
        self._likely = tuple(one for one in self._likely if one != key)
        self._books.looked_at.pop(key, None)
        self._stop_fetching(key)
        if self._books.files.pop(key, None) is not None:
            self._came_of(Kind.FILES, used=False)

    def as_json(self) -> JsonObject:
        """The tallies; `fetched` is neither used nor wasted yet for what may still be asked for."""
        return {kind.value: tally.as_json() for kind, tally in self.tallies.items()}

    # What is done about it.

    def look(self, now_s: float) -> float:
        """Begin whatever there is time for; when to look again, monotonic, if nothing happens before."""
        for key in [key for key, since_s in self._books.files.items() if now_s - since_s > _FRESH_S]:
            del self._books.files[key]
            self._came_of(Kind.FILES, used=False)
        self._fetch_next(now_s)
        self._warm_next()
        quiet_s = self._busy_until_s + self._means.quiet_s
        if now_s > self._busy_until_s + _LIKELY_S:
            self._likely = ()
        waits = self._means.leisure is not None and now_s < quiet_s and any(map(self._is_absent, self._likely))
        return quiet_s if waits else inf

    def candidate(self, now_s: float) -> Resident | None:
        """What may be loaded ahead now, if there is room for it without unloading anything."""
        if self._means.leisure is None or now_s < self._busy_until_s + self._means.quiet_s or not self._is_quiet():
            return None
        return next((self._residents[key] for key in self._likely if self._is_absent(key)), None)

    def tried(self, resident: Resident) -> None:
        """It was loaded, or could not be: it is not tried again before somebody asks for a model."""
        self._likely = tuple(key for key in self._likely if key != resident.key)

    async def spare_bytes(self) -> int:
        """Memory for models that nobody has asked for."""
        return 0 if self._means.leisure is None else await self._means.leisure.spare_bytes()

    def stop(self) -> None:
        """Begin nothing more, and end what is under way."""
        self._means, self._likely = Means(), ()
        self._books.attempts.clear()
        if self._warming is not None:
            self._warming.cancel()
        if self._fetching is not None:
            self._fetching[1].cancel()

    def _is_absent(self, key: ModelKey) -> bool:
        resident = self._residents.get(key)
        if resident is None or resident.dropped or resident.backend is None or "://" in key.name:
            return False
        rests = resident.rests_until_s > self._clock.monotonic_s()
        return resident.loaded is None and not resident.busy and not rests

    def _is_quiet(self) -> bool:
        """Whether nothing happens, and nobody waits for anything to happen."""
        residents = self._residents.values()
        leased = any(one.loaded is not None and one.loaded.leases for one in residents)
        return not leased and not any(one.busy or one.waiters or one.wanted_since_s < inf for one in residents)

    def _came_of(self, kind: Kind, *, used: bool) -> None:
        tally = self.tallies[kind]
        tally.used, tally.wasted = tally.used + used, tally.wasted + (not used)

    # Files.

    def _fetch_next(self, now_s: float) -> None:
        """Have the files of one model read: of one that waits for its turn, or else of one that may be next."""
        files = self._means.files
        if files is None:
            return
        waiting = [
            one
            for one in self._residents.values()
            if one.wanted_since_s < inf and one.need is not None and self._is_absent(one.key)
        ]
        waiting.sort(key=lambda one: one.wanted_since_s)
        certain = [one.key for one in waiting]
        wanted = [*certain, *filter(self._is_absent, self._likely)]
        again_s = now_s - _AGAIN_S
        key = next((one for one in wanted if self._books.looked_at.get(one, -inf) < again_s), None)
        if key is None or (self._fetching is not None and (key not in certain or self._fetching[0] in certain)):
            return
        if self._fetching is not None:
            self._fetching[1].cancel()
        self._books.looked_at[key] = now_s
        self._fetching = key, self._spawn(self._fetch(key, files))
        self._fetching[1].add_done_callback(self._fetched)  # also where it was cancelled before it began

    async def _fetch(self, key: ModelKey, files: WeightFiles) -> None:
        tally = self.tallies[Kind.FILES]
        async with aclosing(files.fetch(key.name)) as stretches:
            async for count in stretches:
                tally.bytes += count
                if count and key not in self._books.files:
                    self._books.files[key] = self._clock.monotonic_s()
                    tally.fetched += 1

    def _fetched(self, task: "asyncio.Task[None]") -> None:
        if self._fetching is not None and self._fetching[1] is task:
            self._fetching = None
        self._wake()

    def _stop_fetching(self, key: ModelKey) -> None:
        if self._fetching is not None and self._fetching[0] == key:
            self._fetching[1].cancel()

    # Beginnings.

    def _plan_beginnings(self, key: ModelKey) -> None:
        if self._means.beginnings:
            self._books.attempts.update(((key, category), 0) for category in self._registry.record(key).categories)

    def _warm_next(self) -> None:
        """Have one beginning read, where nobody wants anything of any model."""
        if self._warming is not None or not self._books.attempts or not self._is_quiet():
            return
        for which in sorted(self._books.attempts, key=self._books.attempts.__getitem__):
            resident = self._residents.get(which[0])
            loaded = None if resident is None or not resident.is_open else resident.loaded
            if loaded is None:
                continue
            begins = tuple(self._begins(which[1]))
            is_ready = not begins or self._books.told.get(which) == begins
            if (
                is_ready
                or not isinstance(loaded.runner, WarmingRunner)
                or self._books.attempts[which] >= _MOST_ATTEMPTS
            ):
                del self._books.attempts[which]
                continue
            self._books.attempts[which] += 1
            self._warming = self._spawn(self._warm(loaded.runner, loaded, which, begins))
            self._warming.add_done_callback(self._warmed)
            return

    async def _warm(
        self, runner: WarmingRunner, loaded: Loaded, which: tuple[ModelKey, Category], begins: tuple[Message, ...]
    ) -> None:
        failed, warmed = False, Warmed(0, 0, 0)
        try:
            warmed = await runner.warm(begins)
        except Exception:  # whatever it is, whoever asks for the model next meets it, and is told
            failed = True
        resident = self._residents.get(which[0])
        if resident is None or resident.loaded is not loaded or which not in self._books.attempts:
            return  # what it was for is over
        if not failed and warmed.ready < warmed.tokens:
            return  # it gave way, and is tried again
        del self._books.attempts[which]
        if self._books.beginnings.pop(which, None) is not None:
            self._came_of(Kind.BEGINNINGS, used=False)
        if not failed:
            self._books.told[which] = begins
        if warmed.known < warmed.tokens:
            self._books.beginnings[which] = warmed.tokens
            self.tallies[Kind.BEGINNINGS].fetched += 1

    def _warmed(self, _: "asyncio.Task[None]") -> None:
        self._warming = None
        self._wake()
