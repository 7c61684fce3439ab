"""Decide which priority people's corrections give to work like theirs.

The same text (case and spacing aside) takes the priority that was last said to be right for it, whichever that is. A very
similar one, found among the tasks that ran, takes it too, but only if it speaks of its hurry as that text did, and never
above what words can reach: whoever writes a description must not come by priority 1 through likeness.

Left to others: what outranks it (`urgency.choose_priority`: a stated priority and a deadline do), who may correct.
Not covered: texts that give orders to the scheduler (nothing is learned for them), and texts whose object only an attached
file shows.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import Final

from conductor.decisions.labels import text_digest
from conductor.decisions.memory import Memory
from conductor.decisions.urgency import HIGHEST_FROM_TEXT, Priority, Urgency, urgency_of

#: Cosine from which two descriptions are taken for the same work.
_VERY_SIMILAR: Final = 0.95


class CorrectedPriorities:
    """Priorities that people said would have been right, by text; of several tasks with one text the last word counts."""

    def __init__(self) -> None:
        self._said: defaultdict[str, OrderedDict[str, int]] = defaultdict(OrderedDict)

    def say(self, task_id: str, description: str, priority: int | None) -> None:
        """Take what counts about one task from now on; None takes back what was said."""
        digest = text_digest(description)
        said = self._said[digest]
        said.pop(task_id, None)
        if priority is not None:
            said[task_id] = priority
        if not said:
            del self._said[digest]

    def of(self, description: str, urgency: Urgency, found: Sequence[tuple[Memory, float]]) -> Priority | None:
        """The priority that corrections give to a description; None when they say nothing about it.

        Args:
            urgency: what the description says of its hurry.
            found: past tasks with their cosines, nearest first.
        """
        if not self._said or urgency.commands:
            return None
        exact = self._latest(description)
        if exact is not None:
            return Priority(exact, "a person corrected the same work to it")
        for memory, cosine in found:
            if cosine < _VERY_SIMILAR:
                break
            said = self._latest(memory.description)
            if said is not None and urgency_of(memory.description).priority == urgency.priority:
                return Priority(max(said, HIGHEST_FROM_TEXT), "a person corrected very similar work")
        return None

    def _latest(self, description: str) -> int | None:
        said = self._said.get(text_digest(description))
        return None if said is None else next(reversed(said.values()))
