"""What a person said would have been right for a task."""

from dataclasses import dataclass

from conductor.domain.device import DeviceType, TaskKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What would have been right; None where nothing was said about it, but never everywhere.

    `by` is the user who said it last.
    """

    task_id: str
    description: str
    device: DeviceType | None
    task_kind: TaskKind | None
    priority: int | None
    by: str
    at_unix_s: float
