"""Decide which waiting task is next: fair between levels and users, bounded in length, and nobody waits for ever.

Weighted fair queueing in two stages, both start-time fair queueing (source: see `lane`): the four levels share service
in proportion to their weights (8 : 4 : 2 : 1), and within a level the users share equally; one user's tasks keep their
order. Service is counted in estimated compute-unit seconds, each task counted between `COST_FLOOR` and `COST_CEILING`.

The bounds on waiting, with c_x the largest cost in a level or of a user, and W_x the service it got:

- Share. While levels l and m (of weights w) both have tasks waiting, none refused and none overdue, over any stretch of
  pops |W_l / w_l − W_m / w_m| ≤ c_l / w_l + c_m / w_m; for two users of one level |W_u − W_v| ≤ c_u + c_v. So before a
  level has received W, another level receives at most w_m · (W + c_l) / w_l + c_m.
- Ageing. A task that has waited `aging_s` is overdue, and at least every `aging_turn`-th pop takes the oldest overdue
  task, whatever its level and cost. With `a` older tasks in the queue at that moment, it is taken within
  aging_turn · (a + 1) further pops that could have taken it: at most `aging_turn · depth` pops after `aging_s` seconds
  (tasks that re-enter carrying an older time of arrival count among the older ones).

A task that the caller refuses for now keeps its place while later ones pass it. So that small tasks do not pass a large
one for ever, the caller promises it what becomes free (`pools.Pools.promise`) once it is `overdue`.

Times are monotonic seconds, handed in. Not covered: durability (the journal), choice of the node (`place`), threads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from types import MappingProxyType
from typing import Final

from conductor.domain.errors import Conflict, Overloaded
from conductor.domain.task import Level, TaskId
from conductor.domain.units import format_duration
from conductor.scheduling.delayed import Delayed
from conductor.scheduling.lane import Accept, Lane, Waiting
from conductor.scheduling.rate import ServiceRate

__all__ = ["Accept", "Ahead", "FairQueue", "QueueRules", "Waiting"]

COST_FLOOR: Final = 0.01
COST_CEILING: Final = 3600.0
WEIGHTS: Final[Mapping[Level, float]] = MappingProxyType(
    {Level.CRITICAL: 8.0, Level.HIGH: 4.0, Level.MEDIUM: 2.0, Level.LOW: 1.0}
)
SHORTEST_RETRY_AFTER_S: Final = 0.5
LONGEST_RETRY_AFTER_S: Final = 60.0
RETRY_AFTER_UNKNOWN_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRules:
    """How long the queue may grow and how it shares; see the module for the bounds that follow."""

    depth: int = 1000
    weights: Mapping[Level, float] = field(default_factory=lambda: WEIGHTS)
    aging_s: float = 30.0
    aging_turn: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What is served before a task if nothing new arrives, nothing is refused and nothing becomes overdue."""

    tasks: int
    cost: float
    by_level: Mapping[Level, int]


class FairQueue:
    """Accepted tasks that wait for a place, those that wait for their next attempt included."""

    def __init__(self, rules: QueueRules | None = None) -> None:
        self.rules = rules or QueueRules()
        self.rate = ServiceRate()
        self._lanes = tuple(Lane() for _ in Level)
        self._weights = tuple(self.rules.weights[level] for level in Level)
        self._starts = [0.0 for _ in Level]
        self._virtual = 0.0
        self._waiting: dict[TaskId, Waiting] = {}
        self._later = Delayed()
        self._by_age: list[tuple[float, int, Waiting]] = []
        self._arrivals = count()
        self._pops_since_aged = 0
        self._turned_away = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._later)

    def __contains__(self, task_id: TaskId) -> bool:
        return task_id in self._waiting or task_id in self._later

    def push(self, item: Waiting, *, accepted_before: bool = False) -> None:
        """Add a task. Requeued and recovered tasks pass `accepted_before`, and the depth does not stop them.

        Raises:
            Overloaded: the queue is full; says when to come again.
            Conflict: the task is waiting already.
        """
        if not accepted_before:
            self.check_room(1, item.enqueued_at_s)
        if item.task_id in self._waiting or item.task_id in self._later:
            raise _second(item)
        self._enter(item)

    def check_room(self, count: int, now_s: float) -> None:
        """See that `count` more tasks would be taken.

        Raises:
            Overloaded: they would not; says when to come again.
        """
        if len(self) + count > self.rules.depth:
            raise self._overloaded(now_s)

    def push_later(self, item: Waiting, ready_at_s: float) -> None:
        """Add a task that was accepted before and may not start until `ready_at_s`.

        Raises:
            Conflict: the task is waiting already.
        """
        if item.task_id in self:
            raise _second(item)
        self._later.add(item, ready_at_s)

    def ready(self, now_s: float) -> list[Waiting]:
        """Let in the delayed tasks whose time has come, and return them; `pop` does this too. They age from then on."""
        entered = list(self._later.due(now_s))
        for item in entered:
            self._enter(item)
        return entered

    def next_ready_at_s(self) -> float | None:
        """When the next delayed task may start."""
        return self._later.next_at_s()

    def ready_at_s(self, task_id: TaskId) -> float | None:
        """When this task may start; None when it is not delayed."""
        return self._later.at_s(task_id)

    def pop(self, now_s: float, accept: Accept | None = None) -> Waiting | None:
        """Take the next task that `accept` takes, or None. `accept` is asked at most once per task, in fair order.

        It may reserve what the task needs: True means that the task leaves the queue. O(log n) without refusals.
        """
        taken = self.pop_many(1, now_s, accept)
        return taken[0] if taken else None

    def pop_many(self, limit: int, now_s: float, accept: Accept | None = None) -> list[Waiting]:
        """Take up to `limit` tasks as `pop` would; a task refused once is not asked again within the call.

        An error of `accept` rises when it is the first to be met; otherwise the tasks taken before it are returned.
        """
        if self._later:
            self.ready(now_s)
        taken: list[Waiting] = []
        refused: set[TaskId] = set()
        while len(taken) < limit and len(refused) < len(self._waiting):
            try:
                item = self._take(now_s, accept, refused)
            except Exception:
                if not taken:
                    raise
                break  # what is taken must not get lost; if the trouble lasts, the next call meets it first
            if item is None:
                break
            taken.append(item)
        if taken:
            self._note_served(len(taken), now_s)
        return taken

    def remove(self, task_id: TaskId) -> Waiting | None:
        """Take a task out, wherever it waits; None when it is not here."""
        item = self._waiting.pop(task_id, None)
        if item is None:
            return self._later.remove(task_id)
        self._lanes[item.level].remove(item)
        self._rest_if_empty()
        return item

    def overdue(self, now_s: float) -> Waiting | None:
        """The task that has waited longest, if it has waited longer than `aging_s`."""
        self._drop_departed()
        if not self._by_age or now_s - self._by_age[0][0] < self.rules.aging_s:
            return None
        return self._by_age[0][2]

    def line(self) -> list[Waiting]:
        """All tasks that may start, in the order of service as `Ahead` understands it; O(n log n)."""
        heads = [(level, iter(self._lanes[level].in_order())) for level in Level]
        nexts = {level: item for level, lane in heads if (item := next(lane, None)) is not None}
        lanes, starts, virtual = dict(heads), list(self._starts), self._virtual
        order = []
        while nexts:
            level = min(nexts, key=lambda level: (starts[level], level))
            item = nexts.pop(level)
            order.append(item)
            virtual = max(virtual, starts[level])
            starts[level] = virtual + item.cost / self._weights[level]
            if (following := next(lanes[level], None)) is not None:
                nexts[level] = following
        return order

    def ahead(self, task_id: TaskId) -> Ahead | None:
        """What is served before this task; None when it is delayed or not here. O(n log n)."""
        if task_id not in self._waiting:
            return None
        before: list[Waiting] = []
        for item in self.line():
            if item.task_id == task_id:
                break
            before.append(item)
        by_level = {level: sum(item.level is level for item in before) for level in Level}
        return Ahead(tasks=len(before), cost=sum(item.cost for item in before), by_level=by_level)

    def _enter(self, item: Waiting) -> None:
        if not COST_FLOOR <= item.cost <= COST_CEILING:  # also catches NaN, which max() turns into the floor
            item = item._replace(cost=min(COST_CEILING, max(COST_FLOOR, item.cost)))
        self._lanes[item.level].push(item)
        self._waiting[item.task_id] = item
        heappush(self._by_age, (item.enqueued_at_s, next(self._arrivals), item))

    def _take(self, now_s: float, accept: Accept | None, refused: set[TaskId]) -> Waiting | None:
        self._pops_since_aged += 1
        item = None
        if self._pops_since_aged >= self.rules.aging_turn and now_s - self._by_age[0][0] >= self.rules.aging_s:
            item = self._take_overdue(now_s, accept, refused)
        if item is not None:
            self._pops_since_aged = 0
            self._lanes[item.level].take_out_of_turn(item)
            self._charge(item, in_turn=False)
        else:
            item = self._take_in_turn(accept, refused)
            if item is None:
                self._pops_since_aged -= 1
                return None
            self._charge(item, in_turn=True)
        del self._waiting[item.task_id]
        self._rest_if_empty()
        return item

    def _take_in_turn(self, accept: Accept | None, refused: set[TaskId]) -> Waiting | None:
        starts, lanes = self._starts, self._lanes
        order = sorted([(starts[level], level) for level in (0, 1, 2, 3) if lanes[level].size])
        if accept is None:
            return lanes[order[0][1]].take() if order else None
        for _, level in order:
            item = lanes[level].take_accepted(accept, refused)
            if item is not None:
                return item
        return None

    def _take_overdue(self, now_s: float, accept: Accept | None, refused: set[TaskId]) -> Waiting | None:
        """The oldest overdue task that is accepted; it is left in its lane."""
        passed = []
        try:
            while (item := self.overdue(now_s)) is not None:
                if item.task_id not in refused:
                    if accept is None or accept(item):
                        return item
                    refused.add(item.task_id)
                passed.append(heappop(self._by_age))
            return None
        finally:
            for entry in passed:
                heappush(self._by_age, entry)

    def _charge(self, item: Waiting, *, in_turn: bool) -> None:
        level, started = item.level, self._virtual
        if self._starts[level] > started:
            started = self._starts[level]
        self._starts[level] = started + item.cost / self._weights[level]
        if in_turn:
            self._virtual = started

    def _drop_departed(self) -> None:
        """Discard the entries of tasks that have left, as far as the oldest that is still here."""
        by_age, waiting = self._by_age, self._waiting
        while by_age and waiting.get(by_age[0][2].task_id) is not by_age[0][2]:
            heappop(by_age)

    def _rest_if_empty(self) -> None:
        if not self._waiting:  # a busy period ends: all levels begin anew, and tags stay small
            self._starts = [0.0 for _ in Level]
            self._virtual = 0.0
            self._by_age.clear()
        elif len(self._by_age) > 2 * len(self._waiting) + 64:
            self._by_age = [entry for entry in self._by_age if self._waiting.get(entry[2].task_id) is entry[2]]
            heapify(self._by_age)

    def _note_served(self, tasks: int, now_s: float) -> None:
        self.rate.count(tasks, now_s)
        self._turned_away = max(0, self._turned_away - tasks)

    def _overloaded(self, now_s: float) -> Overloaded:
        """Tell the n-th caller turned away to come when n places will have become free, so they do not all return."""
        self._turned_away = min(self._turned_away + 1, self.rules.depth)
        per_s = self.rate.per_s(now_s)
        wait_s = RETRY_AFTER_UNKNOWN_S if per_s is None else self._turned_away / per_s if per_s else inf
        wait_s = min(LONGEST_RETRY_AFTER_S, max(SHORTEST_RETRY_AFTER_S, wait_s))
        return Overloaded(
            f"{len(self):,} tasks are waiting and the queue holds {self.rules.depth:,}; "
            f"try again in {format_duration(wait_s)}",
            retry_after_s=wait_s,
        )


def _second(item: Waiting) -> Conflict:
    return Conflict(f"task {item.task_id} is in the queue already", details={"task_id": item.task_id})
