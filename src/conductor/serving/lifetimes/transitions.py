"""Keep count of which model is asked for after which, so that the next one can be made ready.

Only changes from one model to another count: how often the same one is asked again says nothing of what comes next. Counts
halve with time (`half_life_s`), so habits of last week are gone. Nothing of what is asked is looked at or kept.

Pure; the time is handed in, seconds of a clock that never goes back. What is done about it is `serving.lifetimes.ahead`.
"""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)

#: A change that was seen once, a moment ago, is chance; twice is a habit.
_LEAST_COUNT: Final = 1.5
#: Of all changes away from a model; so there are three likely successors at most.
_LEAST_SHARE: Final = 1 / 3
#: Counts below this are forgotten.
_NOTHING: Final = 0.05


class Transitions(Generic[KeyT]):
    """Decayed counts of changes between keys.

    Args:
        half_life_s: after so long a count is worth half.
    """

    def __init__(self, *, half_life_s: float = 3600.0) -> None:
        self._half_life_s = half_life_s
        self._counts: dict[KeyT, dict[KeyT, tuple[float, float]]] = {}  # count, and when it was worth that much
        self._last: KeyT | None = None

    def seen(self, key: KeyT, now_s: float) -> None:
        """Somebody asked for this one."""
        before, self._last = self._last, key
        if before is None or before == key:
            return
        followers = self._counts.setdefault(before, {})
        followers[key] = (self._worth(followers.get(key), now_s) + 1.0, now_s)
        for other in [other for other, kept in followers.items() if self._worth(kept, now_s) < _NOTHING]:
            del followers[other]

    def count(self, before: KeyT, after: KeyT, now_s: float) -> float:
        """What the changes from one to the other are worth now."""
        return self._worth(self._counts.get(before, {}).get(after), now_s)

    def shares(self, key: KeyT, now_s: float) -> dict[KeyT, float]:
        """Which part of the changes away from a key went where; sums to 1, or is empty."""
        worth = {after: self._worth(kept, now_s) for after, kept in self._counts.get(key, {}).items()}
        total = sum(worth.values())
        return {after: count / total for after, count in worth.items()} if total > 0 else {}

    def likely_after(self, key: KeyT, now_s: float) -> tuple[KeyT, ...]:
        """What probably is asked for next, the likeliest first; at most three, empty where there is no habit."""
        shares = self.shares(key, now_s)
        habits = [
            after
            for after, share in shares.items()
            if share >= _LEAST_SHARE and self.count(key, after, now_s) >= _LEAST_COUNT
        ]
        return tuple(sorted(habits, key=lambda after: -shares[after]))

    def forget(self, key: KeyT) -> None:
        """Keep nothing that has to do with this one."""
        self._counts.pop(key, None)
        for followers in self._counts.values():
            followers.pop(key, None)
        if self._last == key:
            self._last = None

    def _worth(self, kept: tuple[float, float] | None, now_s: float) -> float:
        if kept is None:
            return 0.0
        count, at_s = kept
        return float(count * 0.5 ** ((now_s - at_s) / self._half_life_s))
