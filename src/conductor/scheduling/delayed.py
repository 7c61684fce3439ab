"""Hold tasks that may not start before a certain time, such as those waiting for their next attempt."""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count

from conductor.domain.task import TaskId
from conductor.scheduling.lane import Waiting


class Delayed:
    """Tasks by the time at which they become ready; add and remove cost O(log n)."""

    def __init__(self) -> None:
        self._ready_at_s: dict[TaskId, float] = {}
        self._items: dict[TaskId, Waiting] = {}
        # Entries of removed tasks stay until they come up.
        self._by_time: list[tuple[float, int, TaskId]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._items

    def add(self, item: Waiting, ready_at_s: float) -> None:
        """Hold a task that is not held yet."""
        self._items[item.task_id] = item
        self._ready_at_s[item.task_id] = ready_at_s
        heappush(self._by_time, (ready_at_s, next(self._numbers), item.task_id))

    def remove(self, task_id: TaskId) -> Waiting | None:
        """Let go of a task; None when it is not here."""
        self._ready_at_s.pop(task_id, None)
        return self._items.pop(task_id, None)

    def due(self, now_s: float) -> Iterator[Waiting]:
        """Let go of the tasks whose time has come, earliest first; each counts as arrived when it became ready."""
        while (ready_at_s := self.next_at_s()) is not None and ready_at_s <= now_s:
            task_id = heappop(self._by_time)[2]
            del self._ready_at_s[task_id]
            yield self._items.pop(task_id)._replace(enqueued_at_s=ready_at_s)

    def next_at_s(self) -> float | None:
        """When the next task becomes ready."""
        while self._by_time and self._ready_at_s.get(self._by_time[0][2]) != self._by_time[0][0]:
            heappop(self._by_time)
        return self._by_time[0][0] if self._by_time else None

    def at_s(self, task_id: TaskId) -> float | None:
        """When this task becomes ready; None when it is not here."""
        return self._ready_at_s.get(task_id)
