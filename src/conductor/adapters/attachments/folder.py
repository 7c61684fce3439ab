"""Attached files on disk, by content: `aa/SHA256` holds the bytes, and beside it one record per user who sent it.

A user sees what he sent himself, and nothing else: another's file does not exist for him, even when its digest is
known. Everything is private to the owner of the data folder (0700 folders, 0600 files).

Not covered: several processes on one folder (the data folder is locked), encryption at rest, and files over the network.
"""

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import orjson
from pydantic import TypeAdapter, ValidationError

from conductor.adapters.private_file import replace_private
from conductor.domain.attachment import Attachment
from conductor.domain.errors import InvalidInput, NotFound, StorageError
from conductor.domain.task import UserId

_ID: Final = re.compile(r"[0-9a-f]{64}")


class Incoming:
    """A file on its way in: hashed while it is written; a context manager that leaves nothing behind."""

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".incoming-")  # mode 0600
        self.path = Path(name)
        self.size_bytes = 0
        self._file = os.fdopen(descriptor, "wb")
        self._digest = hashlib.sha256()
        self._most_bytes = most_bytes

    def write(self, data: bytes) -> None:
        """Take a piece.

        Raises:
            InvalidInput: the file is larger than allowed.
            StorageError: it cannot be written.
        """
        self.size_bytes += len(data)
        if self.size_bytes > self._most_bytes:
            raise too_large(self.size_bytes, self._most_bytes)
        self._digest.update(data)
        try:
            self._file.write(data)
        except OSError as failure:
            raise StorageError(f"an attachment cannot be written: {failure.strerror or failure}") from failure

    def finish(self) -> str:
        """Everything is here and on disk; returns its SHA-256.

        Raises:
            InvalidInput: it is empty.
            StorageError: it cannot be written.
        """
        if not self.size_bytes:
            raise InvalidInput("the attached file is empty; attach one that holds something", field="attachments")
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as failure:
            raise StorageError(f"an attachment cannot be written: {failure.strerror or failure}") from failure
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk: what was not written is thrown away anyhow
            self._file.close()
        self.path.unlink(missing_ok=True)


class AttachmentFolder:
    """Attached files below one folder; thread-safe.

    Args:
        root: made if missing.
        total_bytes: all files together may not take more.
    """

    def __init__(self, root: Path, *, total_bytes: int) -> None:
        self._root = root
        self._total_bytes = total_bytes
        self._lock = threading.Lock()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in root.glob(".incoming-*"):  # from a server that died
            left.unlink(missing_ok=True)
        self._held_bytes = sum(path.stat().st_size for path in self._contents())

    def incoming(self, *, most_bytes: int) -> Incoming:
        """A place for a file of at most so many bytes.

        Raises:
            StorageError: it cannot be made.
        """
        try:
            return Incoming(self._root, most_bytes=most_bytes)
        except OSError as failure:
            raise StorageError(f"an attachment cannot be written: {failure.strerror or failure}") from failure

    def keep(self, incoming: Incoming, attachment: Attachment, user_id: UserId) -> None:
        """Put a finished file in its place, and record that this user sent it under this name.

        Raises:
            StorageError: there is no room left, or it cannot be written.
        """
        target = self._content(attachment.attachment_id)
        with self._lock:
            try:
                target.parent.mkdir(mode=0o700, exist_ok=True)
                if not target.exists():
                    if self._held_bytes + attachment.size_bytes > self._total_bytes:
                        raise StorageError(
                            f"attachments take {self._held_bytes:,} of {self._total_bytes:,} bytes; old ones are removed "
                            "by and by, or raise the setting attachments.total_bytes"
                        )
                    incoming.path.chmod(0o400)
                    os.link(incoming.path, target)
                    self._held_bytes += attachment.size_bytes
            except OSError as failure:
                raise StorageError(f"{target} cannot be written: {failure.strerror or failure}") from failure
            replace_private(self._record(attachment.attachment_id, user_id), orjson.dumps(attachment))

    def find(self, attachment_id: str, user_id: UserId, *, now_unix_s: float) -> Attachment:
        """What this user sent under this id; the time it is kept begins again.

        Raises:
            NotFound: he did not send it, or it was removed.
        """
        with self._lock:
            record = self._record(attachment_id, user_id) if _ID.fullmatch(attachment_id) else None
            if record is None or not (record.is_file() and self._content(attachment_id).is_file()):
                raise NotFound(
                    f"there is no attachment {attachment_id[:80]!r} of this user; send it with POST /v1/attachments first",
                    field="attachments",
                )
            try:
                found = _attachments().validate_json(record.read_bytes())
                os.utime(record, (now_unix_s, now_unix_s))
            except (OSError, ValidationError) as damaged:
                raise StorageError(f"the record {record} cannot be read; remove it and attach again") from damaged
        return found

    def path(self, attachment_id: str) -> Path:
        """Where the bytes are.

        Raises:
            NotFound: they were removed, or this is no id.
        """
        if _ID.fullmatch(attachment_id) and (path := self._content(attachment_id)).is_file():
            return path
        raise NotFound(f"the attachment {attachment_id[:80]!r} is no longer here; attach it again", field="attachments")

    def sweep(self, *, before_unix_s: float, in_use: Collection[str]) -> int:
        """Remove what nobody used since then and no open task needs; returns how many files went."""
        removed = 0
        with self._lock:
            for content in list(self._contents()):
                if content.name in in_use:
                    continue
                with suppress(OSError):  # what cannot be removed now can be next time
                    records = list(content.parent.glob(f"{content.name}.*.json"))
                    old = [record for record in records if record.stat().st_mtime < before_unix_s]
                    for record in old:
                        record.unlink()
                    if len(old) == len(records):
                        size = content.stat().st_size
                        content.unlink()
                        self._held_bytes -= size
                        removed += 1
        return removed

    def _contents(self) -> Iterator[Path]:
        return (path for path in self._root.glob("[0-9a-f][0-9a-f]/*") if _ID.fullmatch(path.name))

    def _content(self, attachment_id: str) -> Path:
        return self._root / attachment_id[:2] / attachment_id

    def _record(self, attachment_id: str, user_id: UserId) -> Path:
        """A user's name may be anything, so its digest names the file."""
        user = hashlib.sha256(user_id.encode()).hexdigest()[:32]
        return self._root / attachment_id[:2] / f"{attachment_id}.{user}.json"


def too_large(size_bytes: int, most_bytes: int) -> InvalidInput:
    """The error about a file over the limit."""
    return InvalidInput(
        f"the attached file has {size_bytes:,} bytes or more, and {most_bytes:,} are taken; make it smaller, name it in "
        "the command instead, or raise the setting attachments.max_bytes",
        field="attachments",
        details={"most_bytes": most_bytes},
    )


@cache
def _attachments() -> TypeAdapter[Attachment]:
    return TypeAdapter(Attachment)  # built at the first file, not at every start
