"""What goes wrong with a PostgreSQL server: nothing that was accepted is lost or stored twice."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.store.postgres import Cluster
from tests.store.stores import Store, a_task, event_of, life_of, open_store

from conductor.adapters.sql.database import Database
from conductor.domain.errors import StorageError
from conductor.domain.task import TaskId
from conductor.scheduling.ports import TaskFilter

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(postgres_url: str, anyio_backend: str) -> AsyncIterator[Store]:
    async with open_store(postgres_url, patience_s=0.1) as store:
        yield store


async def test_a_server_that_goes_away_and_comes_back_has_everything_once(cluster: Cluster, store: Store) -> None:
    await store.keep(a_task("t0"))
    await asyncio.to_thread(cluster.stop)
    try:
        for task in life_of("t1"):
            durable = store.tasks.record(task, event_of(task))
        with pytest.raises(StorageError, match="not stored yet"):
            await store.committer.wait_durable("the submission")
        with pytest.raises(StorageError, match="new tasks are refused"):
            store.committer.check_healthy()
        with pytest.raises(StorageError, match="reading a task failed"):
            await store.tasks.get(TaskId("t0"))
    finally:
        await asyncio.to_thread(cluster.start)
    await durable

    assert await store.tasks.get(TaskId("t1")) == task
    assert len(await store.tasks.events(TaskId("t1"))) == 6
    store.committer.check_healthy()


async def test_connections_ended_by_the_server_are_replaced(store: Store) -> None:
    await store.keep(a_task("t0"))
    async with store.database.reading("ending the others") as connection:
        await connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()")
        )

    await store.keep(a_task("t1"))
    assert (await store.tasks.get(TaskId("t1"))).task_id == "t1"


async def test_rows_whose_commit_was_not_confirmed_are_not_written_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the commit is lost on its way; only the server knows that it was carried out."""
    from asyncpg.transaction import Transaction

    commit, lost = Transaction.commit, []

    async def commit_and_lose_the_answer(self: Transaction) -> None:
        await commit(self)
        if not lost:
            lost.append(self)
            self._connection.terminate()
            raise ConnectionResetError("connection reset by peer")

    monkeypatch.setattr(Transaction, "commit", commit_and_lose_the_answer)
    for task in life_of("t1"):
        durable = store.tasks.record(task, event_of(task))
    await durable

    assert lost
    assert await store.tasks.get(TaskId("t1")) == task
    assert len(await store.tasks.events(TaskId("t1"))) == 6


async def test_rows_whose_commit_was_lost_are_written_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from asyncpg.transaction import Transaction

    commit, lost = Transaction.commit, []

    async def lose_the_commit(self: Transaction) -> None:
        if lost:
            await commit(self)
        else:
            lost.append(self)
            self._connection.terminate()
            raise ConnectionResetError("connection reset by peer")

    monkeypatch.setattr(Transaction, "commit", lose_the_commit)
    await store.keep(a_task("t1"))

    assert lost
    assert [task.task_id for task in await store.tasks.list(TaskFilter())] == ["t1"]
    assert len(await store.tasks.events(TaskId("t1"))) == 1


@pytest.mark.parametrize(("sqlstate", "passes"), [("53100", True), ("40P01", True), ("23505", False), ("XX001", False)])
async def test_the_servers_failures_are_told_apart_by_their_class(store: Store, sqlstate: str, passes: bool) -> None:
    from conductor.adapters.sql.failures import may_pass

    raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'as wanted' USING ERRCODE = '{sqlstate}'; END $$")
    with pytest.raises(StorageError, match="as wanted") as failed:
        async with store.database.writing("failing as wanted") as connection:
            await connection.execute(raising)

    assert failed.value.__cause__ is not None
    assert may_pass(failed.value.__cause__) is passes


async def test_a_database_that_does_not_exist_is_told_with_the_remedy(postgres_url: str) -> None:
    with pytest.raises(StorageError, match='database "nowhere" does not exist: create it'):
        await Database.open(postgres_url.replace("/postgres?", "/nowhere?"))


async def test_a_folder_without_a_server_is_told_with_the_remedy(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(StorageError, match="no PostgreSQL server answers there"):
        await Database.open(f"postgresql://ann@/db?host={tmp_path_factory.mktemp('none')}")
