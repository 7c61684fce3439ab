"""Take tasks from the queue, give each a slice of a node, run it, and settle or repeat it by its outcome.

One loop pops what can start now; each attempt is an asyncio task of one group that ends with the loop. Which task is next
is the queue's rule, where it fits is the pools', whether it is repeated is the retry policy's. In-process work is done
within the loop itself, so that a cheap task costs no task switch.

Not covered: moving a running task to another node.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from conductor.domain.clock import Clock
from conductor.domain.decision import Need
from conductor.domain.event import TaskOutput
from conductor.domain.json import JsonValue
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Level, Task, TaskId, TaskState
from conductor.domain.workload import Workload
from conductor.scheduling.lane import Waiting
from conductor.scheduling.mishaps import broken, cancelled
from conductor.scheduling.pending import Circumstances, Pending, why_pending
from conductor.scheduling.place import PlacementTable
from conductor.scheduling.pools import PoolNeed, Pools, Reservation, Shortage
from conductor.scheduling.ports import Executor
from conductor.scheduling.queue import COST_FLOOR, FairQueue
from conductor.scheduling.retry import RetryPolicy, final_state
from conductor.scheduling.transitions import Transitions

#: Tasks started in one go before other work gets its turn.
_MOST_AT_ONCE: Final = 256

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Attempt:
    running: "asyncio.Task[None]"
    cancelled_because: str | None = None


class Dispatcher:
    """Runs queued tasks. `run` must be running as a task of the owner."""

    def __init__(
        self,
        *,
        transitions: Transitions,
        queue: FairQueue,
        pools: Mapping[NodeId, Pools],
        placement: PlacementTable,
        executor: Executor,
        retry: RetryPolicy,
        clock: Clock,
        uniform: Callable[[], float],
        emit: Callable[[TaskOutput], None],
        home: NodeId,
    ) -> None:
        self._transitions = transitions
        self._queue = queue
        self._pools = pools
        self._placement = placement
        self._executor = executor
        self.retry = retry
        self._clock = clock
        self._uniform = uniform
        self._emit = emit
        self._home = home
        self._attempts: dict[TaskId, _Attempt] = {}
        self._reserved: dict[TaskId, Reservation] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._abandoning = False

    @property
    def running(self) -> int:
        """Attempts under way."""
        return len(self._attempts)

    @property
    def waiting(self) -> int:
        """Tasks in the queue, those that wait for their next attempt included."""
        return len(self._queue)

    def check_room(self, count: int) -> None:
        """See that `count` more tasks would be taken.

        Raises:
            Overloaded: the queue is full; says when to come again.
        """
        self._queue.check_room(count, self._clock.monotonic_s())

    def check_admissible(self, workload: Workload) -> None:
        """See that one more task with this workload would be taken and could run some day.

        Raises:
            Overloaded: the queue is full; says when to come again.
            Exhausted: no node could hold its slice even when idle.
        """
        self.check_room(1)
        if not self._executor.is_inline_kind(workload.kind):
            self._check_fits(slice_of(workload))

    def enqueue(self, task: Task) -> None:
        """Let a task in state `queued` take its turn; whether it is admissible was checked before it was accepted."""
        self._queue.push(self._waiting(task), accepted_before=True)
        self._wake.set()

    def _check_fits(self, need: PoolNeed) -> None:
        if not any(pools.could_hold(need) for pools in self._pools.values()):
            for pools in self._pools.values():
                pools.check(need)  # says which of its pools is too small

    async def run(self) -> None:
        """Dispatch until `close`; then wait for the attempts under way."""
        async with asyncio.TaskGroup() as group:
            while not self._closing:
                if self._start_what_fits(group):
                    await asyncio.sleep(0)  # more could start: let submissions, commits and attempts go on first
                    continue
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._next_retry_in_s())
                self._wake.clear()

    def close(self) -> None:
        """Start nothing more."""
        self._closing = True
        self._wake.set()

    def abandon(self) -> None:
        """End every attempt under way without settling its task; the next start of the server repeats them."""
        self._abandoning = True
        for attempt in self._attempts.values():
            if attempt.cancelled_because is None:
                attempt.running.cancel()

    def pending_because(self, task: Task) -> Pending:
        """Why a task in state `queued` does not run yet."""
        now_s = self._clock.monotonic_s()
        decision = task.decision
        assert decision is not None, "only decided tasks are queued"
        ready_at_s = self._queue.ready_at_s(task.task_id)
        return why_pending(
            Circumstances(
                level=Level.of_priority(decision.priority),
                ahead=self._queue.ahead(task.task_id),
                shortage=self._shortage(task),
                ranking=self._placement.rank(need_of(task)),
                retry_in_s=None if ready_at_s is None else ready_at_s - now_s,
                attempt=task.attempt,
                paused=self._closing,
                served_per_s=self._queue.rate.per_s(now_s),
            )
        )

    async def cancel(self, task: Task, *, reason: str) -> None:
        """End a task that is not settled, wherever it is on its road, and wait until its processes are gone.

        Raises:
            InvalidTransition: it is settled already.
        """
        attempt = self._attempts.get(task.task_id)
        if attempt is not None:
            if attempt.cancelled_because is None:  # a second cancellation would interrupt the clearing up of the first
                attempt.cancelled_because = reason
                # Not at once: cancelled before its first step, an attempt would never settle its task.
                asyncio.get_running_loop().call_soon(attempt.running.cancel)
            await asyncio.wait([attempt.running])
            return
        self._queue.remove(task.task_id)
        self._withdraw_promises(task.task_id)
        self._wake.set()
        _, durable = self._transitions.move(task, TaskState.CANCELLED, detail={"reason": reason})
        await durable

    def _start_what_fits(self, group: asyncio.TaskGroup) -> bool:
        """Start the tasks that have room; True when it stopped only to let others have a turn."""
        now_s = self._clock.monotonic_s()
        started = self._queue.pop_many(_MOST_AT_ONCE, now_s, self._reserve)
        for item in started:
            self._start(item, group)
        if len(started) < _MOST_AT_ONCE:
            self._keep_room_for_the_overdue(now_s)
            return False
        return True

    def _reserve(self, item: Waiting) -> bool:
        """Whether the task has room now; its slice is then reserved. In-process work needs none."""
        task = self._transitions.live(item.task_id)
        if task is None or self._executor.is_inline(task):
            return True
        need = slice_of(_workload(task))
        for pools in self._candidates(task):
            reservation = pools.reserve(item.task_id, need)
            if isinstance(reservation, Reservation):
                self._reserved[item.task_id] = reservation
                self._withdraw_promises(item.task_id)
                return True
        return False

    def _candidates(self, task: Task) -> Iterator[Pools]:
        """The pools of the nodes that the decision suggests, best first, leaving out those too small at any time."""
        need = slice_of(_workload(task))
        for node_id in self._preferred_nodes(task):
            pools = self._pools.get(node_id)
            if pools is not None and pools.could_hold(need):
                yield pools

    def _preferred_nodes(self, task: Task) -> Sequence[NodeId]:
        """The nodes the decision suggests, best first; those of today when it knew none or all of them have left."""
        assert task.decision is not None, "only decided tasks are placed"
        suggested = [node.node_id for node in task.decision.nodes if node.node_id in self._pools]
        return suggested or [node.node_id for node in self._placement.rank(need_of(task)).best]

    def _keep_room_for_the_overdue(self, now_s: float) -> None:
        """Small tasks would pass a large one for ever; what becomes free is promised to the one that waits longest."""
        item = self._queue.overdue(now_s)
        task = self._transitions.live(item.task_id) if item is not None else None
        if task is not None:
            for pools in self._candidates(task):
                pools.promise(task.task_id, slice_of(_workload(task)))
                break

    def _shortage(self, task: Task) -> Shortage | None:
        """What the first candidate lacks for the task now."""
        for pools in self._candidates(task):
            return pools.shortage(task.task_id, slice_of(_workload(task)))
        return None

    def _withdraw_promises(self, task_id: TaskId) -> None:
        for pools in self._pools.values():
            pools.withdraw(task_id)

    def _start(self, item: Waiting, group: asyncio.TaskGroup) -> None:
        task = self._transitions.live(item.task_id)
        reservation = self._reserved.get(item.task_id)
        if task is None:  # settled since it was queued
            return
        node_id = reservation.node_id if reservation is not None else self._home
        task, _ = self._transitions.move(task, TaskState.PLACED, node_id=node_id, detail={"node": node_id})
        if reservation is None:
            task, _ = self._transitions.move(task, TaskState.RUNNING, detail={"attempt": task.attempt + 1})
            self._settle(task, self._run_inline(task))
            return
        running = group.create_task(self._attempt(task, reservation), name=f"attempt {task.task_id}")
        self._attempts[task.task_id] = _Attempt(running)

    async def _attempt(self, task: Task, reservation: Reservation) -> None:
        """One attempt, from the durable record that it begins to the record of its outcome."""
        started_at = self._clock.now_unix_s()
        try:
            self._count_in(task, reservation)
            task, durable = self._transitions.move(task, TaskState.RUNNING, detail={"attempt": task.attempt + 1})
            await durable
            outcome = await self._run(task)
        except asyncio.CancelledError:
            if self._attempts[task.task_id].cancelled_because is None:
                raise  # abandoned, or the whole server ends: the next start repeats the attempt
            outcome = cancelled(task, started_at_unix_s=started_at, now_unix_s=self._clock.now_unix_s())
        finally:
            self._pools[reservation.node_id].release(reservation)
            self._placement.finished(task.task_id)
            self._reserved.pop(task.task_id, None)
            attempt = self._attempts.pop(task.task_id)
            self._wake.set()
        if self._abandoning and not outcome.succeeded and attempt.cancelled_because is None:
            return  # what ends the server (an interrupt from the terminal) may have hit the task's processes too
        self._settle(task, outcome, reason=attempt.cancelled_because)

    async def _run(self, task: Task) -> Outcome:
        started_at = self._clock.now_unix_s()
        try:
            return await self._executor.run(task, self._emit)
        except Exception as error:  # kinds are foreign code: whatever one raises must not stop all other tasks
            return self._broken(task, error, started_at)

    def _run_inline(self, task: Task) -> Outcome:
        started_at = self._clock.now_unix_s()
        try:
            outcome = self._executor.inline(task)
            assert outcome is not None, "is_inline promised an outcome"
        except Exception as error:  # as in `_run`
            return self._broken(task, error, started_at)
        return outcome

    def _broken(self, task: Task, error: Exception, started_at: float) -> Outcome:
        log.error("attempt_broken", task_id=task.task_id, attempt=task.attempt, exc_info=error)
        return broken(task, error, started_at_unix_s=started_at, now_unix_s=self._clock.now_unix_s())

    def _count_in(self, task: Task, reservation: Reservation) -> None:
        assert task.decision is not None, "only decided tasks are placed"
        self._placement.started(
            task.task_id,
            reservation.node_id,
            device=task.decision.available_device,
            compute_units=task.decision.compute_units.value,
            memory_bytes=reservation.need.memory_bytes,
            expected_s=task.decision.duration_s.value,
        )

    def _settle(self, task: Task, outcome: Outcome, reason: str | None = None) -> None:
        """Record the outcome: done, cancelled, to be repeated, or at its end."""
        detail: dict[str, JsonValue] = {"ending": outcome.ending.value, "message": outcome.message}
        if outcome.succeeded:
            self._transitions.move(task, TaskState.SUCCEEDED, outcome=outcome)
            return
        if outcome.ending is Ending.CANCELLED or reason is not None:
            self._transitions.move(task, TaskState.CANCELLED, outcome=outcome, detail={"reason": reason or ""})
            return
        delay_s = self.retry.delay_s(
            task.attempt, outcome.ending, self._uniform(), max_retries=task.submission.max_retries
        )
        if delay_s is None:
            detail["attempts"] = task.attempt
            self._transitions.move(task, final_state(outcome.ending), outcome=outcome, detail=detail)
            return
        task, _ = self._transitions.move(
            task, TaskState.QUEUED, outcome=outcome, detail=detail | {"retry_in_s": round(delay_s, 3)}
        )
        self._queue.push_later(self._waiting(task), self._clock.monotonic_s() + delay_s)
        self._wake.set()

    def _waiting(self, task: Task) -> Waiting:
        decision = task.decision
        assert decision is not None, "only decided tasks are queued"
        return Waiting(
            task_id=task.task_id,
            level=Level.of_priority(decision.priority),
            user_id=task.submission.user_id,
            cost=max(COST_FLOOR, decision.compute_units.value * decision.duration_s.value),
            enqueued_at_s=self._clock.monotonic_s(),
        )

    def _next_retry_in_s(self) -> float | None:
        ready_at_s = self._queue.next_ready_at_s()
        return None if ready_at_s is None else max(0.0, ready_at_s - self._clock.monotonic_s())


def need_of(task: Task) -> Need:
    """What a decided task asks of a node."""
    decision, workload = task.decision, task.submission.workload
    assert decision is not None, "only decided tasks are placed"
    return Need(
        device=decision.device,
        compute_units=decision.compute_units.value,
        memory_bytes=0 if workload is None else workload.limits.memory_bytes,
    )


def slice_of(workload: Workload) -> PoolNeed:
    """What a workload takes from the pools of its node while it runs: one core, its memory limit, its network slot."""
    limits = workload.limits
    return PoolNeed(millicores=1000, memory_bytes=limits.memory_bytes, network_slots=int(limits.network))


def _workload(task: Task) -> Workload:
    workload = task.submission.workload
    assert workload is not None, "only tasks with a workload are placed"
    return workload
