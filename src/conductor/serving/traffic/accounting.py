"""Keep the books on who used which model how much: requests, tokens, errors and how long it took, by caller and model.

Memory is bounded by `most_accounts`: what the account that was used longest ago held is added to one account named `others`
before it is closed, so that totals stay true. Latencies are counted in fixed buckets; percentiles are read from those and
are as coarse. Nothing is written here; whoever wants it kept reads `snapshot`.
"""

from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from conductor.domain.generation import Usage
from conductor.domain.json import JsonObject

MOST_ACCOUNTS: Final = 2_000
OTHERS: Final = "others"

#: Upper bounds of latency buckets, seconds; a last one has none.
BOUNDS_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(slots=True)
class Account:
    """What one caller did with one model. `estimated_tokens` are those of `completion_tokens` that nobody told."""

    requests: int = 0
    errors: int = 0
    abandoned: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_tokens: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))

    def add(self, other: "Account") -> None:
        """Take over what another account holds."""
        self.requests += other.requests
        self.errors += other.errors
        self.abandoned += other.abandoned
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.estimated_tokens += other.estimated_tokens
        self.seconds += other.seconds
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]

    def percentile_s(self, share: float) -> float | None:
        """The bound of the bucket that the share falls in, seconds; None before anything was counted."""
        if not self.requests:
            return None
        left = share * self.requests
        for bound_s, count in zip(BOUNDS_S, self.buckets, strict=False):
            left -= count
            if left <= 0:
                return bound_s
        return BOUNDS_S[-1]

    def as_json(self) -> JsonObject:
        """For `/stats`."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "abandoned": self.abandoned,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "estimated_tokens": self.estimated_tokens,
            "mean_s": round(self.seconds / self.requests, 6) if self.requests else None,
            "p50_s": self.percentile_s(0.5),
            "p95_s": self.percentile_s(0.95),
        }


class Accounting:
    """All accounts of a process; to be used from one thread."""

    def __init__(self, *, most_accounts: int = MOST_ACCOUNTS) -> None:
        self._most = most_accounts
        self._accounts: OrderedDict[tuple[str, str], Account] = OrderedDict()
        self._others = Account()

    def __len__(self) -> int:
        """Accounts that are kept apart."""
        return len(self._accounts)

    def record(
        self,
        caller: str,
        model: str,
        *,
        seconds: float,
        usage: Usage | None,
        estimated_completion: int = 0,
        failed: bool = False,
        abandoned: bool = False,
    ) -> int:
        """Count one request that is over; returns the tokens counted.

        Args:
            usage: as the upstream told it; None where it told nothing, and `estimated_completion` is counted then.
            abandoned: the caller left before the end.
        """
        account = self._account(caller, model)
        account.requests += 1
        account.errors += failed
        account.abandoned += abandoned
        account.seconds += seconds
        account.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        if usage is None:
            account.completion_tokens += estimated_completion
            account.estimated_tokens += estimated_completion
            return estimated_completion
        account.prompt_tokens += usage.prompt_tokens
        account.completion_tokens += usage.completion_tokens
        return usage.prompt_tokens + usage.completion_tokens

    def snapshot(self) -> list[JsonObject]:
        """Every account, the latest used last, and what was closed."""
        rows: list[JsonObject] = [
            {"caller": caller, "model": model, **account.as_json()}
            for (caller, model), account in self._accounts.items()
        ]
        if self._others.requests:
            rows.append({"caller": OTHERS, "model": OTHERS, **self._others.as_json()})
        return rows

    def total(self) -> Account:
        """All accounts together."""
        total = Account()
        for account in (*self._accounts.values(), self._others):
            total.add(account)
        return total

    def _account(self, caller: str, model: str) -> Account:
        name = (caller, model)
        account = self._accounts.get(name)
        if account is None:
            if len(self._accounts) >= self._most:
                self._others.add(self._accounts.popitem(last=False)[1])
            account = self._accounts[name] = Account()
        else:
            self._accounts.move_to_end(name)
        return account
