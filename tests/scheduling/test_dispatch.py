import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from conductor.domain.decision import ConfidenceParts, Decision, Estimate, NodeScore
from conductor.domain.device import Device, DeviceType, TaskKind
from conductor.domain.errors import InvalidInput, InvalidTransition, StorageError
from conductor.domain.event import TaskEvent
from conductor.domain.json import JsonObject, JsonValue
from conductor.domain.node import Node, NodeId
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import FINAL, Submission, Task, TaskId, TaskState, UserId
from conductor.domain.units import GIB
from conductor.domain.workload import Limits, Workload, WorkProfile
from conductor.scheduling.dispatch import Dispatcher
from conductor.scheduling.place import PlacementTable
from conductor.scheduling.pools import PoolNeed, Pools
from conductor.scheduling.ports import OutputListener
from conductor.scheduling.queue import FairQueue, QueueRules
from conductor.scheduling.retry import RetryPolicy
from conductor.scheduling.transitions import Transitions

pytestmark = pytest.mark.anyio

HERE, LEFT = NodeId("here"), NodeId("left long ago")
CAPACITY = PoolNeed(millicores=4000, memory_bytes=4 * GIB, network_slots=1)
Act = Callable[[Task], Awaitable[Outcome]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SteadyClock:
    """Wall time stands still, monotonic time runs: retries come due, records stay comparable."""

    def now_unix_s(self) -> float:
        return 1000.0

    def monotonic_s(self) -> float:
        return time.monotonic()


class MemoryJournal:
    """`Journal` in a list. `gate`, when cleared, holds back durability, and `broken` lets it fail."""

    def __init__(self) -> None:
        self.records: list[tuple[Task, TaskEvent]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken: StorageError | None = None

    def record(self, task: Task, event: TaskEvent) -> Awaitable[None]:
        self.records.append((task, event))
        return _Durable(self)

    def states(self, name: str) -> list[TaskState]:
        return [event.state for task, event in self.records if task.task_id == name]

    def details(self, name: str, key: str) -> list[JsonValue]:
        return [event.detail[key] for task, event in self.records if task.task_id == name and key in event.detail]


class _Durable:
    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    def __await__(self) -> Generator[Any, None, None]:
        if self._journal.broken is not None:
            raise self._journal.broken
        yield from self._journal.gate.wait().__await__()


class ScriptedExecutor:
    """`Executor` that acts each task's script, one act an attempt; the last act is repeated."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Act]] = {}
        self.started: list[str] = []
        self.running = 0
        self.most_running = 0

    def check(self, kind: str, spec: JsonObject) -> JsonObject:
        return spec

    def profile(self, kind: str, spec: JsonObject) -> WorkProfile:
        return WorkProfile(signature=kind)

    def is_inline(self, task: Task) -> bool:
        return task.submission.workload is not None and task.submission.workload.kind.startswith("inline")

    def inline(self, task: Task) -> Outcome | None:
        assert task.submission.workload is not None
        if task.submission.workload.kind == "inline-raising":
            raise RuntimeError("an inline kind is broken")
        return ended(task) if task.submission.workload.kind == "inline" else None

    async def run(self, task: Task, emit: OutputListener) -> Outcome:
        self.started.append(task.task_id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        script = self.scripts[task.task_id]
        act = script.pop(0) if len(script) > 1 else script[0]
        try:
            return await act(task)
        finally:
            self.running -= 1


def ended(task: Task, ending: Ending = Ending.SUCCEEDED) -> Outcome:
    return Outcome(ending=ending, message="", node_id=HERE, started_at_unix_s=1000.0, duration_s=0.0)


def ends(ending: Ending = Ending.SUCCEEDED) -> Act:
    async def act(task: Task) -> Outcome:
        await asyncio.sleep(0)
        return ended(task, ending)

    return act


def raises(error: Exception) -> Act:
    async def act(task: Task) -> Outcome:
        raise error

    return act


async def hangs(task: Task) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError("nobody ends the wait")


class House:
    """A dispatcher with everything it needs, in memory."""

    def __init__(self, *, capacity: PoolNeed = CAPACITY, rules: QueueRules | None = None) -> None:
        self.clock = SteadyClock()
        self.journal = MemoryJournal()
        self.transitions = Transitions(journal=self.journal, clock=self.clock, listeners=[self._hear])
        self.queue = FairQueue(rules)
        self.capacity = capacity
        self.pools = Pools(HERE, capacity)
        self.placement = PlacementTable()
        self.placement.upsert(a_node(), heard_at_s=0.0)
        self.executor = ScriptedExecutor()
        self.dispatcher = Dispatcher(
            transitions=self.transitions,
            queue=self.queue,
            pools={HERE: self.pools},
            placement=self.placement,
            executor=self.executor,
            retry=RetryPolicy(first_delay_s=0.01, jitter=0.0),
            clock=self.clock,
            uniform=lambda: 0.5,
            emit=lambda output: None,
            home=HERE,
        )
        self.now: dict[str, Task] = {}
        self._heard: dict[tuple[str, TaskState], asyncio.Event] = defaultdict(asyncio.Event)

    def _hear(self, task: Task, event: TaskEvent) -> None:
        self.now[task.task_id] = task
        self._heard[task.task_id, task.state].set()

    def submit(self, name: str, *script: Act, decision: Decision | None = None, **submission: object) -> Task:
        task = Task(
            task_id=TaskId(name),
            submission=a_submission(**submission),
            state=TaskState.SUBMITTED,
            submitted_at_unix_s=1000.0,
            updated_at_unix_s=1000.0,
        )
        self.executor.scripts[name] = list(script) or [ends()]
        self.transitions.begin(task)
        self.transitions.move(task, TaskState.DECIDED, decision=decision or a_decision())
        task, _ = self.transitions.move(task, TaskState.QUEUED)
        self.dispatcher.enqueue(task)
        return task

    async def reaches(self, name: str, state: TaskState) -> Task:
        await self._heard[name, state].wait()
        return self.now[name]

    async def end_of(self, *names: str) -> list[TaskState]:
        while not all(self.now[name].state in FINAL for name in names):
            await asyncio.sleep(0.001)
        return [self.now[name].state for name in names]

    def is_idle(self) -> bool:
        return (
            self.pools.free() == self.capacity
            and self.dispatcher.running == 0
            and self.dispatcher.waiting == 0
            and self.pools.shortage(TaskId("anyone"), self.capacity) is None
        )


@contextlib.asynccontextmanager
async def running(house: House) -> AsyncIterator[House]:
    """The dispatcher at work; at the end of the block it must end by itself."""
    async with asyncio.timeout(20):
        dispatching = asyncio.create_task(house.dispatcher.run())
        try:
            yield house
        finally:
            house.dispatcher.close()
            house.dispatcher.abandon()
            await dispatching


def a_node() -> Node:
    return Node(
        node_id=HERE,
        hostname="here",
        architecture="x86_64",
        operating_system="Linux",
        logical_cores=4,
        memory_bytes=4 * GIB,
        devices=(Device(device_id="cpu", type=DeviceType.CPU, name="cpu", compute_units=4),),
    )


def a_submission(
    *, kind: str = "command", memory_bytes: int = GIB // 100, user: str = "ann", max_retries: int | None = None
) -> Submission:
    return Submission(
        description="sharpen these photos",
        workload=Workload(kind=kind, limits=Limits(memory_bytes=memory_bytes)),
        user_id=UserId(user),
        max_retries=max_retries,
    )


def a_decision(*nodes: NodeId) -> Decision:
    one = Estimate(value=1.0, low=0.5, high=2.0, source="prior")
    return Decision(
        task_id="",
        device=DeviceType.CPU,
        runner_up=DeviceType.GPU,
        available_device=DeviceType.CPU,
        task_kind=TaskKind.GENERAL,
        priority=3,
        compute_units=one,
        duration_s=one,
        confidence=0.5,
        parts=ConfidenceParts(similarity=0.5, device_success=0.5, node_availability=0.5, resource_availability=0.5),
        nodes=tuple(
            NodeScore(node_id=node, score=1.0, thermal=1.0, queue=1.0, capability=1.0, history=1.0)
            for node in nodes or (HERE,)
        ),
        reasoning="",
        similar=(),
        device_probabilities=(),
        evidence={},
        models=(),
        decided_at_unix_s=1000.0,
    )


ROAD = [TaskState.SUBMITTED, TaskState.DECIDED, TaskState.QUEUED, TaskState.PLACED, TaskState.RUNNING]
AGAIN = [TaskState.QUEUED, TaskState.PLACED, TaskState.RUNNING]


async def test_a_task_that_succeeds_passes_every_state_once() -> None:
    async with running(House()) as house:
        house.submit("t")
        await house.end_of("t")

        assert house.journal.states("t") == [*ROAD, TaskState.SUCCEEDED]
        assert (house.now["t"].attempt, house.now["t"].node_id) == (1, HERE)
        assert house.is_idle()


async def test_a_failure_is_repeated_after_growing_delays_until_the_task_is_dead() -> None:
    async with running(House()) as house:
        house.submit("t", ends(Ending.EXIT_CODE))
        await house.end_of("t")

        assert house.journal.states("t") == [*ROAD, *AGAIN, *AGAIN, *AGAIN, TaskState.DEAD]
        assert house.journal.details("t", "retry_in_s") == [0.01, 0.015, 0.022]
        assert house.now["t"].attempt == 4


async def test_a_later_attempt_may_succeed() -> None:
    async with running(House()) as house:
        house.submit("t", ends(Ending.SIGNAL), ends(Ending.NODE_LOST), ends())
        await house.end_of("t")

        assert house.journal.states("t") == [*ROAD, *AGAIN, *AGAIN, TaskState.SUCCEEDED]
        assert house.now["t"].outcome == ended(house.now["t"])


async def test_a_task_may_forbid_its_own_repetition() -> None:
    async with running(House()) as house:
        house.submit("t", ends(Ending.EXIT_CODE), max_retries=0)

        assert await house.end_of("t") == [TaskState.DEAD]
        assert house.now["t"].attempt == 1


@pytest.mark.parametrize("ending", [Ending.OUT_OF_MEMORY, Ending.WALL_TIME, Ending.CANNOT_START, Ending.OUTPUT_LIMIT])
async def test_a_failure_that_would_only_repeat_ends_the_task_at_once(ending: Ending) -> None:
    async with running(House()) as house:
        house.submit("t", ends(ending))

        assert await house.end_of("t") == [TaskState.FAILED]
        assert house.now["t"].attempt == 1


async def test_work_begins_only_when_the_record_that_it_begins_is_durable() -> None:
    async with running(House()) as house:
        house.journal.gate.clear()
        house.submit("t")
        await house.reaches("t", TaskState.RUNNING)
        await asyncio.sleep(0.005)
        assert house.executor.started == []

        house.journal.gate.set()
        await house.end_of("t")
        assert house.executor.started == ["t"]


async def test_a_store_that_has_failed_for_good_stops_the_dispatcher_and_settles_nothing() -> None:
    house = House()
    dispatching = asyncio.create_task(house.dispatcher.run())
    house.journal.broken = StorageError("the disk is gone")
    house.submit("t")

    with pytest.raises(ExceptionGroup) as failed:
        await dispatching
    assert failed.group_contains(StorageError, match="the disk is gone")
    assert house.now["t"].state is TaskState.RUNNING
    assert house.executor.started == []


async def test_a_queued_task_is_cancelled_without_being_started() -> None:
    async with running(House(capacity=PoolNeed(millicores=1000, memory_bytes=GIB))) as house:
        house.submit("running", hangs)
        waiting = house.submit("t")
        await house.reaches("running", TaskState.RUNNING)
        await house.dispatcher.cancel(waiting, reason="changed my mind")

        assert house.journal.states("t") == [*ROAD[:3], TaskState.CANCELLED]
        assert house.journal.details("t", "reason") == ["changed my mind"]
        assert house.dispatcher.waiting == 0


async def test_a_task_cancelled_between_placement_and_its_first_step_is_settled_once() -> None:
    async with running(House()) as house:
        cancelling: list[asyncio.Task[None]] = []

        def cancel_when_placed(task: Task, event: TaskEvent) -> None:
            if event.state is TaskState.PLACED:
                cancelling.append(asyncio.create_task(house.dispatcher.cancel(task, reason="early")))

        house.transitions.listen(cancel_when_placed)
        house.submit("t", hangs)
        assert await house.end_of("t") == [TaskState.CANCELLED]
        await cancelling[0]

        assert house.journal.states("t") == [*ROAD, TaskState.CANCELLED]
        assert house.is_idle()


async def test_cancelling_a_running_task_ends_its_work_and_gives_back_its_slice() -> None:
    async with running(House()) as house:
        house.submit("t", hangs)
        await house.dispatcher.cancel(await house.reaches("t", TaskState.RUNNING), reason="too slow")

        task = house.now["t"]
        assert (task.state, task.outcome and task.outcome.ending) == (TaskState.CANCELLED, Ending.CANCELLED)
        assert house.journal.details("t", "reason") == ["too slow"]
        assert house.executor.running == 0
        assert house.is_idle()


async def test_a_task_waiting_for_its_next_attempt_can_be_cancelled() -> None:
    async with running(House()) as house:
        house.submit("t", ends(Ending.EXIT_CODE))
        while house.journal.details("t", "retry_in_s") == []:
            await asyncio.sleep(0)
        await house.dispatcher.cancel(house.now["t"], reason="hopeless")
        await asyncio.sleep(0.02)

        assert house.journal.states("t") == [*ROAD, TaskState.QUEUED, TaskState.CANCELLED]
        assert house.is_idle()


async def test_a_second_cancellation_waits_for_the_first_to_clear_up() -> None:
    cleared = asyncio.Event()

    async def clears_up_slowly(task: Task) -> Outcome:
        try:
            return await hangs(task)
        finally:
            await asyncio.sleep(0.01)
            cleared.set()

    async with running(House()) as house:
        task = house.submit("t", clears_up_slowly)
        await house.reaches("t", TaskState.RUNNING)
        await asyncio.sleep(0)
        first = asyncio.create_task(house.dispatcher.cancel(task, reason="first"))
        await asyncio.sleep(0.002)
        await house.dispatcher.cancel(task, reason="second")
        await first

        assert cleared.is_set()
        assert house.journal.details("t", "reason") == ["first"]


async def test_a_cancelled_task_is_not_repeated_although_its_executor_reports_a_failure() -> None:
    async def reports_the_signal(task: Task) -> Outcome:
        with contextlib.suppress(asyncio.CancelledError):
            await hangs(task)
        return ended(task, Ending.SIGNAL)

    async with running(House()) as house:
        house.submit("t", reports_the_signal)
        await house.dispatcher.cancel(await house.reaches("t", TaskState.RUNNING), reason="enough")

        assert house.journal.states("t") == [*ROAD, TaskState.CANCELLED]


async def test_a_settled_task_cannot_be_cancelled() -> None:
    async with running(House()) as house:
        before = house.submit("t")
        await house.end_of("t")
        with pytest.raises(InvalidTransition, match="is succeeded and cannot become cancelled"):
            await house.dispatcher.cancel(before, reason="late")

        assert house.journal.states("t") == [*ROAD, TaskState.SUCCEEDED]


async def test_abandoned_tasks_stay_as_they_are_for_the_next_start() -> None:
    house = House()
    async with running(house):
        house.submit("t", hangs)
        await house.reaches("t", TaskState.RUNNING)

    assert house.journal.states("t") == ROAD
    assert [task.task_id for task in house.transitions.unsettled()] == ["t"]
    assert house.executor.running == 0
    assert house.is_idle()


async def test_processes_that_die_with_the_server_do_not_settle_their_task() -> None:
    async def dies_of_the_interrupt(task: Task) -> Outcome:
        with contextlib.suppress(asyncio.CancelledError):
            await hangs(task)
        return ended(task, Ending.SIGNAL)

    house = House()
    async with running(house):
        house.submit("t", dies_of_the_interrupt, max_retries=0)
        await house.reaches("t", TaskState.RUNNING)

    assert house.journal.states("t") == ROAD


async def test_a_task_cancelled_while_the_server_stops_is_cancelled() -> None:
    house = House()
    async with running(house):
        house.submit("t", hangs)
        task = await house.reaches("t", TaskState.RUNNING)
        cancelling = asyncio.create_task(house.dispatcher.cancel(task, reason="mine"))
        await asyncio.sleep(0)
    await cancelling

    assert house.journal.states("t") == [*ROAD, TaskState.CANCELLED]


async def test_a_dispatcher_that_is_cancelled_itself_settles_nothing() -> None:
    house = House()
    dispatching = asyncio.create_task(house.dispatcher.run())
    house.submit("t", hangs)
    await house.reaches("t", TaskState.RUNNING)
    dispatching.cancel()
    await asyncio.wait([dispatching])

    assert house.journal.states("t") == ROAD


@pytest.mark.usefixtures("usual_logging")
async def test_an_executor_that_raises_breaks_one_attempt_and_stops_nothing_else() -> None:
    with capture_logs() as logged:
        async with running(House()) as house:
            house.submit("broken", raises(ValueError("a bug")))
            house.submit("sound", ends())
            await house.end_of("broken", "sound")

    assert (house.now["broken"].state, house.now["sound"].state) == (TaskState.DEAD, TaskState.SUCCEEDED)
    outcome = house.now["broken"].outcome
    assert outcome is not None
    assert (outcome.ending, house.now["broken"].attempt) == (Ending.EXCEPTION, 4)
    assert "'command' failed by a fault of its own: ValueError: a bug" in outcome.message
    assert [(line["event"], line["attempt"]) for line in logged] == [("attempt_broken", n) for n in (1, 2, 3, 4)]
    assert house.is_idle()


async def test_work_that_its_executor_refuses_is_not_repeated() -> None:
    async with running(House()) as house:
        house.submit("t", raises(InvalidInput("there is no workload kind 'command'")))

        assert await house.end_of("t") == [TaskState.FAILED]
        outcome = house.now["t"].outcome
        assert outcome is not None
        assert (outcome.ending, outcome.message) == (Ending.CANNOT_START, "there is no workload kind 'command'")


async def test_in_process_work_needs_no_slice_and_runs_at_home() -> None:
    async with running(House(capacity=PoolNeed())) as house:
        house.submit("t", kind="inline", decision=a_decision(LEFT))
        await house.end_of("t")

        assert house.journal.states("t") == [*ROAD, TaskState.SUCCEEDED]
        assert house.now["t"].node_id == HERE


@pytest.mark.parametrize("kind", ["inline-raising", "inline-without-outcome"])
async def test_a_broken_in_process_kind_stops_nothing_else(kind: str) -> None:
    async with running(House()) as house:
        house.submit("broken", kind=kind, max_retries=1)
        house.submit("sound", kind="inline")

        assert await house.end_of("broken", "sound") == [TaskState.DEAD, TaskState.SUCCEEDED]


async def test_a_task_whose_nodes_have_all_left_goes_to_one_of_today() -> None:
    async with running(House()) as house:
        house.submit("t", decision=a_decision(LEFT))

        assert await house.end_of("t") == [TaskState.SUCCEEDED]
        assert house.now["t"].node_id == HERE


async def test_a_promise_ends_with_the_task_it_was_made_to() -> None:
    async with running(House(rules=QueueRules(aging_s=0.0))) as house:
        house.submit("small", hangs, memory_bytes=GIB)
        await house.reaches("small", TaskState.RUNNING)
        large = house.submit("large", memory_bytes=4 * GIB)
        while house.pools.shortage(TaskId("other"), PoolNeed(memory_bytes=GIB)) is None:
            await asyncio.sleep(0.001)
        waiting = house.submit("other", memory_bytes=GIB)
        await asyncio.sleep(0.005)
        assert house.now["other"].state is TaskState.QUEUED
        assert "kept for task large" in house.dispatcher.pending_because(waiting).sentence

        await house.dispatcher.cancel(large, reason="never mind")
        assert await house.end_of("other") == [TaskState.SUCCEEDED]


async def test_a_large_task_gets_its_turn_although_small_ones_keep_coming() -> None:
    async with running(House(rules=QueueRules(aging_s=0.0))) as house:
        house.submit("s0", memory_bytes=3 * GIB)
        house.submit("large", memory_bytes=4 * GIB)
        number = 0
        while house.now["large"].state not in FINAL:
            number += 1
            house.submit(f"s{number}", memory_bytes=3 * GIB)
            await asyncio.sleep(0.001)

        assert await house.end_of("large") == [TaskState.SUCCEEDED]


async def test_five_hundred_tasks_share_four_slots_in_fair_order() -> None:
    house = House()
    names = [f"{user}{number:03}" for user in ("ann", "bob") for number in range(250)]
    for name in names:
        house.submit(name, user=name[:3])
    expected = [name for pair in zip(names[:250], names[250:], strict=True) for name in pair]
    async with running(house):
        assert set(await house.end_of(*names)) == {TaskState.SUCCEEDED}

        assert house.executor.started == expected
        assert house.executor.most_running == 4
        assert house.is_idle()


fates = st.lists(
    st.tuples(
        st.lists(st.sampled_from([*Ending, "raise", "hang"]), min_size=1, max_size=3),
        st.sampled_from(["command", "command", "inline"]),
        st.integers(1, 4),
        st.none() | st.sampled_from([TaskState.QUEUED, TaskState.PLACED, TaskState.RUNNING]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30, deadline=None)
@given(fates)
async def test_whatever_happens_every_slice_is_given_back_and_every_task_settled_once(
    fates: list[tuple[list[object], str, int, TaskState | None]],
) -> None:
    house = House(rules=QueueRules(aging_s=0.0))
    cancelling: list[asyncio.Task[None]] = []
    cancelled_in: dict[str, TaskState] = {}

    def cancel_in_time(task: Task, event: TaskEvent) -> None:
        if cancelled_in.get(task.task_id) is event.state:
            del cancelled_in[task.task_id]
            cancelling.append(asyncio.create_task(cancel(task)))

    async def cancel(task: Task) -> None:
        with contextlib.suppress(InvalidTransition):  # it was quicker
            await house.dispatcher.cancel(task, reason="chance")

    house.transitions.listen(cancel_in_time)
    async with running(house):
        for number, (script, kind, memory_gib, cancelled_when) in enumerate(fates):
            if cancelled_when is not None:
                cancelled_in[f"t{number}"] = cancelled_when
            acts = acts_of(script, may_hang=cancelled_when is not None)
            house.submit(f"t{number}", *acts, kind=kind, memory_bytes=memory_gib * GIB, max_retries=2)
        await house.end_of(*(f"t{number}" for number in range(len(fates))))
        await asyncio.gather(*cancelling)

        assert house.is_idle()
        for number in range(len(fates)):
            assert sum(state in FINAL for state in house.journal.states(f"t{number}")) == 1


def acts_of(script: list[object], *, may_hang: bool) -> Iterator[Act]:
    for act in script:
        if isinstance(act, Ending):
            yield ends(act)
        elif act == "hang":
            yield hangs if may_hang else ends()
        else:
            yield raises(RuntimeError("by chance"))


async def test_a_task_is_replaced_in_no_record_by_an_older_copy_of_itself() -> None:
    async with running(House()) as house:
        old = house.submit("t", ends(Ending.EXIT_CODE), hangs)
        while house.now["t"].attempt < 2:
            await asyncio.sleep(0.001)
        await house.dispatcher.cancel(replace(old), reason="by an old copy")

        assert house.now["t"].attempt == 2
        assert house.journal.states("t") == [*ROAD, *AGAIN, TaskState.CANCELLED]
