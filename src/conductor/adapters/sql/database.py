"""Open the database: connect, check that it is sound, make its tables or bring them up to date.

Decides how SQLite is tuned (WAL, a full sync per group commit) and that two programs never migrate at once. How foreign
errors become ours is `failures`'; what is stored is for `tasks`, `records` and `committer`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.resources import files
from sqlite3 import SQLITE_BUSY, OperationalError
from typing import Any, Self

import anyio
from sqlalchemy import event, inspect, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from conductor.adapters.sql.failures import storage_errors
from conductor.adapters.sql.migrations import HEAD
from conductor.adapters.sql.schema import metadata, revisions
from conductor.domain.errors import SettingsError, StorageError
from conductor.domain.units import MIB

#: Checking a larger file page by page would delay the start by seconds.
_CHECKED_UP_TO_BYTES = 64 * MIB
#: Taken before a migration, so that a second program waits, and (SQLite would otherwise commit each table by itself) so
#: that all its steps are one transaction: a program killed in the middle leaves nothing behind.
_LOCKS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7301962840)"}

_WAL_PAUSES_S = (0.01, 0.02, 0.05, *[0.1] * 50)


class Database:
    """A pool of connections to a database whose tables are up to date."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect to `sqlite:///path` or `postgresql://user@host/name` and migrate.

        Raises:
            SettingsError: the address is no database we know, or its driver is not installed.
            StorageError: the database cannot be reached, is damaged, or is of a newer version.
        """
        database = cls(_engine(url))
        try:
            with storage_errors(f"opening the database {_shown(url)}"):
                await database._check_soundness()
                await database._migrate()
        except BaseException:
            await database.close()
            raise
        return database

    @classmethod
    async def look(cls, url: str) -> Self | None:
        """Connect for reading, beside a running server too; nothing is made, migrated or checked. None where nothing is.

        Raises:
            SettingsError: the address is no database we know, or its driver is not installed.
            StorageError: the database cannot be reached.
        """
        database = cls(_engine(url))
        file = database.engine.url.database
        is_sqlite = database.engine.dialect.name == "sqlite"
        with storage_errors(f"reading the database {_shown(url)}"):
            if not is_sqlite or (file and await anyio.Path(file).exists()):
                async with database.engine.connect() as connection:
                    if await connection.run_sync(_revision) is not None:
                        return database
        await database.close()
        return None

    async def close(self) -> None:
        """Give back every connection; the last one folds SQLite's write-ahead log into the file."""
        await self.engine.dispose()

    @contextlib.asynccontextmanager
    async def reading(self, doing: str) -> AsyncIterator[AsyncConnection]:
        """A connection for queries."""
        with storage_errors(doing):
            async with self.engine.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def writing(self, doing: str) -> AsyncIterator[AsyncConnection]:
        """A connection whose transaction commits at the end of the block."""
        with storage_errors(doing):
            async with self.engine.begin() as connection:
                yield connection

    async def transaction(self, connection: AsyncConnection) -> str | None:
        """The number of a connection's transaction; None for SQLite, whose commits end with a definite answer."""
        if self.engine.dialect.name == "sqlite":
            return None
        return str((await connection.execute(text("SELECT pg_current_xact_id()::text"))).scalar_one())

    async def was_committed(self, transaction: str) -> bool:
        """Whether a transaction, whose connection was lost, was committed.

        Raises:
            TimeoutError: the server has not ended it yet.
        """
        query = text("SELECT pg_xact_status(CAST(CAST(:number AS text) AS xid8))")
        async with self.engine.connect() as connection:
            status = (await connection.execute(query, {"number": transaction})).scalar_one()
        if status == "in progress":
            raise TimeoutError("PostgreSQL has not ended the last transaction yet")
        return bool(status == "committed")

    async def _check_soundness(self) -> None:
        """Read every page of a small SQLite file, so that damage is told at the start and not in the middle of work."""
        file = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not file:
            return
        path = anyio.Path(file)
        if not await path.exists() or (await path.stat()).st_size > _CHECKED_UP_TO_BYTES:
            return
        async with self.engine.connect() as connection:
            verdict = (await connection.execute(text("PRAGMA quick_check(1)"))).scalar_one()
        if verdict != "ok":
            raise StorageError(
                f"the database {path} is malformed: {' '.join(verdict.split())}; stop the server, "
                "move the file aside and restore a backup (the ledger file beside it is independent and can still be "
                "verified)"
            )

    async def _migrate(self) -> None:
        async with self.engine.connect() as connection:
            if await connection.run_sync(_revision) == HEAD:
                return
        async with self.engine.begin() as connection:
            await connection.exec_driver_sql(_LOCKS[self.engine.dialect.name])
            revision = await connection.run_sync(_revision)
            if revision == HEAD:  # another program was quicker
                return
            if revision is not None and revision > HEAD:
                raise StorageError(
                    f"the database is of revision {revision}, newer than this program's {HEAD}; "
                    "install a newer Conductor"
                )
            await connection.run_sync(_make if revision is None else _upgrade)


def _engine(url: str) -> AsyncEngine:
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    try:
        parsed = make_url(url)
        parsed = parsed.set(drivername=drivers.get(parsed.drivername, parsed.drivername))
        engine = create_async_engine(
            parsed,
            pool_pre_ping=parsed.drivername.startswith("postgresql"),
            hide_parameters=True,  # what people wrote stands in them, and logs and errors are read by others
        )
    except (ArgumentError, NoSuchModuleError) as unknown:
        raise SettingsError(
            f"database_url {_shown(url)!r} is not understood; write sqlite:///path/to/file or postgresql://user@host/name",
            field="database_url",
        ) from unknown
    except ModuleNotFoundError as missing:
        raise SettingsError(
            f"database_url needs the package {missing.name}; install conductor[postgres]", field="database_url"
        ) from missing
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, _record: object) -> None:
    """WAL lets readers go on while one writer commits; FULL makes a commit survive a power cut, not only a crash.

    The log is folded into the file every 64 MB instead of every 4 MB: folding syncs twice, and a busy queue would spend a
    tenth of its time on it.
    """
    cursor = connection.cursor()
    _write_ahead(cursor)
    for pragma in (
        "synchronous=FULL",
        "busy_timeout=5000",
        "foreign_keys=ON",
        "cache_size=-16000",
        "wal_autocheckpoint=16000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Two programs that turn the same new file to WAL would wait for each other, so SQLite refuses one of them at once,
    whatever its `busy_timeout`: it asks again.
    """
    for pause_s in (*_WAL_PAUSES_S, None):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except OperationalError as busy:
            if pause_s is None or busy.sqlite_errorcode & 0xFF != SQLITE_BUSY:
                raise
            await_only(asyncio.sleep(pause_s))
        else:
            return


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return str(found) if found is not None else None


def _make(connection: Connection) -> None:
    """A new database needs no history: it gets the tables that all migrations together lead to."""
    metadata.create_all(connection, checkfirst=False)
    revisions.create(connection, checkfirst=True)
    connection.execute(revisions.insert().values(version_num=HEAD))


def _upgrade(connection: Connection) -> None:
    from alembic import command  # costs 0.2 s, needed only when a table changes
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("conductor.adapters.sql") / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _shown(url: str) -> str:
    """The address with its password masked."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url
