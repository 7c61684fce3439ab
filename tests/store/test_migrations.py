"""Migrations lead from nothing to exactly the tables of `schema`, and back."""

import asyncio
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection
from tests.store.stores import a_task, open_store

from conductor.adapters.sql.database import Database
from conductor.adapters.sql.migrations import HEAD
from conductor.adapters.sql.schema import metadata
from conductor.domain.errors import StorageError
from conductor.domain.task import TaskId

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("begin", ["new", "from nothing", "from the first revision"])
async def test_new_and_migrated_databases_have_exactly_the_tables_of_the_schema(url: str, begin: str) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))

    database = await Database.open(url)
    if begin != "new":
        async with database.writing("migrating") as connection:
            await connection.run_sync(lambda sync: command.downgrade(migrations(sync), "base"))
            if begin == "from the first revision":
                await connection.run_sync(lambda sync: command.upgrade(migrations(sync), "0001"))
            await connection.run_sync(lambda sync: command.upgrade(migrations(sync), "head"))
    async with database.reading("comparing") as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_an_older_database_is_migrated_and_keeps_what_is_there(url: str) -> None:
    async with open_store(url) as store:
        await store.keep(a_task("t1"))
        async with store.database.writing("downgrading") as connection:
            await connection.run_sync(lambda sync: command.downgrade(migrations(sync), "0001"))

    async with open_store(url) as store:
        assert await store.tasks.get(TaskId("t1")) == a_task("t1")
        async with store.database.reading("looking") as connection:
            assert await connection.run_sync(tables) == {"alembic_version", *metadata.tables}


async def test_new_and_migrated_files_of_sqlite_are_described_in_the_same_words(tmp_path: Path) -> None:
    def described(connection: Connection) -> set[str]:
        return {
            " ".join(row.sql.split()) for row in connection.execute(text("SELECT sql FROM sqlite_master")) if row.sql
        }

    database = await Database.open(f"sqlite:///{tmp_path / 'conductor.sqlite3'}")
    async with database.reading("looking") as connection:
        made = await connection.run_sync(described)
    async with database.writing("migrating") as connection:
        await connection.run_sync(lambda sync: command.downgrade(migrations(sync), "base"))
        await connection.run_sync(lambda sync: command.upgrade(migrations(sync), "head"))
    async with database.reading("looking") as connection:
        migrated = await connection.run_sync(described)
    await database.close()

    assert made - migrated == migrated - made == set()


async def test_downgrading_removes_every_table(url: str) -> None:
    database = await Database.open(url)
    async with database.writing("downgrading") as connection:
        await connection.run_sync(lambda sync: command.downgrade(migrations(sync), "base"))
    async with database.reading("looking") as connection:
        assert await connection.run_sync(tables) == {"alembic_version"}
    await database.close()


async def test_a_downgraded_database_is_brought_up_to_date_again(url: str) -> None:
    database = await Database.open(url)
    async with database.writing("downgrading") as connection:
        await connection.run_sync(lambda sync: command.downgrade(migrations(sync), "base"))
    await database.close()

    async with open_store(url) as store:
        await store.keep(a_task("t1"))


def test_the_newest_revision_is_the_one_the_program_expects() -> None:
    assert ScriptDirectory.from_config(migrations(None)).get_heads() == [HEAD]


async def test_opening_again_keeps_what_is_there(url: str) -> None:
    async with open_store(url) as store:
        await store.keep(a_task("t1"))
    async with open_store(url) as store:
        assert await store.tasks.get(TaskId("t1")) == a_task("t1")


async def test_two_programs_may_open_a_new_database_at_once(url: str) -> None:
    opened = await asyncio.gather(*(Database.open(url) for _ in range(3)))

    async with opened[0].reading("looking") as connection:
        assert await connection.run_sync(tables) == {"alembic_version", *metadata.tables}
    for database in opened:
        await database.close()


async def test_a_database_of_a_newer_program_is_refused(url: str) -> None:
    database = await Database.open(url)
    async with database.writing("pretending") as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()

    with pytest.raises(StorageError, match=r"revision 9999, newer than .*; install a newer Conductor"):
        await Database.open(url)


async def test_a_program_killed_while_it_migrates_leaves_nothing_behind(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'killed.sqlite3'}"
    ended = subprocess.run([sys.executable, "-c", KILLED_WHILE_MIGRATING, url], check=False)

    assert ended.returncode == -signal.SIGKILL
    async with open_store(url) as store:
        await store.keep(a_task("t1"))


KILLED_WHILE_MIGRATING = """
import asyncio, os, signal, sys
import sqlalchemy as sa
from conductor.adapters.sql.database import Database

def die_before_the_third(_connection, _cursor, statement, *_):
    if "CREATE TABLE ledger_outbox" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

sa.event.listen(sa.engine.Engine, "before_cursor_execute", die_before_the_third)
asyncio.run(Database.open(sys.argv[1]))
"""


async def test_the_folder_of_the_database_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "100% ünï %(here)s"
    folder.mkdir()

    async with open_store(f"sqlite:///{folder / 'conductor.sqlite3'}") as store:
        await store.keep(a_task("t1"))


def migrations(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("conductor.adapters.sql") / "migrations"))
    config.attributes["connection"] = connection
    return config


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())
