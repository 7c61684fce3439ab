"""Decide whether an attempt is repeated and how long to wait before the next.

The n-th repetition follows first_delay_s · factor^(n − 1), at most `max_delay_s`, spread by `jitter` so that tasks
which failed together do not return together. Which endings may be repeated is `domain.outcome.RETRYABLE`. Randomness is
handed in. Waiting out the delay is `queue.FairQueue.push_later`'s. Not covered: breakers for a node that fails always.
"""

from dataclasses import dataclass
from math import ceil, log

from conductor.domain.errors import InvalidInput
from conductor.domain.outcome import RETRYABLE, Ending
from conductor.domain.task import TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and after what delays. `jitter` is the largest deviation as a share of the delay, in 0–1."""

    max_retries: int = 3
    factor: float = 1.5
    first_delay_s: float = 1.0
    max_delay_s: float = 60.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        for name, holds, wanted in (
            ("max_retries", self.max_retries >= 0, "0 or more"),
            ("factor", self.factor >= 1, "1 or more"),
            ("first_delay_s", self.first_delay_s > 0, "greater than 0"),
            ("max_delay_s", self.max_delay_s >= self.first_delay_s, f"first_delay_s ({self.first_delay_s:g}) or more"),
            ("jitter", 0 <= self.jitter <= 1, "from 0 to 1"),
        ):
            if not holds:
                raise InvalidInput(f"retry.{name} is {getattr(self, name)}; it must be {wanted}", field=f"retry.{name}")

    def delay_s(
        self, attempt: int, ending: Ending, unit_random: float, *, max_retries: int | None = None
    ) -> float | None:
        """Seconds until the next attempt; None when there is none.

        Args:
            attempt: how many attempts were made, the one that just ended included; 1 or more.
            ending: how it ended.
            unit_random: a number drawn uniformly from 0–1.
            max_retries: the task's own limit, in place of the policy's.
        """
        allowed = self.max_retries if max_retries is None else max_retries
        if ending not in RETRYABLE or attempt > allowed:
            return None
        spread = 1.0 + self.jitter * (2.0 * unit_random - 1.0)
        return min(self.max_delay_s, self._delay_without_jitter_s(attempt) * spread)

    def _delay_without_jitter_s(self, attempt: int) -> float:
        steps = attempt - 1
        if self.factor > 1.0:  # further steps change nothing, and would overflow after some thousands
            steps = min(steps, ceil(log(self.max_delay_s / self.first_delay_s, self.factor)))
        return min(self.max_delay_s, self.first_delay_s * self.factor**steps)


def final_state(ending: Ending) -> TaskState:
    """The state in which a task ends when its last attempt ended so: `dead` if more attempts might have helped."""
    if ending is Ending.SUCCEEDED:
        return TaskState.SUCCEEDED
    if ending is Ending.CANCELLED:
        return TaskState.CANCELLED
    return TaskState.DEAD if ending in RETRYABLE else TaskState.FAILED
