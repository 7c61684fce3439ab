"""What a database's error means: our error with a remedy, and whether it may pass by itself.

SQLite tells its failures apart by class and sentence, PostgreSQL by SQLSTATE; the latter arrive as plain `DBAPIError`
because asyncpg knows no class of its own for them. Not covered: translations of PostgreSQL's sentences.
"""

import contextlib
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from conductor.domain.errors import StorageError

#: Symptom in the database's sentence → what to do. The first match counts.
_REMEDIES: Final = MappingProxyType(
    {
        "malformed": "the database file is damaged; stop the server, move it aside and restore a backup "
        "(the ledger file beside it is independent and can still be verified)",
        "not a database": "the file is no SQLite database; move it aside or point `database_url` elsewhere",
        "database is locked": "another program holds the database; close it, or wait and try again",
        "disk is full": "the disk is full; free some space, nothing that was accepted is lost",
        "No space left": "the disk is full; free some space, nothing that was accepted is lost",
        "disk I/O error": "the disk cannot be read or written; check it, nothing that was accepted is lost",
        "readonly": "the database cannot be written; check the owner and permissions of the data folder",
        "unable to open database file": "check that the folder of `database_url` exists and that this user may write "
        "there",
        "Connect call failed": "no PostgreSQL server answers there; start it or correct `database_url`",
        "No such file": "no PostgreSQL server answers there; start it or correct `database_url`",
        "Connection refused": "no PostgreSQL server answers there; start it or correct `database_url`",
        "terminating connection": "PostgreSQL is stopping; start it again, nothing that was accepted is lost",
        "shutting down": "PostgreSQL is stopping; start it again, nothing that was accepted is lost",
        "starting up": "PostgreSQL is starting; wait a moment",
        "does not exist": "create it, or correct `database_url`",
        "authentication failed": "correct the user or password in `database_url`",
    }
)

#: SQLSTATE classes (PostgreSQL manual, appendix A) of failures that may pass: connection lost, transaction rolled back
#: by a conflict, resources (disk, memory, connections) exhausted, object in use, operator intervention, system error.
_PASSING_CLASSES: Final = frozenset({"08", "40", "53", "55", "57", "58"})
#: A standby that has not been promoted yet.
_READ_ONLY: Final = "25006"


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
    sentence = cause.splitlines()[0] if cause else type(failure).__name__
    for symptom, remedy in _REMEDIES.items():
        if symptom in cause:
            return f"{sentence}: {remedy}"
    return sentence


def may_pass(failure: BaseException) -> bool:
    """Whether the same rows may be stored later without anybody changing them.

    True for a full disk, a lock, a lost connection; False for a damaged file or a violated constraint.
    """
    if not isinstance(failure, DBAPIError):
        return isinstance(failure, OSError | NoConnectionFree)
    sqlstate = getattr(failure.orig, "sqlstate", None)
    if sqlstate is not None:
        return sqlstate == _READ_ONLY or sqlstate[:2] in _PASSING_CLASSES
    return failure.connection_invalidated or isinstance(failure, OperationalError)
