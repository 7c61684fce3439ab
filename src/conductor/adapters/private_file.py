"""Small files that only their owner may read: made whole or not at all, and refused when others could have read them.

Not covered: access control lists, and file systems without permissions.
"""

import os
import tempfile
from pathlib import Path
from stat import S_IMODE, S_ISREG

from conductor.domain.errors import StorageError


def create_private(path: Path, content: bytes) -> bool:
    """Make a file with mode 0600 that others see either whole or not; False if one is there already.

    Raises:
        StorageError: it cannot be written.
    """
    if path.exists():
        return False
    try:
        whole = _written_beside(path, content)
        try:
            os.link(whole, path)  # unlike a rename, never replaces what somebody made meanwhile
        except FileExistsError:
            return False
        finally:
            whole.unlink()
        _sync_folder(path.parent)
    except OSError as failure:
        raise StorageError(f"{path} cannot be made: {failure.strerror or failure}") from failure
    return True


def replace_private(path: Path, content: bytes) -> None:
    """Put new content in place of the old in one step.

    Raises:
        StorageError: it cannot be written; the old content is still there.
    """
    try:
        _written_beside(path, content).replace(path)
        _sync_folder(path.parent)
    except OSError as failure:
        raise StorageError(f"{path} cannot be replaced: {failure.strerror or failure}") from failure


def read_private(path: Path, *, user_id: int, largest_bytes: int = 4096) -> bytes | None:
    """The content, or None if there is no such file.

    Raises:
        StorageError: somebody else owns it or may read it, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if not S_ISREG(facts.st_mode):
                raise StorageError(f"{path} is no regular file; move it away")
            if facts.st_uid != user_id:
                raise StorageError(
                    f"{path} belongs to user {facts.st_uid}, not to user {user_id} who runs this; "
                    f"run as its owner, or `chown {user_id} {path}`"
                )
            if S_IMODE(facts.st_mode) & 0o077:
                raise StorageError(
                    f"{path} can be read or changed by others (mode {S_IMODE(facts.st_mode):04o}); `chmod 600 {path}`, "
                    "and replace the key if others use this machine"
                )
            return file.read(largest_bytes)
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise StorageError(f"{path} cannot be read: {failure.strerror or failure}") from failure


def _written_beside(path: Path, content: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600, O_EXCL
    whole = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        whole.unlink()
        raise
    return whole


def _sync_folder(folder: Path) -> None:
    """Make the name itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
