"""The folder that holds everything an installation keeps: its layout, its privacy, and that only one process uses it.

Use is claimed with an exclusive lock on `conductor.lock`, which the system drops when the process ends, whatever ends
it; the file's text (process id, address) only tells others whom to talk to and is believed only while the lock is held.

Not covered: network file systems without locks (refused), a folder deleted under a running server, and two machines
started from copies of one folder, which then have the same node id.
"""

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE, S_ISDIR
from typing import Final, Self

import orjson
import structlog

from conductor.adapters.private_file import create_private, read_private
from conductor.domain.errors import Conflict, StorageError
from conductor.domain.node import NodeId

_NODE_ID: Final = re.compile(r"n[0-9a-f]{16}")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """The process that uses a folder; `url` is None while it starts, and for one that serves nobody."""

    pid: int
    url: str | None


@dataclass(frozen=True, slots=True)
class DataPaths:
    """Where things are below the data folder."""

    root: Path

    @property
    def lock(self) -> Path:
        """Who uses the folder."""
        return self.root / "conductor.lock"

    @property
    def database(self) -> Path:
        """The SQLite database, unless another one is set."""
        return self.root / "conductor.db"

    @property
    def ledger(self) -> Path:
        """The ledger's entries and blocks."""
        return self.root / "ledger.jsonl"

    @property
    def ledger_key(self) -> Path:
        """The key that signs blocks, unless another one is set."""
        return self.root / "ledger.key"

    @property
    def access_key(self) -> Path:
        """The key that every call needs."""
        return self.root / "key"

    @property
    def node_id(self) -> Path:
        """Who this machine is in the fleet."""
        return self.root / "node_id"

    @property
    def tasks(self) -> Path:
        """One folder per task."""
        return self.root / "tasks"

    @property
    def attachments(self) -> Path:
        """Files that tasks carry, by content."""
        return self.root / "attachments"

    @property
    def mind(self) -> Path:
        """The tuned versions of the decision maker."""
        return self.root / "mind"

    @property
    def server_log(self) -> Path:
        """What a server in the background writes."""
        return self.root / "server.log"


class DataFolder:
    """A data folder in use by this process until `close`."""

    def __init__(self, paths: DataPaths, node_id: NodeId, lock: int) -> None:
        self.paths = paths
        self.node_id = node_id
        self._lock = lock

    @classmethod
    def open(cls, root: Path, *, user_id: int, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """Make the folder if need be, see to its privacy, and claim it.

        Raises:
            Conflict: another process uses it; says which.
            StorageError: it belongs to somebody else, or cannot be made, locked or written.
        """
        paths = DataPaths(root)
        try:
            _make_private(root, user_id)
            lock = _claim(paths)
        except OSError as failure:
            raise StorageError(
                f"the data folder {root} cannot be used: {failure.strerror or failure}; choose another with --data-dir"
            ) from failure
        try:
            paths.tasks.mkdir(mode=0o700, exist_ok=True)
            _write_holder(lock, url=None)
            return cls(paths, _node_id(paths.node_id, user_id, random_bytes), lock)
        except OSError as failure:
            os.close(lock)
            raise StorageError(f"the data folder {root} cannot be written: {failure.strerror or failure}") from failure
        except BaseException:
            os.close(lock)
            raise

    def announce(self, url: str) -> None:
        """Tell other processes of this user where the server listens.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            _write_holder(self._lock, url=url)
        except OSError as failure:
            raise StorageError(f"{self.paths.lock} cannot be written: {failure.strerror or failure}") from failure

    def close(self) -> None:
        """Give the folder up; a second time does nothing."""
        if self._lock < 0:
            return
        with contextlib.suppress(OSError):  # a full disk must not keep the folder locked
            os.ftruncate(self._lock, 0)
        os.close(self._lock)
        self._lock = -1


def running_server(root: Path) -> RunningServer | None:
    """The process that uses this folder now, if one does. Changes nothing.

    Raises:
        StorageError: the folder is there and cannot be looked into.
    """
    try:
        descriptor = os.open(DataPaths(root).lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as failure:
        raise StorageError(f"{DataPaths(root).lock} cannot be read: {failure.strerror or failure}") from failure
    try:
        holder = _read_holder(descriptor)
        # A dead process holds nothing. Asking for the lock only if it may live keeps us out of the way of a start.
        if holder is None or not _is_alive(holder.pid):
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return holder
    finally:
        os.close(descriptor)
    return None  # the lock was free: the id belongs to a later process that has nothing to do with us


def check_unused(root: Path) -> None:
    """See that no process uses this folder; only `DataFolder.open` makes sure of it.

    Raises:
        Conflict: one does; says which.
        StorageError: the folder is there and cannot be looked into.
    """
    holder = running_server(root)
    if holder is not None:
        raise _in_use(root, holder)


def _make_private(root: Path, user_id: int) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        root.mkdir(mode=0o700)
    facts = root.stat()
    if not S_ISDIR(facts.st_mode):
        raise StorageError(f"{root} is a file, not a folder; choose another with --data-dir")
    if facts.st_uid != user_id:
        raise StorageError(
            f"the data folder {root} belongs to user {facts.st_uid}, not to user {user_id} who runs this; "
            "run as its owner or choose another with --data-dir"
        )
    mode = S_IMODE(facts.st_mode)
    if mode & 0o077:
        root.chmod(0o700)
        log.warning("data_folder_was_open", folder=str(root), mode=f"{mode:04o}", now="0700")


def _claim(paths: DataPaths) -> int:
    descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read_holder(descriptor)
        os.close(descriptor)
        raise _in_use(paths.root, holder) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _in_use(root: Path, holder: RunningServer | None) -> Conflict:
    who = "" if holder is None else f" (pid {holder.pid}{f', {holder.url}' if holder.url else ''})"
    return Conflict(
        f"another Conductor{who} uses the data folder {root}; use that one, stop it, or choose another with --data-dir",
        field="data_dir",
        details={} if holder is None else {"pid": holder.pid, "url": holder.url},
    )


def _write_holder(descriptor: int, *, url: str | None) -> None:
    text = orjson.dumps({"pid": os.getpid(), "url": url}) + b"\n"
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))


def _read_holder(descriptor: int) -> RunningServer | None:
    """What stands in the lock file; None if it is empty, half written or not ours."""
    line = os.pread(descriptor, 4096, 0).partition(b"\n")[0]
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    match document:
        case {"pid": int(pid), "url": None | str() as url} if pid > 0:
            return RunningServer(pid, url)
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _node_id(path: Path, user_id: int, random_bytes: Callable[[int], bytes]) -> NodeId:
    create_private(path, f"n{random_bytes(8).hex()}\n".encode())
    text = (read_private(path, user_id=user_id) or b"").decode("ascii", "replace").strip()
    if not _NODE_ID.fullmatch(text):
        raise StorageError(f"{path} holds no node id; restore it from a backup, or remove it to become a new node")
    return NodeId(text)
