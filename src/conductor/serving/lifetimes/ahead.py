"""Make ready what is probably asked for next: files of weights, beginnings of requests, whole models.

Three things, each behind whatever was really asked for:

* The files of a model that waits for its turn, or by habit is asked for next (`transitions`), are read (`files_ahead`).
* What a loaded model is told before every request of its categories is computed (`beginnings_ahead`).
* A model that is probably next is loaded while nothing else happens and its memory is free (`candidate`; `turns` does it).
  Nothing is ever unloaded for it, it is the first to go, and its load ends when another model is asked for.

Here it is decided when there is time for which, over the residents. What came of each is counted (`tallies`). Not covered:
keeping habits over a restart; models whose files or caches are elsewhere.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from conductor.domain.clock import Clock
from conductor.domain.generation import Message, Usage
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelState
from conductor.serving.lifetimes.beginnings_ahead import BeginningsAhead
from conductor.serving.lifetimes.files_ahead import FilesAhead
from conductor.serving.lifetimes.residence import Loaded, Resident
from conductor.serving.lifetimes.tallies import Kind, Tally
from conductor.serving.lifetimes.transitions import Transitions
from conductor.serving.ports import Leisure, WeightFiles
from conductor.serving.registry import ModelKey, Registry, StateChange

#: What may be next after a request is believed for so long.
_LIKELY_S: Final = 600.0


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


class Ahead:
    """Decides what is made ready, and keeps count.

    Args:
        residents: shared with their owner.
        spawn: runs work beside the loop, as long as it lasts.
        wake: asks the owner for another look.
        doubt: has it found out whether a model that failed still lives.
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
        doubt: Callable[[Resident, Loaded], None],
    ) -> None:
        self.tallies: Mapping[Kind, Tally] = {kind: Tally() for kind in Kind}
        self._residents = residents
        self._means = means
        self._registry = registry
        self._clock = clock
        self._wake = wake
        self._files = FilesAhead(means.files, self.tallies[Kind.FILES], clock=clock, spawn=spawn, wake=wake)
        self._beginnings = BeginningsAhead(
            residents, self.tallies[Kind.BEGINNINGS], spawn=spawn, wake=wake, doubt=doubt
        )
        self._habits: Transitions[ModelKey] = Transitions()
        self._likely: tuple[ModelKey, ...] = ()
        self._unasked: set[ModelKey] = set()  # loaded ahead
        self._used_s = -inf
        registry.listen(self._on_change)

    def as_json(self) -> JsonObject:
        """The tallies; what may still be asked for is neither used nor wasted."""
        return {kind.value: tally.as_json() for kind, tally in self.tallies.items()}

    # What happens.

    def begin_with(self, begins: Callable[[Category], Sequence[Message]]) -> None:
        """What requests of a category begin with, from now on; those of models in memory are read anew where they differ."""
        self._beginnings.begin_with(begins)
        for key, resident in self._residents.items():
            if resident.loaded is not None:
                self._plan_beginnings(key)
        self._wake()

    def asked(self, key: ModelKey) -> None:
        """Somebody asks for a model: what is computed ahead gives way, and what may be next is known."""
        self._used_s = now_s = self._clock.monotonic_s()
        self._beginnings.give_way()
        self._habits.seen(key, now_s)
        self._likely = self._habits.likely_after(key, now_s)
        if key in self._unasked:
            self._unasked.remove(key)
            self.tallies[Kind.MODELS].over(used=True)
        if any(map(self._is_absent, self._likely)):
            self._wake()

    def given_back(self) -> None:
        """Somebody has done with a model."""
        self._used_s = self._clock.monotonic_s()

    def generated(self, key: ModelKey, category: Category, usage: Usage | None) -> None:
        """An answer ended well."""
        self._beginnings.generated(key, category, usage)

    def forget(self, key: ModelKey) -> None:
        """No row names the model any more."""
        self._habits.forget(key)
        self._likely = tuple(one for one in self._likely if one != key)
        self._files.forget(key)
        self._beginnings.forget(key)

    def close(self) -> None:
        """Begin nothing more, and end what is under way."""
        self._means, self._likely = Means(), ()
        self._files.close()
        self._beginnings.close()

    def _on_change(self, change: StateChange) -> None:
        key = change.record.key
        if change.record.state is ModelState.LOADING:
            self._files.loading(key)
        elif change.record.state is ModelState.LOADED:
            loaded = self._residents[key].loaded
            if loaded is not None and loaded.ahead:
                self._unasked.add(key)
                self.tallies[Kind.MODELS].fetched += 1
            self._plan_beginnings(key)
        elif change.before is ModelState.LOADED:
            self._beginnings.gone(key)
            if key in self._unasked:
                self._unasked.remove(key)
                self.tallies[Kind.MODELS].over(used=False)

    def _plan_beginnings(self, key: ModelKey) -> None:
        if self._means.beginnings:
            self._beginnings.plan(key, self._registry.record(key).categories)

    # What is done about it.

    def look(self, now_s: float) -> float:
        """Begin whatever there is time for; when to look again, monotonic, if nothing happens before."""
        if now_s > self._used_s + _LIKELY_S:
            self._likely = ()
        likely = tuple(filter(self._is_absent, self._likely))
        self._files.look(now_s, self._waiting(), likely)
        if self._is_quiet():
            self._beginnings.look()
        quiet_s = self._used_s + self._means.quiet_s
        return quiet_s if self._means.leisure is not None and likely and now_s < quiet_s else inf

    def candidate(self, now_s: float) -> Resident | None:
        """What may be loaded ahead now, if there is room for it without unloading anything."""
        if self._means.leisure is None or now_s < self._used_s + self._means.quiet_s or not self._is_quiet():
            return None
        return next((self._residents[key] for key in self._likely if self._is_absent(key)), None)

    def tried(self, resident: Resident) -> None:
        """It is being loaded, or cannot be: it is not tried again before somebody asks for a model."""
        self._likely = tuple(key for key in self._likely if key != resident.key)

    async def spare_bytes(self) -> int:
        """Memory for models that nobody has asked for; 0 where there is no time for them."""
        return 0 if self._means.leisure is None else await self._means.leisure.spare_bytes()

    def _waiting(self) -> list[ModelKey]:
        """Models whose turn has not come, in the order of the oldest wish."""
        residents = self._residents.values()
        waiting = [one for one in residents if one.wanted_since_s < inf and one.need is not None]
        waiting.sort(key=lambda one: one.wanted_since_s)
        return [one.key for one in waiting if self._is_absent(one.key)]

    def _is_absent(self, key: ModelKey) -> bool:
        """Whether it is a model of this machine that could be loaded, and is not."""
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
