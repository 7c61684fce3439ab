"""What is known of a batch, and how much of batches is taken; kept as JSON documents, so new fields need defaults."""

from dataclasses import dataclass, field
from typing import Any, Final

_ENDED: Final = frozenset({"failed", "completed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBounds:
    """How much is taken.

    Args:
        at_once: lines that are answered side by side.
        retry_s: before the second try of a line that was refused for want of room; doubles.
    """

    batches: int = 1_000
    unfinished: int = 100
    lines: int = 50_000
    at_once: int = 4
    expires_after_s: int = 86_400
    retry_s: float = 1.0


@dataclass(slots=True, kw_only=True)
class Batch:
    """A batch; times are Unix seconds, None until they come."""

    batch_id: str
    endpoint: str
    input_file_id: str
    output_file_id: str
    error_file_id: str
    metadata: dict[str, str]
    created_at: int
    expires_at: int
    completion_window: str = "24h"
    status: str = "validating"
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    #: Which of the two files hold anything; known at the end.
    has_output: bool = False
    has_errors: bool = False

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in _ENDED
