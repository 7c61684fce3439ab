"""What was asked and written in the last minutes, in steps of ten seconds: what a plot of it needs.

A call counts where it ended; what it wrote counts evenly over the time it took. Memory is bounded by the steps that are
kept.
"""

from dataclasses import dataclass
from typing import Final

from conductor.domain.json import JsonObject

STEP_S: Final = 10.0
#: Ten minutes; the last step is under way.
STEPS: Final = 60
#: What is shorter lies within one step.
_MOMENT_S: Final = 0.01


@dataclass(slots=True)
class _Step:
    calls: int = 0
    errors: int = 0
    completion_tokens: float = 0.0


class Recent:
    """Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._steps: dict[int, _Step] = {}

    def add(
        self, ended_s: float, *, calls: int = 1, errors: int = 0, completion_tokens: int = 0, duration_s: float = 0.0
    ) -> None:
        """Count calls that ended together."""
        newest = int(ended_s // STEP_S)
        last = self._step(newest)
        last.calls += calls
        last.errors += errors
        if duration_s < _MOMENT_S:
            last.completion_tokens += completion_tokens
            return
        begun_s = ended_s - duration_s
        for number in range(max(int(begun_s // STEP_S), newest - STEPS + 1), newest + 1):
            within_s = min(ended_s, (number + 1) * STEP_S) - max(begun_s, number * STEP_S)
            self._step(number).completion_tokens += completion_tokens * within_s / duration_s

    def as_json(self, now_s: float) -> JsonObject:
        """Step by step, the oldest first."""
        newest = int(now_s // STEP_S)
        shown = [self._steps.get(number, _Step()) for number in range(newest - STEPS + 1, newest + 1)]
        return {
            "step_s": STEP_S,
            "calls": [step.calls for step in shown],
            "errors": [step.errors for step in shown],
            "completion_tokens": [round(step.completion_tokens, 1) for step in shown],
        }

    def _step(self, number: int) -> _Step:
        found = self._steps.get(number)
        if found is None:
            found = self._steps[number] = _Step()
            if len(self._steps) > STEPS:
                del self._steps[min(self._steps)]
        return found
