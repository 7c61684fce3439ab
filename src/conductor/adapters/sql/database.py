"""Open the database: connect, check that it is sound, bring its tables up to date.

Decides how SQLite is tuned (WAL, a full sync per group commit) and how foreign errors become ours. What is stored is
for `tasks`, `records` and `committer`.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from typing import Any, Self

import anyio
from sqlalchemy import event, inspect, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from conductor.adapters.sql.migrations import HEAD
from conductor.domain.errors import SettingsError, StorageError
from conductor.domain.units import MIB

#: Checking a larger file page by page would delay the start by seconds.
_CHECKED_UP_TO_BYTES = 64 * MIB


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn the database's errors into `StorageError` with a remedy for the known causes."""
    try:
        yield
    except (SQLAlchemyError, OSError) as failure:
        raise StorageError(f"{doing} failed: {explain(failure)}") from failure


def explain(failure: BaseException) -> str:
    """Say what a database error means and what to do about it."""
    cause = str(failure.orig) if isinstance(failure, DBAPIError) and failure.orig else str(failure)
    remedies = {
        "malformed": "the database file is damaged; stop the server, move it aside and restore a backup "
        "(the ledger file beside it is independent and can still be verified)",
        "not a database": "the file is no SQLite database; move it aside or point `database_url` elsewhere",
        "database is locked": "another program holds the database; close it, or wait and try again",
        "disk is full": "the disk is full; free some space, nothing that was accepted is lost",
        "disk I/O error": "the disk cannot be read or written; check it, nothing that was accepted is lost",
        "readonly": "the database cannot be written; check the owner and permissions of the data folder",
        "Connect call failed": "no PostgreSQL server answers there; start it or correct `database_url`",
    }
    for symptom, remedy in remedies.items():
        if symptom in cause:
            return f"{cause.splitlines()[0]}: {remedy}"
    return cause.splitlines()[0] if cause else type(failure).__name__


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
                f"the database {path} is malformed: {verdict}; stop the server, move the file aside and restore a "
                "backup (the ledger file beside it is independent and can still be verified)"
            )

    async def _migrate(self) -> None:
        async with self.engine.begin() as connection:
            revision = await connection.run_sync(_revision)
            if revision == HEAD:
                return
            if revision is not None and revision > HEAD:
                raise StorageError(
                    f"the database is of revision {revision}, newer than this program's {HEAD}; "
                    "install a newer Conductor"
                )
            await connection.run_sync(_upgrade)


def _engine(url: str) -> AsyncEngine:
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    try:
        parsed = make_url(url)
        parsed = parsed.set(drivername=drivers.get(parsed.drivername, parsed.drivername))
        engine = create_async_engine(parsed, pool_pre_ping=parsed.drivername.startswith("postgresql"))
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
    """WAL lets readers go on while one writer commits; FULL makes a commit survive a power cut, not only a crash."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON", "cache_size=-16000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return str(found) if found is not None else None


def _upgrade(connection: Connection) -> None:
    from alembic import command  # costs 0.2 s, needed only when a table changes
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("conductor.adapters.sql") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _shown(url: str) -> str:
    """The address with its password masked."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url
