"""What `Journal` and `TaskArchive` promise, on every database."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.stores import ROAD, Store, a_task, event_of, life_of, tasks

from conductor.domain.errors import NotFound
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Submission, Task, TaskId, TaskState, UserId
from conductor.scheduling.ports import TaskFilter

pytestmark = pytest.mark.anyio


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(tasks, min_size=1, max_size=3))
async def test_a_task_is_read_back_exactly_as_it_was_recorded(store: Store, tasks: list[Task]) -> None:
    await store.keep(*tasks)

    assert [await store.tasks.get(task.task_id) for task in tasks] == tasks


async def test_events_are_read_back_in_order_with_their_details(store: Store) -> None:
    tasks = list(life_of("t1"))
    recorded = [event_of(task, step=number, of=["ä", None, {"b": 1.5}]) for number, task in enumerate(tasks)]
    for task, event in zip(tasks, recorded, strict=True):
        await store.tasks.record(task, event)

    assert await store.tasks.events(TaskId("t1")) == recorded


async def test_transitions_within_one_commit_leave_the_last_state_and_every_event(store: Store) -> None:
    commits = store.committer.commits
    for task in (task for pair in zip(life_of("t1"), life_of("t2"), strict=True) for task in pair):
        durable = store.tasks.record(task, event_of(task))
    await durable

    assert store.committer.commits == commits + 1
    assert (await store.tasks.get(TaskId("t1"))).state is TaskState.SUCCEEDED
    assert [event.state for event in await store.tasks.events(TaskId("t2"))] == [TaskState.SUBMITTED, *ROAD]


async def test_a_task_may_be_inserted_in_one_commit_and_settled_in_the_next(store: Store) -> None:
    for task in life_of("t1"):
        await store.tasks.record(task, event_of(task))

    assert await store.tasks.get(TaskId("t1")) == task
    assert await store.tasks.counts() == {TaskState.SUCCEEDED: 1}


async def test_recorders_side_by_side_lose_nothing(store: Store) -> None:
    async def live(number: int) -> None:
        for task in life_of(f"t{number:03}"):
            await store.tasks.record(task, event_of(task))

    await asyncio.gather(*(live(number) for number in range(100)))

    assert await store.tasks.counts() == {TaskState.SUCCEEDED: 100}
    assert {len(await store.tasks.events(TaskId(f"t{number:03}"))) for number in range(100)} == {6}


async def test_a_waiter_that_is_cancelled_does_not_take_the_others_with_it(store: Store) -> None:
    task = a_task("t1")
    durable = store.tasks.record(task, event_of(task))

    async def wait() -> str:
        await durable
        return "stored"

    impatient, patient = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    impatient.cancel()

    assert await patient == "stored"
    assert await store.tasks.get(TaskId("t1")) == replace(task)


async def test_an_unknown_task_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="no task 't9'"):
        await store.tasks.get(TaskId("t9"))


async def listed(store: Store, wanted: TaskFilter) -> list[str]:
    return [task.task_id for task in await store.tasks.list(wanted)]


async def test_tasks_are_listed_newest_first_and_page_by_page(store: Store) -> None:
    await store.keep(*(a_task(f"t{number}") for number in range(5)))

    assert await listed(store, TaskFilter(limit=2)) == ["t4", "t3"]
    assert await listed(store, TaskFilter(limit=2, before=TaskId("t3"))) == ["t2", "t1"]
    assert await listed(store, TaskFilter(before=TaskId("t0"))) == []


async def test_a_listing_is_narrowed_by_state_and_user(store: Store) -> None:
    await store.keep(
        a_task("t1", state=TaskState.QUEUED, user_id=UserId("ann")),
        a_task("t2", state=TaskState.FAILED, user_id=UserId("ann")),
        a_task("t3", state=TaskState.FAILED, user_id=UserId("bob")),
    )
    failed = frozenset({TaskState.FAILED, TaskState.DEAD})

    assert await listed(store, TaskFilter(states=failed)) == ["t3", "t2"]
    assert await listed(store, TaskFilter(states=failed, user_id=UserId("ann"))) == ["t2"]
    assert await listed(store, TaskFilter(states=frozenset())) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("100%", ["t1"]),
        ("a_b", ["t2"]),
        ("%", ["t1"]),
        ("_", ["t2"]),
        ("/", ["t4"]),
        ("\\", ["t5"]),
        ("CLIP", ["t3"]),
        ("'; DROP TABLE tasks; --", []),
    ],
)
async def test_text_is_searched_as_it_is_written_in_any_case(store: Store, text: str, found: list[str]) -> None:
    descriptions = ["use 100% of it", "rename a_b", "Encode this Clip", "read a/b", "read a\\b", "axb, 1000 times"]
    await store.keep(*(a_task(f"t{number}", description=text) for number, text in enumerate(descriptions, 1)))

    assert await listed(store, TaskFilter(text=text)) == found


async def test_unsettled_tasks_are_those_with_work_left_oldest_first(store: Store) -> None:
    await store.keep(
        *(a_task(f"t{number}", state=state) for number, state in enumerate(TaskState)),
        a_task("t9", state=TaskState.DECIDED, workload=None),
    )

    states = [task.state for task in await store.tasks.unsettled()]
    assert states == [TaskState.SUBMITTED, *ROAD[:-1]]


async def test_an_idempotency_key_names_the_task_of_its_user(store: Store) -> None:
    await store.keep(
        a_task("t1", user_id=UserId("ann"), idempotency_key="k"),
        a_task("t2", user_id=UserId("bob"), idempotency_key="k"),
        a_task("t3", user_id=UserId("ann")),
        a_task("t4", user_id=UserId("ann")),
    )

    assert await store.tasks.with_key(UserId("ann"), "k") == "t1"
    assert await store.tasks.with_key(UserId("bob"), "k") == "t2"
    assert await store.tasks.with_key(UserId("eve"), "k") is None


async def test_counts_name_only_states_that_occur(store: Store) -> None:
    assert await store.tasks.counts() == {}

    await store.keep(a_task("t1", state=TaskState.DEAD), a_task("t2", state=TaskState.DEAD), a_task("t3"))

    assert await store.tasks.counts() == {TaskState.DEAD: 2, TaskState.SUBMITTED: 1}


def nested(levels: int) -> object:
    value: object = "core"
    for _ in range(levels):
        value = [value]
    return value


AWKWARD = {
    "half a surrogate pair": "\ud800",
    "a zero": "\x00",
    "200 bits": 2**200,
    "5000 digits": 10**5000,
    "not a number": float("nan"),
    "150 levels": nested(150),
    "230 levels": nested(230),
    "600 levels": nested(600),
    "no text as key": {1: 2},
}


@pytest.mark.parametrize("what", AWKWARD)
async def test_an_outcome_that_json_cannot_hold_does_not_stop_the_store(store: Store, what: str) -> None:
    awkward = AWKWARD[what]
    outcome = Outcome(
        ending=Ending.SUCCEEDED,
        message=awkward if isinstance(awkward, str) else "",
        node_id=NodeId("here"),
        started_at_unix_s=1.0,
        duration_s=1.0,
        result=awkward,  # type: ignore[arg-type]  # as careless as a task's code
    )
    await store.keep(replace(a_task("t1", state=TaskState.SUCCEEDED), outcome=outcome), a_task("t2"))

    kept = (await store.tasks.get(TaskId("t1"))).outcome
    assert kept is not None
    assert kept.ending is Ending.SUCCEEDED
    assert await listed(store, TaskFilter()) == ["t2", "t1"]


async def test_the_longest_submission_is_kept(store: Store) -> None:
    longest = Submission(
        description="ü" * 100_000, user_id=UserId("u" * 200), idempotency_key="🔑" * 255, metadata={"deep": nested(99)}
    )
    task = replace(a_task("t" + "z" * 18), submission=longest)

    await store.keep(task)

    assert (await store.tasks.get(task.task_id)).submission == longest
