"""The ledger's file on disk: one growing file of lines, a folder of tables beside it, and a lock.

`ledger.jsonl` is appended to and forced to the disk in one step per block; if that fails, the file is cut back to what it
was. `ledger.index/` can be deleted at any time. `ledger.lock` is held while the file is open for writing, so that two
processes cannot append; reading, for verification, needs no lock.

Not covered: network file systems that do not honour `flock` or `fdatasync`.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from conductor.domain.errors import Conflict, StorageError

_READ_BUFFER_BYTES: Final = 64 * 1024
_PRIVATE: Final = 0o600


class DiskLedgerFile:
    """A `LedgerFile`. Open it with `open`, which also takes the lock; `close` gives both back."""

    def __init__(self, path: Path, descriptor: int, lock: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._lock = lock
        self._size_bytes = os.fstat(descriptor).st_size
        self._distrusted = ""
        tables = path.with_suffix(".index")
        tables.mkdir(mode=0o700, exist_ok=True)
        self.leaf_offsets = RecordFile(tables / "leaves", 8)
        self.block_offsets = RecordFile(tables / "blocks", 16)
        self.nodes = RecordFile(tables / "nodes", 32)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the ledger at `path` for appending; a missing file begins as an empty ledger.

        Raises:
            Conflict: another process has it open.
            StorageError: it cannot be opened for writing.
        """
        with _storage(f"opening {path}"):
            lock = _locked(path.with_suffix(".lock"))
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
                try:
                    _sync_folder(path.parent)
                    return cls(path, descriptor, lock)
                except BaseException:
                    os.close(descriptor)
                    raise
            except BaseException:
                os.close(lock)
                raise

    def close(self) -> None:
        """Close the file and its tables and release the lock."""
        for table in (self.leaf_offsets, self.block_offsets, self.nodes):
            table.close()
        os.close(self._descriptor)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        """Where the next line will begin."""
        return self._size_bytes

    def append(self, data: bytes) -> None:
        """See `LedgerFile.append`."""
        with _storage(f"appending to {self._path}"):
            self._expect_untouched()
            try:
                _write_all(self._descriptor, data, self._size_bytes)
                os.fdatasync(self._descriptor)
            except OSError:
                self._cut_back()
                raise
        self._size_bytes += len(data)

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """See `LedgerFile.lines`."""
        return read_lines(self._path, start, self._size_bytes if stop is None else stop)

    def set_aside(self, offset: int) -> str:
        """See `LedgerFile.set_aside`."""
        with _storage(f"setting aside the end of {self._path}"):
            kept_in = self._keep(os.pread(self._descriptor, self._size_bytes - offset, offset), offset)
            os.ftruncate(self._descriptor, offset)
            os.fsync(self._descriptor)
        self._size_bytes = offset
        return str(kept_in)

    def _keep(self, data: bytes, offset: int) -> Path:
        """Write the bytes into a new file, never over an older one."""
        for attempt in range(1, 1000):
            kept_in = self._path.with_suffix(f".torn-{offset}-{attempt}")
            with suppress(FileExistsError):
                descriptor = os.open(kept_in, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
                try:
                    _write_all(descriptor, data, 0)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                _sync_folder(kept_in.parent)
                return kept_in
        raise StorageError(f"too many torn ends are kept beside {self._path}; move the .torn files away")

    def _expect_untouched(self) -> None:
        """Nobody else may have written, cut or removed the file; appending to something else would lose the entries."""
        if self._distrusted:
            raise StorageError(self._distrusted)
        found = os.fstat(self._descriptor)
        if found.st_nlink == 0:
            raise StorageError(f"{self._path} was deleted while in use; stop the server and put it back from a backup")
        if found.st_size != self._size_bytes:
            raise StorageError(
                f"{self._path} has {found.st_size:,} bytes where {self._size_bytes:,} were written: something else "
                "changed it while in use; stop the server and run `conductor ledger verify`"
            )

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._size_bytes)
            os.fsync(self._descriptor)
        except OSError as failure:
            self._distrusted = (
                f"{self._path} could not be cut back after a failed write ({failure.strerror}); restart the server, which "
                "sets an unfinished end aside"
            )


class RecordFile:
    """A `Records` table in a file. A missing or torn file is a shorter table."""

    def __init__(self, path: Path, width: int) -> None:
        self._path = path
        self._width = width
        with _storage(f"opening {path}"):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
            self._size_bytes = os.fstat(self._descriptor).st_size

    def __len__(self) -> int:
        return self._size_bytes // self._width

    def read(self, start: int, count: int = 1) -> bytes:
        """See `Records.read`."""
        if start >= len(self):
            return b""
        try:  # not `_storage`: a proof makes twenty of these calls, and a context manager would double its time
            return os.pread(self._descriptor, count * self._width, start * self._width)
        except OSError as failure:
            raise _storage_error(f"reading {self._path}", failure) from failure

    def write(self, start: int, data: bytes) -> None:
        """See `Records.write`."""
        offset = start * self._width
        with _storage(f"writing {self._path}"):
            _write_all(self._descriptor, data, offset)
            if self._size_bytes > offset + len(data):
                os.ftruncate(self._descriptor, offset + len(data))
        self._size_bytes = offset + len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_lines(path: Path, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
    """(byte offset, line with its newline) of any ledger file, also one that another process is appending to.

    Ends at `stop`, or where the file ended when reading began; the last line may lack its newline.

    Raises:
        StorageError: the file cannot be read.
    """
    with _storage(f"reading {path}"), path.open("rb", buffering=_READ_BUFFER_BYTES) as file:
        end = os.fstat(file.fileno()).st_size if stop is None else stop
        if start >= end:
            return
        offset = file.seek(start)
        for line in file:
            if offset >= end:
                return
            yield offset, line
            offset += len(line)


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        os.close(descriptor)
        raise Conflict(
            f"another process has the ledger beside {path} open; stop it, or give this one a data folder of its own"
        ) from taken
    return descriptor


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """A disk that is almost full takes part of a write and fails on the next."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable, not only its bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _storage(action: str) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise _storage_error(action, failure) from failure


def _storage_error(action: str, failure: OSError) -> StorageError:
    return StorageError(f"{action} failed: {failure.strerror or failure}; {_remedy(failure)}")


def _remedy(failure: OSError) -> str:
    match failure.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free some disk space; nothing was lost"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "make file and folder writable for the user who runs Conductor"
        case errno.ENOENT:
            return "the file or its folder does not exist"
    return "check the disk"
