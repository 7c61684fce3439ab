"""What people said about tasks, on every database."""

import pytest
from tests.store.stores import Store, a_task

from conductor.adapters.sql.corrections import SqlCorrections
from conductor.domain.correction import Correction
from conductor.domain.device import DeviceType, TaskKind

pytestmark = pytest.mark.anyio


def said(
    task_id: str, device: DeviceType | None, *, kind: TaskKind | None = None, priority: int | None = None
) -> Correction:
    return Correction(
        task_id=task_id,
        description=f"work of {task_id}",
        device=device,
        task_kind=kind,
        priority=priority,
        by="ada",
        at_unix_s=5.5,
    )


async def a_record(store: Store, *names: str) -> SqlCorrections:
    await store.keep(*(a_task(name, description=f"work of {name}") for name in names))
    return SqlCorrections(store.database, store.committer)


async def test_the_last_word_about_each_task_counts_and_is_read_back_whole(store: Store) -> None:
    record = await a_record(store, "t1", "t2")
    last = said("t1", DeviceType.DSP, kind=TaskKind.SIGNAL_PROCESSING, priority=2)
    for correction in (said("t1", DeviceType.GPU), said("t2", DeviceType.NPU), last):
        record.put(correction)
    await store.committer.durable()

    assert await record.latest(10) == [said("t2", DeviceType.NPU), last]
    assert await record.of_task("t1") == last
    assert await record.latest(1) == [last]


async def test_what_is_taken_back_does_not_count_until_something_is_said_again(store: Store) -> None:
    record = await a_record(store, "t1")
    record.put(said("t1", DeviceType.GPU))
    record.withdraw("t1", by="ada", at_unix_s=6.0)
    await store.committer.durable()
    assert await record.of_task("t1") is None
    assert await record.latest(10) == []

    record.put(said("t1", DeviceType.CPU))
    await store.committer.durable()

    assert await record.of_task("t1") == said("t1", DeviceType.CPU)


async def test_a_correction_of_the_kind_or_the_priority_alone_counts(store: Store) -> None:
    record = await a_record(store, "t1", "t2", "t3")
    words = [said("t1", None, kind=TaskKind.TRAINING), said("t2", None, priority=1), said("t3", DeviceType.GPU)]
    for correction in words:
        record.put(correction)
    await store.committer.durable()

    assert await record.latest(10) == words
    assert await record.of_task("t2") == words[1]


async def test_only_submissions_that_name_a_device_type_are_found(store: Store) -> None:
    asked = ["GPU", "a fridge", ["GPU"], None]
    await store.keep(
        *(a_task(f"t{n}", description=f"{n}", metadata={"device": device}) for n, device in enumerate(asked))
    )
    await store.keep(a_task("t8", description='says "device": itself'), a_task("t9", metadata={"devices": "GPU"}))

    record = SqlCorrections(store.database, store.committer)

    assert await record.asked_for(10) == [("0", DeviceType.GPU)]
