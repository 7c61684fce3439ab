"""Which answers are kept, for how long, and which give way: a level in memory, and a slower one behind it.

An answer has a key, which stands for everything that it depends on, and a model, with which it is forgotten. Memory is
bounded in bytes and gives up what was used longest ago; nothing older than the age bound is given out. The slower level
is asked where memory has nothing, and told what to keep and to forget behind the answers, by `run`.

Not covered: what goes into a key and what may be kept at all (`app.serving.kept_answers`); telling other installations.
"""

import asyncio
import hashlib
import json
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Final

from conductor.domain.clock import Clock
from conductor.domain.json import JsonObject
from conductor.domain.model import ModelName
from conductor.serving.ports import AnswerStore, KeptAnswer, LevelCounts

#: What an entry takes besides its body: key, objects, its place in the order.
ENTRY_BYTES: Final = 512
#: Answers that wait for the slower level; further ones are only in memory.
_MOST_WAITING: Final = 256


def key_of(request: Mapping[str, object]) -> str:
    """SHA-256 of a request as JSON, lowercase hex; dataclasses in it count by their fields.

    Names are not sorted: answers are written in the order of their form, so another order is another request.

    Raises:
        TypeError, ValueError: it holds something that cannot be written as JSON.
    """
    written = json.dumps(request, separators=(",", ":"), default=_fields)
    return hashlib.sha256(written.encode("ascii")).hexdigest()


class MemoryLevel:
    """Answers in memory, those used last at the end; never more than `most_bytes` of them."""

    name: Final = "memory"

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: OrderedDict[str, tuple[ModelName, KeptAnswer]] = OrderedDict()
        self.counts = LevelCounts()

    def get(self, key: str, *, not_before_unix_s: float) -> KeptAnswer | None:
        """What is kept under the key; what is older is dropped."""
        found = self._entries.get(key)
        if found is not None and found[1].kept_at_unix_s < not_before_unix_s:
            self._drop(key)
            self.counts.expired += 1
            found = None
        if found is None:
            self.counts.misses += 1
            return None
        self.counts.hits += 1
        self._entries.move_to_end(key)
        return found[1]

    def put(self, key: str, model: ModelName, answer: KeptAnswer) -> None:
        """Keep it; one that is larger than everything may be is not."""
        if key in self._entries:
            self._drop(key)
        size = _size(answer)
        if size > self._most_bytes:
            return
        while self.counts.bytes + size > self._most_bytes:
            self._drop(next(iter(self._entries)))
            self.counts.evictions += 1
        self._entries[key] = (model, answer)
        self.counts.entries += 1
        self.counts.bytes += size

    def forget(self, model: ModelName | None) -> int:
        """Drop everything of one model, or of all."""
        keys = [key for key, (whose, _) in self._entries.items() if model in (None, whose)]
        for key in keys:
            self._drop(key)
        return len(keys)

    def _drop(self, key: str) -> None:
        _, answer = self._entries.pop(key)
        self.counts.entries -= 1
        self.counts.bytes -= _size(answer)


@dataclass(frozen=True, slots=True)
class Turn:
    """How often a model's answers, and all answers, had been forgotten when a call began."""

    everything: int
    model: int


class AnswerCache:
    """Both levels. Where there is a slower one, `run` must be running as a task of the owner.

    Args:
        most_age_s: nothing older is given out.
        slower: asked where memory has nothing.
    """

    def __init__(self, *, clock: Clock, most_bytes: int, most_age_s: float, slower: AnswerStore | None = None) -> None:
        self._clock = clock
        self._most_age_s = most_age_s
        self._memory = MemoryLevel(most_bytes)
        self._slower = slower
        self._turns: Counter[ModelName | None] = Counter()
        #: Models of which the slower level does not know yet that they are forgotten.
        self._leaving: Counter[ModelName | None] = Counter()
        self._waiting: deque[tuple[ModelName | None, str, KeptAnswer | None]] = deque()
        self._arrived = asyncio.Event()

    def turn(self, model: ModelName) -> Turn:
        """To be taken when a call begins, and given back with its answer."""
        return Turn(self._turns[None], self._turns[model])

    async def find(self, key: str, model: ModelName) -> KeptAnswer | None:
        """What is kept under this key, not older than it may be."""
        not_before_unix_s = self._clock.now_unix_s() - self._most_age_s
        found = self._memory.get(key, not_before_unix_s=not_before_unix_s)
        slower = self._slower
        if found is not None or slower is None or self._leaving[model] or self._leaving[None]:
            return found
        turn = self.turn(model)
        found = await slower.get(key, model, not_before_unix_s=not_before_unix_s)
        if found is None or turn != self.turn(model):
            return None
        self._memory.put(key, model, found)
        return found

    def keep(self, key: str, model: ModelName, body: bytes, turn: Turn) -> None:
        """Keep an answer, unless its model's answers were forgotten while it was written."""
        if turn != self.turn(model):
            return
        answer = KeptAnswer(body, self._clock.now_unix_s())
        self._memory.put(key, model, answer)
        if self._slower is not None and len(self._waiting) < _MOST_WAITING:
            self._waiting.append((model, key, answer))
            self._arrived.set()

    def forget(self, model: ModelName | None = None) -> int:
        """Forget all answers of one model, or all; how many of them were in memory. None is given out from here on."""
        self._turns[model] += 1
        if self._slower is not None:
            self._leaving[model] += 1
            self._waiting.append((model, "", None))
            self._arrived.set()
        return self._memory.forget(model)

    async def run(self) -> None:
        """Tell the slower level what comes, in order, until cancelled; and then what is left."""
        try:
            while True:
                await self._arrived.wait()
                await self.hand_on()
        finally:
            await self.hand_on()

    async def hand_on(self) -> None:
        """Tell the slower level what waits."""
        self._arrived.clear()
        while self._slower is not None and self._waiting:
            model, key, answer = self._waiting[0]
            if answer is not None and model is not None:
                await self._slower.put(key, model, answer)
            elif answer is None:
                await self._slower.forget(model)
                self._leaving[model] -= 1
            self._waiting.popleft()

    def levels(self) -> Mapping[str, LevelCounts]:
        """What each level did and holds, the fastest first."""
        levels = {self._memory.name: self._memory.counts}
        return levels if self._slower is None else levels | {self._slower.name: self._slower.counts}

    def as_json(self) -> JsonObject:
        """By level, with the share of hits; null where nobody asked it."""
        return {name: {**asdict(counts), "hit_rate": _rate(counts)} for name, counts in self.levels().items()}


def _fields(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    raise TypeError(f"a {type(value).__name__} is no part of a key")


def _size(answer: KeptAnswer) -> int:
    return len(answer.body) + ENTRY_BYTES


def _rate(counts: LevelCounts) -> float | None:
    asked = counts.hits + counts.misses
    return round(counts.hits / asked, 4) if asked else None
