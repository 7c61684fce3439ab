"""Ledger outbox, experiences, readings and settings, on every database."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sqlalchemy import select
from tests.store.stores import Store, a_task, devices, event_of, figures, names, plain, texts

from conductor.adapters.sql.schema import readings
from conductor.decisions.ports import Experience, FailedAttempt
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.json import JsonValue
from conductor.domain.node import NodeId, NodeReading
from conductor.domain.task import TaskId, TaskState

pytestmark = pytest.mark.anyio
on_one_store = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def test_entries_wait_in_order_until_they_are_sealed(store: Store) -> None:
    for index in range(5):
        store.outbox.put(index, f"t{index}", "decision", b"line %d \xff" % index)
    await store.committer.durable()
    store.outbox.sealed(3)
    await store.committer.durable()

    assert await store.outbox.waiting() == [b"line 3 \xff", b"line 4 \xff"]
    assert await store.outbox.next_index() == 5


async def test_the_next_index_is_known_although_everything_is_sealed(store: Store) -> None:
    assert await store.outbox.next_index() == 0

    store.outbox.put(0, "t1", "decision", b"line")
    store.outbox.sealed(1)
    await store.committer.durable()

    assert await store.outbox.waiting() == []
    assert await store.outbox.next_index() == 1


async def test_an_entry_is_durable_in_the_commit_of_its_transition(store: Store) -> None:
    commits = store.committer.commits
    task = a_task("t1")
    store.outbox.put(0, "t1", "decision", b"line")
    await store.tasks.record(task, event_of(task))

    assert store.committer.commits == commits + 1
    assert await store.outbox.waiting() == [b"line"]
    assert await store.tasks.get(TaskId("t1")) == task


async def test_the_latest_entry_of_each_kind_about_a_task_is_found(store: Store) -> None:
    for index, (subject, kind) in enumerate(
        [("t1", "decision"), ("t2", "decision"), ("t1", "outcome"), ("t1", "outcome")]
    ):
        store.outbox.put(index, subject, kind, b"line")
    await store.committer.durable()

    assert await store.outbox.entries_about("t1") == {"decision": 0, "outcome": 3}
    assert await store.outbox.entries_about("t9") == {}


async def test_a_model_with_a_long_name_is_found_too(store: Store) -> None:
    name = "a-model-of-a-long-name-Q4_K_M at http://gpu-server.example:11434/v1"
    store.outbox.put(0, name, "model", b"line")
    store.outbox.put(1, f"{name}x", "model", b"line")
    await store.committer.durable()

    assert await store.outbox.entries_about(name) == {"model": 0}


experiences = st.builds(
    Experience,
    task_id=names,
    description=texts,
    embedding=arrays.arrays(np.float32, 16, elements=st.floats(-1, 1, width=32)),
    device=devices,
    available_device=devices,
    task_kind=st.sampled_from(TaskKind),
    signature=texts,
    sizes=st.dictionaries(texts, figures, max_size=3),
    node_id=names,
    succeeded=st.booleans(),
    **dict.fromkeys(("duration_s", "compute_units", "predicted_duration_s", "confidence", "at_unix_s"), figures),
)


@on_one_store
@given(experiences)
async def test_an_experience_is_recalled_with_its_embedding_to_three_digits(store: Store, given: Experience) -> None:
    store.experiences.remember(given)
    await store.committer.durable()

    (recalled,) = await store.experiences.recall(1)
    np.testing.assert_allclose(recalled.embedding, given.embedding, rtol=2**-11, atol=2**-24)
    assert recalled.embedding.dtype == np.float32
    assert replace(recalled, embedding=given.embedding) == given


async def test_the_latest_experiences_are_recalled_oldest_first(store: Store) -> None:
    for name in ("t1", "t2", "t3"):
        store.experiences.remember(an_experience(name))
    await store.committer.durable()

    assert [experience.task_id for experience in await store.experiences.recall(2)] == ["t2", "t3"]
    assert list(await store.experiences.recall(0)) == []


async def lived(store: Store, name: str, *steps: tuple[TaskState, dict[str, Any]]) -> None:
    """Record a task with these transitions, one a second; it stands where the last one led."""
    task = a_task(name)
    store.tasks.record(task, event_of(task))
    for second, (state, detail) in enumerate(steps):
        task = replace(
            task,
            state=state,
            attempt=task.attempt + (state is TaskState.RUNNING),
            updated_at_unix_s=2000.0 + second,
        )
        store.tasks.record(task, event_of(task, **detail))
    await store.committer.durable()


def an_attempt_on(node: str, *end: tuple[TaskState, dict[str, Any]]) -> list[tuple[TaskState, dict[str, Any]]]:
    return [(TaskState.PLACED, {"node": node}), (TaskState.RUNNING, {}), *end]


FAILED: tuple[TaskState, dict[str, Any]] = (TaskState.QUEUED, {"ending": "signal", "message": "it went wrong"})
INTERRUPTED: tuple[TaskState, dict[str, Any]] = (TaskState.QUEUED, {"reason": "the server stopped"})
NEW: tuple[TaskState, dict[str, Any]] = (TaskState.QUEUED, {})


async def test_an_experience_is_recalled_with_the_failed_attempts_before_it(store: Store) -> None:
    done = (TaskState.SUCCEEDED, {})
    retried = [*an_attempt_on("desk", FAILED), *an_attempt_on("shed", FAILED), *an_attempt_on("desk", done)]
    await lived(store, "t1", NEW, *retried)
    await lived(store, "t2", NEW, *an_attempt_on("desk", INTERRUPTED), *an_attempt_on("desk", done))
    for name in ("t1", "t2"):
        store.experiences.remember(an_experience(name))
    await store.committer.durable()

    first, second = await store.experiences.recall(2)

    assert first.failed_attempts == (
        FailedAttempt(node_id="desk", at_unix_s=2003.0),
        FailedAttempt(node_id="shed", at_unix_s=2006.0),
    )
    assert second.failed_attempts == ()
    assert await store.experiences.unsettled_attempts() == {}


async def test_failed_attempts_of_tasks_that_wait_for_the_next_one_are_found(store: Store) -> None:
    await lived(store, "t1", NEW, *an_attempt_on("desk", FAILED))
    await lived(store, "t2", NEW)

    found = await store.experiences.unsettled_attempts()

    assert found == {"t1": [FailedAttempt(node_id="desk", at_unix_s=2003.0)]}


async def test_readings_older_than_a_time_are_forgotten(store: Store) -> None:
    store.readings.put([a_reading(10.0), a_reading(20.0), a_reading(30.0)])
    await store.committer.durable()
    store.readings.forget(20.0)
    await store.committer.durable()

    async with store.database.reading("looking") as connection:
        kept = (await connection.execute(select(readings.c.taken_at_unix_s))).scalars().all()
    assert kept == [20.0, 30.0]


@on_one_store
@given(st.dictionaries(names, plain, max_size=3))
async def test_settings_are_kept_until_they_are_unset(store: Store, wanted: dict[str, JsonValue]) -> None:
    for name, value in wanted.items():
        await store.settings.set(name, "an earlier value", at_unix_s=1.0)
        await store.settings.set(name, value, at_unix_s=2.0)

    assert await store.settings.all() == wanted
    assert [await store.settings.unset(name) for name in wanted] == [True] * len(wanted)
    assert await store.settings.all() == {}
    assert not await store.settings.unset("retry.factor")


def an_experience(name: str) -> Experience:
    return Experience(
        task_id=name,
        description="sharpen these photos",
        embedding=np.ones(4, np.float32),
        device=DeviceType.ISP,
        available_device=DeviceType.CPU,
        task_kind=TaskKind.IMAGE_PROCESSING,
        signature="python:sharpen",
        sizes={"input_bytes": 100.0},
        node_id="here",
        succeeded=True,
        duration_s=1.0,
        compute_units=1.0,
        predicted_duration_s=1.0,
        confidence=0.8,
        at_unix_s=1000.0,
    )


def a_reading(taken_at_unix_s: float) -> NodeReading:
    return NodeReading(
        node_id=NodeId("here"),
        taken_at_unix_s=taken_at_unix_s,
        cpu_utilisation=0.5,
        free_memory_bytes=10**9,
        free_disk_bytes=10**10,
        load_average_1m=1.0,
        zone_temperatures_celsius={"cpu": 50.5},
    )
