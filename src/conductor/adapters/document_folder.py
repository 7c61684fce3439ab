"""A private folder of documents: a small JSON object each, and bytes that belong to it; made whole or not at all.

Names come from us, but are checked all the same, so that none can lead out of the folder. Blocking: callers use threads.

Not covered: several processes writing the same document (the data folder's lock forbids that).
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import orjson
import structlog

from conductor.adapters.private_file import replace_private
from conductor.domain.errors import NotFound, StorageError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_LARGEST_DOCUMENT: Final = 4_000_000

log = structlog.get_logger(__name__)
T = TypeVar("T")


class DocumentFolder:
    """Documents in `root`; the folder is made when something is first written."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def documents(self) -> dict[str, dict[str, Any]]:
        """All documents by name; one that cannot be read is left out."""
        found = {}
        for path in sorted(self._root.glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                if path.stat().st_size <= _LARGEST_DOCUMENT:
                    found[path.stem] = orjson.loads(path.read_bytes())
        return found

    def all_as(self, kind: Callable[..., T]) -> list[T]:
        """All documents made into something by their fields; those that do not fit are left out, and told by the log."""
        made = []
        for name, document in self.documents().items():
            try:
                made.append(kind(**document))
            except (TypeError, ValueError) as odd:
                log.warning("document_left_out", file=str(self._path(name, ".json")), reason=str(odd)[:300])
        return made

    def read(self, name: str) -> dict[str, Any] | None:
        """One document; None where there is none.

        Raises:
            StorageError: it cannot be read, or is no document.
        """
        path = self._path(name, ".json")
        try:
            if path.stat().st_size > _LARGEST_DOCUMENT:
                raise StorageError(f"{path} is larger than any document")
            found = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as broken:
            raise StorageError(f"{path} cannot be read: {broken}") from broken
        if not isinstance(found, dict):
            raise StorageError(f"{path} is no document")
        return found

    def set_aside(self, name: str) -> str:
        """Give a document that is of no use another name, in place of the last one set aside; returns where it is now."""
        path = self._path(name, ".json")
        aside = path.with_suffix(".json.damaged")
        with contextlib.suppress(OSError):  # then it is met again at the next start, and told again
            path.replace(aside)
            return str(aside)
        return str(path)

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Put a document in place of the last one of its name.

        Raises:
            StorageError: it cannot be written; the last one is still there.
        """
        self._make()
        replace_private(self._path(name, ".json"), orjson.dumps(document))

    def remove(self, name: str) -> None:
        """Remove a document and its bytes.

        Raises:
            StorageError: they cannot be removed.
        """
        try:
            self._path(name, ".json").unlink(missing_ok=True)
            self._path(name, ".bytes").unlink(missing_ok=True)
        except OSError as failure:
            raise StorageError(f"{name} cannot be removed: {failure.strerror or failure}") from failure

    def content(self, name: str) -> Path:
        """Where the bytes of a document are."""
        return self._path(name, ".bytes")

    def size(self, name: str) -> int:
        """Of its bytes; 0 where there are none."""
        try:
            return self._path(name, ".bytes").stat().st_size
        except FileNotFoundError:
            return 0

    def without_document(self) -> list[str]:
        """Names of bytes that belong to no document."""
        found = [path for path in self._root.glob("*.bytes") if not path.with_suffix(".json").exists()]
        return sorted(path.stem for path in found if _NAME.fullmatch(path.stem))

    def append(self, name: str, content: bytes) -> None:
        """Add to the bytes of a document that may not be written yet.

        Raises:
            StorageError: they cannot be written.
        """
        self._make()
        try:
            with self._opened(name, os.O_APPEND) as file:
                file.write(content)
        except OSError as failure:
            raise StorageError(f"{name} cannot be written: {failure.strerror or failure}") from failure

    def drop_torn_line(self, name: str) -> None:
        """Cut off what follows the last newline: a line whose writing was interrupted."""
        path = self._path(name, ".bytes")
        if not path.exists():
            return
        with path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(end - 65_536, 0)
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    end = start + newline + 1
                    break
                end = start
            file.truncate(end)

    def lines(self, name: str) -> Iterator[bytes]:
        """The bytes line by line, without their newlines; none where there are no bytes."""
        try:
            with self._path(name, ".bytes").open("rb") as file:
                for line in file:
                    yield line.rstrip(b"\r\n")
        except FileNotFoundError:
            return

    def _opened(self, name: str, flags: int) -> BinaryIO:
        return os.fdopen(os.open(self._path(name, ".bytes"), os.O_WRONLY | os.O_CREAT | flags, 0o600), "wb")

    def _make(self) -> None:
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as failure:
            raise StorageError(f"{self._root} cannot be made: {failure.strerror or failure}") from failure

    def _path(self, name: str, ending: str) -> Path:
        if not _NAME.fullmatch(name):
            raise NotFound(f"there is no {name[:100]!r}", field="id")
        return self._root / f"{name}{ending}"
