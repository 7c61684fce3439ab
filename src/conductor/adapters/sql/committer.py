"""Group commit: rows from everywhere, one transaction for all that came in while the last one was being written.

One commit costs one sync of the disk however many rows it holds, so throughput grows with load instead of falling. Rows
keep their order. When the database fails nothing is dropped: the batch is kept and tried again, `check_healthy` refuses
new work meanwhile, and whoever waits is told after `patience_s`. A connection that is lost during the commit itself
leaves open whether it was stored; the database is asked before the rows are written again, so that none is there twice.

Not covered: several processes writing to one SQLite file (the data folder's lock forbids that).
"""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final

import structlog
from sqlalchemy import Delete, Insert, Update
from sqlalchemy.exc import SQLAlchemyError

from conductor.adapters.sql.database import Database
from conductor.adapters.sql.failures import explain, may_pass
from conductor.domain.errors import StorageError

Row = tuple[Any, ...]
_RETRY_AFTER_S: Final = 0.5
#: Longer groups are handed to the driver in pieces, which bounds the memory of one call.
_MOST_ROWS: Final = 20_000

log = structlog.get_logger(__name__)


class Statement:
    """One INSERT, UPDATE or DELETE, compiled once for the database in use; rows follow the order of `parameters`."""

    def __init__(self, database: Database, statement: Insert | Update | Delete) -> None:
        if isinstance(statement, Insert):
            statement = statement.inline()  # the new keys are not needed, and asking for them costs a round trip each
        compiled = statement.compile(dialect=database.engine.dialect)
        self.sql = str(compiled)
        self.parameters: tuple[str, ...] = tuple(compiled.positiontup or ())

    def row(self, values: Mapping[str, Any]) -> Row:
        """Values by name, in the order the statement wants them."""
        return tuple(map(values.__getitem__, self.parameters))


_Group = dict[Statement, list[Row]]


class Durable:
    """Awaited by many at once; a waiter that is cancelled does not take the others with it."""

    __slots__ = ("future",)

    def __init__(self, future: "asyncio.Future[None]") -> None:
        self.future = future

    def __await__(self) -> Generator[Any, None, None]:
        return asyncio.shield(self.future).__await__()


class GroupCommitter:
    """Collects rows and commits them in groups; `run` must be running as a task of the owner."""

    def __init__(self, database: Database, *, patience_s: float) -> None:
        self._database = database
        self._patience_s = patience_s
        self._rows: _Group = {}
        self._count = 0
        self._sources: list[Callable[[], Iterable[tuple[Statement, list[Row]]]]] = []
        self._wake = asyncio.Event()
        self._durable: asyncio.Future[None] | None = None
        #: The group being written, or the last one that was.
        self._writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writing.set_result(None)
        self.failure: str | None = None  # what the database said last, while it fails
        self._stopped = False
        #: The last transaction begun, until it is known to be committed.
        self._undecided: str | None = None
        self._closing = asyncio.Event()
        self.commits = 0

    def before_commit(self, source: Callable[[], Iterable[tuple[Statement, list[Row]]]]) -> None:
        """Ask `source` for its own rows at each commit; they are written before the rows that were added."""
        self._sources.append(source)

    def add(self, statement: Statement, row: Row) -> None:
        """Queue one row for the next commit."""
        rows = self._rows.get(statement)
        if rows is None:
            rows = self._rows[statement] = []
        rows.append(row)
        self._count += 1
        self._wake.set()

    def durable(self) -> "Durable":
        """Done when everything queued so far (and perhaps a little more) is on disk; one future for the whole group."""
        if not self._count and not self._stopped and self._durable is None:
            return Durable(self._writing)  # nothing waits to be written: at most the present group is under way
        if self._durable is None:
            self._durable = asyncio.get_running_loop().create_future()
            if self._stopped:
                self._settle(self._durable, _has_stopped())
        self._wake.set()
        return Durable(self._durable)

    async def wait_durable(self, what: str) -> None:
        """Wait for `durable`, but not for ever.

        Raises:
            StorageError: the database has been failing for `patience_s`; the rows are kept and tried again.
        """
        waiting = self.durable().future
        if waiting.done():
            return waiting.result()
        while True:
            done, _ = await asyncio.wait([waiting], timeout=self._patience_s)
            if done:
                return waiting.result()
            if self.failure is not None:
                raise StorageError(
                    f"{what} is not stored yet: {self.failure}. It is kept in memory and will be stored as soon as "
                    "the database works again"
                )

    async def goes_on(self, *, within_s: float) -> bool:
        """Whether what is queued now is stored, or refused by the database, within this time; False where a commit hangs."""
        done, _ = await asyncio.wait([self.durable().future], timeout=within_s)
        if not done:
            return self.failure is not None
        return not self._stopped

    def check_healthy(self) -> None:
        """Refuse new work while the database fails.

        Raises:
            StorageError: what the database said, and the remedy.
        """
        if self.failure is not None:
            raise StorageError(f"new tasks are refused because the database fails: {self.failure}")

    async def run(self) -> None:
        """Commit groups until `close`.

        Raises:
            StorageError: rows were not written because the database failed for good, or still failed at `close`.
        """
        try:
            while not (self._closing.is_set() and self._is_idle()):
                await self._wake.wait()
                self._wake.clear()
                if not self._is_idle():
                    await self._commit(*self._take())
        finally:
            self._stopped = True
            self._settle(self._durable, _has_stopped())

    def close(self) -> None:
        """Let `run` end once everything is written."""
        self._closing.set()
        self._wake.set()

    def _is_idle(self) -> bool:
        return not self._count and self._durable is None

    def _take(self) -> tuple[_Group, "asyncio.Future[None]"]:
        rows, self._rows, self._count = self._rows, {}, 0
        self._writing = self._durable or asyncio.get_running_loop().create_future()
        self._durable = None
        group: _Group = {}
        for source in self._sources:
            group.update(source())
        return group | rows, self._writing

    async def _commit(self, group: _Group, durable: "asyncio.Future[None]") -> None:
        """Write one group, again and again until it is stored.

        Failures that may pass are waited for. Others, such as a damaged file or a violated constraint, end the server
        rather than being retried for ever.
        """
        try:
            while True:
                try:
                    await self._write(group)
                    break
                except (SQLAlchemyError, OSError) as failure:
                    if not may_pass(failure):
                        raise StorageError(f"not stored: {explain(failure)}") from failure
                    await self._wait_for_recovery(failure, rows=sum(map(len, group.values())))
        except BaseException as fatal:
            self._settle(durable, fatal if isinstance(fatal, StorageError) else _has_stopped())
            raise
        if self.failure is not None:
            log.info("storage_recovered")
            self.failure = None
        self.commits += 1
        self._settle(durable)

    async def _wait_for_recovery(self, failure: Exception, *, rows: int) -> None:
        self.failure = explain(failure)
        log.error("storage_failing", reason=self.failure, rows=rows)
        if self._closing.is_set():
            raise StorageError(f"stopping with {rows} unwritten rows: {self.failure}") from failure
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), _RETRY_AFTER_S)

    async def _write(self, group: _Group) -> None:
        """Write one group in one transaction, unless the last attempt at it was committed after all."""
        if self._undecided is None or not await self._database.was_committed(self._undecided):
            async with self._database.engine.begin() as connection:
                self._undecided = await self._database.transaction(connection)
                for statement, rows in group.items():
                    for start in range(0, len(rows), _MOST_ROWS):
                        await connection.exec_driver_sql(statement.sql, rows[start : start + _MOST_ROWS])
        self._undecided = None

    @staticmethod
    def _settle(durable: "asyncio.Future[None] | None", error: StorageError | None = None) -> None:
        if durable is None or durable.done():
            return
        if error is None:
            durable.set_result(None)
        else:
            durable.set_exception(error)
            durable.exception()  # nobody may be waiting, which is no error of its own


def _has_stopped() -> StorageError:
    return StorageError("the store has stopped; start the server again")
