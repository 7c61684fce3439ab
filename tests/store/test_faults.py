"""What goes wrong with a SQLite file: told clearly, and nothing that was accepted is lost or stored twice."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert
from tests.store.stores import Store, a_task, event_of, life_of, open_store, running_store

from conductor.adapters.sql.committer import GroupCommitter, Statement
from conductor.adapters.sql.database import Database
from conductor.adapters.sql.schema import settings
from conductor.adapters.sql.tasks import SqlTasks
from conductor.domain.errors import SettingsError, StorageError
from conductor.domain.task import TaskId, TaskState
from conductor.scheduling.ports import TaskFilter

pytestmark = pytest.mark.anyio


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "conductor.sqlite3"


@pytest.fixture
async def store(file: Path, anyio_backend: str) -> AsyncIterator[Store]:
    """A store whose waiters are told early, with pragmas that say at once when the file is locked."""
    database = await Database.open(f"sqlite:///{file}")
    await database.engine.dispose()
    on_connect(database, "busy_timeout=20")
    async with running_store(database, patience_s=0.1) as store:
        yield store
    await database.close()


def on_connect(database: Database, pragma: str) -> None:
    @event.listens_for(database.engine.sync_engine, "connect")
    def set_pragma(connection: Any, _record: object) -> None:
        connection.cursor().execute(f"PRAGMA {pragma}")


@pytest.fixture
def lock(file: Path, store: Store) -> Iterator[sqlite3.Connection]:
    """Another program in the middle of a transaction."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


async def submit(store: Store, *names: str) -> None:
    for name in names:
        store.tasks.record(a_task(name), event_of(a_task(name)))
    await store.committer.wait_durable("the submission")


async def names(store: Store) -> list[str]:
    return [task.task_id for task in await store.tasks.list(TaskFilter(limit=1000))]


async def test_a_locked_database_is_told_to_who_waits_and_the_rows_are_stored_once_it_is_free(
    store: Store, lock: sqlite3.Connection
) -> None:
    with pytest.raises(StorageError, match=r"submission is not stored yet: database is locked: another program holds"):
        await submit(store, "t1")
    with pytest.raises(StorageError, match=r"new tasks are refused .*database is locked"):
        store.committer.check_healthy()
    assert await names(store) == []

    lock.execute("ROLLBACK")
    await store.tasks.record(a_task("t2"), event_of(a_task("t2")))

    assert await names(store) == ["t2", "t1"]
    assert [event.state for event in await store.tasks.events(TaskId("t1"))] == [TaskState.SUBMITTED]
    store.committer.check_healthy()


async def test_transitions_that_come_while_the_database_fails_keep_their_order(
    store: Store, lock: sqlite3.Connection
) -> None:
    states = []
    for task in life_of("t1"):
        store.tasks.record(task, event_of(task))
        states.append(task.state)
        await asyncio.sleep(0.02)
    lock.execute("ROLLBACK")
    await store.committer.durable()

    assert [event.state for event in await store.tasks.events(TaskId("t1"))] == states
    assert await store.tasks.get(TaskId("t1")) == task


async def test_a_full_disk_is_told_and_nothing_is_lost_when_there_is_room_again(file: Path) -> None:
    database = await Database.open(f"sqlite:///{file}")
    await database.engine.dispose()
    pages = {"most": file.stat().st_size // 4096 + 4}

    @event.listens_for(database.engine.sync_engine, "begin")
    def bound(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages['most']}")

    async with running_store(database, patience_s=0.1) as store:
        many = [f"t{number:03}" for number in range(300)]
        with pytest.raises(StorageError, match=r"disk is full: .*free some space"):
            await submit(store, *many)
        with pytest.raises(StorageError, match="new tasks are refused"):
            store.committer.check_healthy()

        pages["most"] = 2**30
        await store.tasks.record(a_task("t900"), event_of(a_task("t900")))

        assert sorted(await names(store)) == [*many, "t900"]
        assert len(await store.tasks.events(TaskId("t000"))) == 1
        store.committer.check_healthy()
    await database.close()


async def test_a_database_that_still_fails_at_the_stop_says_how_many_rows_are_unwritten(
    file: Path, store: Store, lock: sqlite3.Connection
) -> None:
    committer = GroupCommitter(store.database, patience_s=0.1)
    statement = Statement(store.database, insert(settings))
    committer.add(statement, statement.row({"name": "a", "value": "1", "changed_at_unix_s": 1.0}))
    waiting = committer.durable()
    committer.close()

    with pytest.raises(StorageError, match="stopping with 1 unwritten rows: database is locked"):
        await committer.run()
    with pytest.raises(StorageError, match="stopping with 1 unwritten rows"):
        await waiting


async def test_rows_that_can_never_be_stored_end_the_store_and_nobody_waits_for_ever(file: Path) -> None:
    database = await Database.open(f"sqlite:///{file}")
    committer = GroupCommitter(database, patience_s=0.1)
    statement = Statement(database, insert(settings))
    for _ in range(2):
        committer.add(statement, statement.row({"name": "same", "value": "1", "changed_at_unix_s": 1.0}))

    with pytest.raises(StorageError, match="not stored: UNIQUE constraint failed"):
        await committer.run()
    with pytest.raises(StorageError, match="the store has stopped"):
        await committer.durable()
    with pytest.raises(StorageError, match="the store has stopped"):
        await committer.wait_durable("the submission")
    await database.close()


async def test_closing_writes_what_is_still_waiting(file: Path) -> None:
    async with open_store(f"sqlite:///{file}") as store:
        for task in life_of("t1"):
            store.tasks.record(task, event_of(task))

    async with open_store(f"sqlite:///{file}") as store:
        assert await store.tasks.get(TaskId("t1")) == task


async def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path) -> None:
    file.write_text("the quick brown fox jumps over the lazy dog\n" * 100)
    before = file.read_bytes()

    with pytest.raises(StorageError, match="not a database: the file is no SQLite database; move it aside"):
        await Database.open(f"sqlite:///{file}")
    assert file.read_bytes() == before


async def fill(file: Path) -> None:
    async with open_store(f"sqlite:///{file}") as store:
        await store.keep(*(a_task(f"t{number:03}", metadata={"filler": "x" * 500}) for number in range(200)))


@pytest.mark.parametrize("damage", ["cut off", "overwritten"])
async def test_a_damaged_file_is_refused_at_the_start(file: Path, damage: str) -> None:
    await fill(file)
    with file.open("r+b") as damaged:
        if damage == "cut off":
            damaged.truncate(file.stat().st_size // 2)
        else:
            damaged.seek(file.stat().st_size // 2 // 4096 * 4096)
            damaged.write(b"\xa5" * 8192)

    with pytest.raises(StorageError, match=r"malformed.*restore a backup"):
        await Database.open(f"sqlite:///{file}")


async def test_damage_that_appears_while_running_ends_the_store_with_the_remedy(file: Path) -> None:
    await fill(file)
    database = await Database.open(f"sqlite:///{file}")
    await database.engine.dispose()
    with file.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xa5" * (file.stat().st_size - 4096))

    committer = GroupCommitter(database, patience_s=0.1)
    task, store = a_task("t900"), SqlTasks(database, committer)
    waiting = store.record(task, event_of(task))

    with pytest.raises(StorageError, match=r"malformed: .*restore a backup"):
        await committer.run()
    with pytest.raises(StorageError, match=r"malformed: .*restore a backup"):
        await waiting
    await database.close()


async def test_a_missing_folder_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="unable to open database file: check that the folder"):
        await Database.open(f"sqlite:///{tmp_path / 'missing' / 'conductor.sqlite3'}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # aiosqlite ends its thread late
@pytest.mark.parametrize("exists", [False, True])
async def test_a_folder_that_may_not_be_written_is_told_with_the_remedy(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    file = folder / "conductor.sqlite3"
    if exists:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        file.chmod(0o444)
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:  # whom no permission stops
        for above in list(tmp_path.parents)[:3]:
            above.chmod(above.stat().st_mode | 0o011)
        tmp_path.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(StorageError, match=r"check (the owner and permissions|that the folder)"):
            await Database.open(f"sqlite:///{file}")
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("url", ["", "nonsense", "oracle://here/db", "mysql://here/db", "postgresql+psycopg9://x/y"])
async def test_an_address_we_do_not_know_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="database_url"):
        await Database.open(url)


async def test_passwords_are_not_shown_in_errors(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as failed:
        await Database.open("postgresql://ann:secret@127.0.0.1:1/conductor")

    assert "secret" not in failed.value.message
    assert "no PostgreSQL server answers there" in failed.value.message


@pytest.mark.parametrize("moment", [0, 1, 3])
async def test_what_was_reported_durable_survives_a_kill_in_the_middle_of_commits(file: Path, moment: int) -> None:
    command = [sys.executable, "-c", RECORDING, f"sqlite:///{file}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as program:
        assert program.stdout is not None
        reported = [program.stdout.readline() for _ in range(20 * moment + 1)]
        program.send_signal(signal.SIGKILL)
        reported += program.stdout.readlines()

    durable = {line.decode().strip() for line in reported if line.endswith(b"\n")}
    async with open_store(f"sqlite:///{file}") as store:
        kept = await store.tasks.list(TaskFilter(limit=100_000))
        assert durable
        assert durable <= {task.task_id for task in kept}
        for task in kept[:50]:
            events = await store.tasks.events(task.task_id)
            assert [event.state for event in events][-1] == task.state


RECORDING = """
import asyncio, sys
from tests.store.stores import event_of, life_of, open_store

async def record(store, number):
    for task in life_of(f"t{number:06}"):
        await store.tasks.record(task, event_of(task))
        print(task.task_id, flush=True)

async def main():
    async with open_store(sys.argv[1]) as store:
        number = 0
        while True:
            await asyncio.gather(*(record(store, number + other) for other in range(10)))
            number += 10

asyncio.run(main())
"""
