"""Order the waiting tasks of one level: users take turns by what they have used, each user's tasks in order of arrival.

Start-time fair queueing (Goyal, Vin, Cheng 1996, "Start-time Fair Queuing", SIGCOMM): a user's tag is the virtual time
at which his next task may start; the smallest tag is served and moves on by the cost of the task. Nobody starts before
the present virtual time, so neither an idle user nor one whose tasks were refused for a while saves up turns.

Levels against each other, ageing, depth and delays are `queue`'s. Not covered: weights per user (all are equal).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import NamedTuple

from conductor.domain.task import Level, TaskId, UserId


class Waiting(NamedTuple):
    """A task in the queue. `cost` is its estimated work in compute-unit seconds, `enqueued_at_s` monotonic seconds.

    A named tuple, not a dataclass: thousands are made each second.
    """

    task_id: TaskId
    level: Level
    user_id: UserId
    cost: float
    enqueued_at_s: float


Accept = Callable[[Waiting], bool]


class _UserLine:
    """One user's tasks in this lane; the virtual start of his next task is `start`, or the present if that is later."""

    __slots__ = ("has_turn", "number", "start", "tasks")

    def __init__(self, number: int, start: float) -> None:
        self.number = number
        self.start = start
        self.has_turn = False
        self.tasks: OrderedDict[TaskId, Waiting] = OrderedDict()


class Lane:
    """The tasks of one level, `size` of them. Push, take and remove cost O(log users)."""

    def __init__(self) -> None:
        self._users: dict[UserId, _UserLine] = {}
        # Entries may be stale: a tag below the line's `start` is corrected, an empty line dropped, when it comes up.
        self._turns: list[tuple[float, int, _UserLine]] = []
        self._numbers = count()
        self._virtual = 0.0
        self.size = 0
        self._forget_at = 64

    def push(self, item: Waiting) -> None:
        """Put a task behind all others of its user."""
        line = self._users.get(item.user_id)
        if line is None:
            if len(self._users) >= self._forget_at:
                self._forget_idle_users()
            line = self._users[item.user_id] = _UserLine(next(self._numbers), self._virtual)
        line.tasks[item.task_id] = item
        self.size += 1
        if not line.has_turn:
            line.has_turn = True
            heappush(self._turns, (line.start, line.number, line))

    def take(self) -> Waiting:
        """Take the next task in turn; the lane must not be empty."""
        line = self._next_line()
        assert line is not None
        item = line.tasks.popitem(last=False)[1]
        self._charge(line, item.cost, in_turn=True)
        return item

    def take_accepted(self, accept: Accept, refused: set[TaskId]) -> Waiting | None:
        """Take the first task in turn that is accepted; those refused stay where they are and enter `refused`."""
        passed: list[tuple[float, int, _UserLine]] = []
        try:
            while (line := self._next_line()) is not None:
                item = _first_accepted(line, accept, refused)
                if item is not None:
                    del line.tasks[item.task_id]
                    self._charge(line, item.cost, in_turn=True)
                    return item
                passed.append(heappop(self._turns))
            return None
        finally:
            for entry in passed:
                heappush(self._turns, entry)

    def take_out_of_turn(self, item: Waiting) -> None:
        """Take one task wherever it stands; its user pays for it, and virtual time stands still."""
        line = self._users[item.user_id]
        del line.tasks[item.task_id]
        self._charge(line, item.cost, in_turn=False)

    def remove(self, item: Waiting) -> None:
        """Forget a task as if it had never come."""
        del self._users[item.user_id].tasks[item.task_id]
        self._shrink()

    def in_order(self) -> Iterator[Waiting]:
        """All tasks in the order in which `take` would return them if nothing else happened; O(n log users)."""
        virtual = self._virtual
        turns = [
            (line.start, line.number, iter(tuple(line.tasks.values()))) for line in self._users.values() if line.tasks
        ]
        heads = {number: next(tasks) for _, number, tasks in turns}
        heapify(turns)
        while turns:
            start, number, tasks = turns[0]
            item = heads[number]
            yield item
            virtual = max(start, virtual)
            following = next(tasks, None)
            if following is None:
                heappop(turns)
            else:
                heads[number] = following
                heapreplace(turns, (virtual + item.cost, number, tasks))

    def _next_line(self) -> _UserLine | None:
        """The user whose turn it is, left on top of the heap."""
        turns = self._turns
        while turns:
            tag, number, line = turns[0]
            if not line.tasks:
                heappop(turns)
                line.has_turn = False
            elif tag < line.start:
                heapreplace(turns, (line.start, number, line))
            else:
                return line
        return None

    def _charge(self, line: _UserLine, cost: float, *, in_turn: bool) -> None:
        """Move a user's tag on by a task's cost, and virtual time to the start of the task if it had its turn."""
        started = line.start if line.start > self._virtual else self._virtual
        line.start = started + cost
        if in_turn:
            self._virtual = started
        self._shrink()

    def _shrink(self) -> None:
        self.size -= 1
        if not self.size:  # a busy period ends: everyone begins anew, and tags stay small
            self._users.clear()
            self._turns.clear()
            self._virtual = 0.0

    def _forget_idle_users(self) -> None:
        """Drop users who have nothing waiting and no debt; they would start at the present virtual time anyway."""
        self._users = {
            user: line
            for user, line in self._users.items()
            if line.tasks or line.has_turn or line.start > self._virtual
        }
        self._forget_at = 2 * len(self._users) + 64  # keeps this O(1) per push, however many are in debt


def _first_accepted(line: _UserLine, accept: Accept, refused: set[TaskId]) -> Waiting | None:
    for task_id, item in line.tasks.items():
        if task_id not in refused:
            if accept(item):
                return item
            refused.add(task_id)
    return None
