"""What really happened when a task ran."""

from dataclasses import dataclass
from enum import StrEnum

from conductor.domain.json import JsonValue
from conductor.domain.node import NodeId


class Ending(StrEnum):
    """How one attempt ended. Everything but `SUCCEEDED` and `CANCELLED` is a failure."""

    SUCCEEDED = "succeeded"
    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    EXCEPTION = "exception"
    OUT_OF_MEMORY = "out_of_memory"
    WALL_TIME = "wall_time"
    CPU_TIME = "cpu_time"
    OUTPUT_LIMIT = "output_limit"
    CANNOT_START = "cannot_start"
    NODE_LOST = "node_lost"
    CANCELLED = "cancelled"


#: Endings that a further attempt may change. A task that outgrew its slice or cannot start would only fail again.
RETRYABLE = frozenset({Ending.EXIT_CODE, Ending.SIGNAL, Ending.EXCEPTION, Ending.NODE_LOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The measured result of one attempt.

    Args:
        ending: how it ended.
        message: one sentence for people: what happened and, for a failure, what to do.
        node_id: where it ran.
        duration_s: wall seconds from start to end.
        cpu_time_s: processor seconds over all its processes.
        peak_memory_bytes: most memory held at once; 0 where it was not measured.
        exit_code, signal: set when a process ended that way.
        result: the value a `python` or `embed` workload returned.
        stdout_tail, stderr_tail: the last 4,000 characters of each; the whole output is in the task's folder.
        output_bytes: bytes printed in all.
        confinement: what enforced the slice, for example `cgroup+pidns+netns`.
    """

    ending: Ending
    message: str
    node_id: NodeId
    started_at_unix_s: float
    duration_s: float
    cpu_time_s: float = 0.0
    peak_memory_bytes: int = 0
    exit_code: int | None = None
    signal: int | None = None
    result: JsonValue = None
    stdout_tail: str = ""
    stderr_tail: str = ""
    output_bytes: int = 0
    confinement: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the work was done."""
        return self.ending is Ending.SUCCEEDED
