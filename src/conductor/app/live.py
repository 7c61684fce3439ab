"""What happens to a task right now, for whoever is watching: transitions and output as they come.

A watcher that does not keep up loses output pieces (it is told how many), never transitions; memory stays bounded.
Without a watcher nothing is kept: the record is the database, the output is in the task's folder.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from typing import Final

from conductor.domain.event import TaskEvent, TaskOutput
from conductor.domain.task import Task, TaskId

_MOST_PIECES: Final = 1000

LiveItem = TaskEvent | TaskOutput


class Watch:
    """One watcher's view of one task; iterate to receive items until the task is settled."""

    def __init__(self) -> None:
        self._items: deque[LiveItem] = deque()
        self._pieces = 0
        self._arrived = asyncio.Event()
        self._ended = False
        self.dropped = 0

    def put(self, item: LiveItem, *, last: bool) -> None:
        """Hand over one item; `last` ends the iteration after it."""
        if isinstance(item, TaskOutput):
            if self._pieces >= _MOST_PIECES:
                self.dropped += 1
                return
            self._pieces += 1
        self._items.append(item)
        self._ended = self._ended or last
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[LiveItem]:
        while True:
            while self._items:
                item = self._items.popleft()
                self._pieces -= isinstance(item, TaskOutput)
                yield item
            if self._ended:
                return
            self._arrived.clear()
            await self._arrived.wait()


class LiveView:
    """Passes transitions and output on to watchers, and wakes those who wait for a task's end."""

    def __init__(self) -> None:
        self._watches: defaultdict[TaskId, list[Watch]] = defaultdict(list)
        self._ends: dict[TaskId, asyncio.Future[Task]] = {}

    def on_transition(self, task: Task, event: TaskEvent) -> None:
        """Listener for `Transitions`."""
        watches = self._watches.get(task.task_id)
        if watches:
            for watch in watches:
                watch.put(event, last=task.is_settled)
        if task.is_settled:
            end = self._ends.pop(task.task_id, None)
            if end is not None and not end.done():
                end.set_result(task)

    def on_output(self, output: TaskOutput) -> None:
        """Listener for what running tasks print."""
        for watch in self._watches.get(output.task_id, ()):
            watch.put(output, last=False)

    def end_of(self, task_id: TaskId) -> "asyncio.Future[Task]":
        """Done with the settled task; ask only while the task is not settled."""
        end = self._ends.get(task_id)
        if end is None:
            end = self._ends[task_id] = asyncio.get_running_loop().create_future()
        return end

    @contextlib.contextmanager
    def watching(self, task_id: TaskId) -> Iterator[Watch]:
        """Receive what happens to one task from now on."""
        watch = Watch()
        self._watches[task_id].append(watch)
        try:
            yield watch
        finally:
            self._watches[task_id].remove(watch)
            if not self._watches[task_id]:
                del self._watches[task_id]
