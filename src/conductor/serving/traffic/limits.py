"""Hold each caller to a number of requests a second and of tokens a minute: two token buckets a caller.

What a request will take in tokens is known when it is over. So a caller may begin while his token bucket is not empty, and
what he took is charged afterwards, into debt if need be: he waits until it is paid off. Who the callers are is for `access`.

Memory is bounded: a bucket that is full again says nothing and is forgotten first; beyond that the one that was used
longest ago goes. Not covered: limits shared by several processes.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from conductor.domain.errors import Overloaded

MOST_CALLERS: Final = 10_000
_MINUTE_S: Final = 60.0


class RateLimited(Overloaded):
    """A caller did more than he may; `field` names the setting that bounds it."""

    code = "access.rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one caller may do; None does not bound it.

    Args:
        requests_per_s: in the long run.
        burst: requests at once, at least 1.
        tokens_per_min: read and written together; as many at once.
    """

    requests_per_s: float | None = None
    burst: float = 1.0
    tokens_per_min: float | None = None

    def __post_init__(self) -> None:
        for name, bound in (("requests_per_s", self.requests_per_s), ("tokens_per_min", self.tokens_per_min)):
            if bound is not None and not bound > 0:
                raise ValueError(f"{name} is {bound}, not above 0")
        if self.burst < 1:
            raise ValueError(f"burst is {self.burst}; nobody could ask anything below 1")


@dataclass(slots=True)
class _Buckets:
    requests: float
    tokens: float
    filled_at_s: float


class Limits:
    """The buckets of all callers; to be used from one thread."""

    def __init__(self, allowance: Allowance, *, most_callers: int = MOST_CALLERS) -> None:
        self.allowance = allowance
        self._most = most_callers
        self._buckets: OrderedDict[str, _Buckets] = OrderedDict()

    def __len__(self) -> int:
        """Callers that are remembered."""
        return len(self._buckets)

    def admit(self, caller: str, now_s: float) -> None:
        """Count one request; `now_s` is monotonic.

        Raises:
            RateLimited: the caller must wait; it says how long, and nothing is counted.
        """
        allowance = self.allowance
        if allowance.requests_per_s is None and allowance.tokens_per_min is None:
            return
        held = self._filled(caller, now_s)
        if allowance.tokens_per_min is not None and held.tokens <= 0:
            wait_s = (1 - held.tokens) * _MINUTE_S / allowance.tokens_per_min
            raise RateLimited(
                f"this key may use {allowance.tokens_per_min:g} tokens a minute; try again in {wait_s:.1f} s",
                retry_after_s=wait_s,
                field="tokens_per_min",
            )
        if allowance.requests_per_s is not None:
            if held.requests < 1:
                wait_s = (1 - held.requests) / allowance.requests_per_s
                raise RateLimited(
                    f"this key may ask {allowance.requests_per_s:g} times a second, {allowance.burst:g} at once; "
                    f"try again in {wait_s:.2f} s",
                    retry_after_s=wait_s,
                    field="requests_per_s",
                )
            held.requests -= 1

    def charge(self, caller: str, tokens: int, now_s: float) -> None:
        """Count what a request took, once it is known."""
        if self.allowance.tokens_per_min is not None and tokens > 0:
            self._filled(caller, now_s).tokens -= tokens

    def _filled(self, caller: str, now_s: float) -> _Buckets:
        allowance = self.allowance
        held = self._buckets.get(caller)
        if held is None:
            self._make_room(now_s)
            held = self._buckets[caller] = _Buckets(allowance.burst, allowance.tokens_per_min or 0.0, now_s)
            return held
        self._buckets.move_to_end(caller)
        self._fill(held, now_s)
        return held

    def _fill(self, held: _Buckets, now_s: float) -> None:
        passed_s = max(0.0, now_s - held.filled_at_s)
        held.filled_at_s = now_s
        held.requests = min(self.allowance.burst, held.requests + passed_s * (self.allowance.requests_per_s or 0.0))
        per_min = self.allowance.tokens_per_min or 0.0
        held.tokens = min(per_min, held.tokens + passed_s * per_min / _MINUTE_S)

    def _make_room(self, now_s: float) -> None:
        """Forget from the oldest on what is full again, and at any rate the oldest of too many."""
        while self._buckets:
            oldest = next(iter(self._buckets.values()))
            if len(self._buckets) < self._most:
                self._fill(oldest, now_s)
                if not self._is_full(oldest):
                    return
            self._buckets.popitem(last=False)

    def _is_full(self, held: _Buckets) -> bool:
        return (self.allowance.requests_per_s is None or held.requests >= self.allowance.burst) and (
            held.tokens >= (self.allowance.tokens_per_min or 0.0)
        )
