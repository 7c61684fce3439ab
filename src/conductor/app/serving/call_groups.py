"""Calls of one model that ended within a moment, for which there were too many to tell of each: their figures together."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from conductor.app.serving.calls import Ending
from conductor.domain.model import Category, ModelName


class Brief(NamedTuple):
    """What is kept of one call until its group is told. `ended_s` is of the monotonic clock."""

    call_id: str
    ending: Ending
    ended_s: float
    duration_s: float
    first_token_s: float | None
    prompt_tokens: int
    completion_tokens: int
    #: Of the last, those that nobody told.
    estimated_tokens: int
    error_code: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallGroup:
    """Calls in the order in which they ended.

    Args:
        call_ids: a line each.
        durations_s: of those that succeeded.
        total_s: what all of them took together.
    """

    category: Category
    model: ModelName
    table_digest: str
    told_at_unix_s: float
    calls: Sequence[Brief]
    call_ids: bytes
    endings: Mapping[Ending, int]
    prompt_tokens: int
    completion_tokens: int
    estimated_tokens: int
    durations_s: Sequence[float]
    first_tokens_s: Sequence[float]
    total_s: float

    @classmethod
    def of(
        cls, category: Category, model: ModelName, table_digest: str, told_at_unix_s: float, calls: Sequence[Brief]
    ) -> Self:
        """Add up."""
        return cls(
            category=category,
            model=model,
            table_digest=table_digest,
            told_at_unix_s=told_at_unix_s,
            calls=calls,
            call_ids="".join(f"{call.call_id}\n" for call in calls).encode(),
            endings=Counter(call.ending for call in calls),
            prompt_tokens=sum(call.prompt_tokens for call in calls),
            completion_tokens=sum(call.completion_tokens for call in calls),
            estimated_tokens=sum(call.estimated_tokens for call in calls),
            durations_s=[call.duration_s for call in calls if call.ending is Ending.SUCCEEDED],
            first_tokens_s=[call.first_token_s for call in calls if call.first_token_s is not None],
            total_s=sum(call.duration_s for call in calls),
        )


#: Told at once; must not fail or wait.
GroupListener = Callable[[CallGroup], None]
