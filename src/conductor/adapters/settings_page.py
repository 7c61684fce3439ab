"""Keep a page of settings on disk: the file that people edit, and earlier contents of it in a folder of ours.

Kept contents are `NNNN-TIME-DIGEST.md`, numbered in the order in which they came into force; the digest is the caller's.
The newest hundred stay. What a roll back puts something else in the place of is set aside as `replaced-TIME-….md`.

Not covered: two processes that keep at one time (the server keeps, the command line only reads, replaces and sets aside).
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE, S_ISREG
from typing import Final

from conductor.adapters.private_file import create_private, replace_private
from conductor.domain.errors import NotFound, StorageError

_KEPT: Final = re.compile(r"([0-9]{4,9})-([0-9]{8}T[0-9]{6}Z)-([0-9a-f]{64})\.md")
_TIME: Final = "%Y%m%dT%H%M%SZ"
_MOST_KEPT: Final = 100
_MOST_REPLACED: Final = 20


@dataclass(frozen=True, slots=True, order=True)
class KeptPage:
    """An earlier content: its number, when it came into force, and its digest."""

    number: int
    at_unix_s: float
    digest: str
    path: Path


class SettingsPage:
    """The file at `path`, and its earlier contents below `kept`, which is made when the first is kept."""

    def __init__(self, path: Path, kept: Path) -> None:
        self.path = path
        self._kept = kept

    def read(self, *, largest_bytes: int) -> bytes | None:
        """The content now; None if there is no file. One byte more than the largest says that it is too large.

        Raises:
            StorageError: it is no file, or cannot be read.
        """
        try:
            if not S_ISREG(self.path.stat().st_mode):  # opening a pipe would wait for whoever writes into it
                raise StorageError(f"{self.path} is no regular file; move it away")
            with self.path.open("rb") as file:
                return file.read(largest_bytes + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as failure:
            raise StorageError(f"{self.path} cannot be read: {failure.strerror or failure}") from failure

    def replace(self, content: bytes) -> None:
        """Put another content in place in one step; a link stays one, permissions stay.

        Raises:
            StorageError: it cannot be written.
        """
        target = Path(os.path.realpath(self.path))
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = S_IMODE(target.stat().st_mode) if target.exists() else 0o600
            replace_private(target, content)
            target.chmod(mode)
        except OSError as failure:
            raise StorageError(f"{target} cannot be written: {failure.strerror or failure}") from failure

    def kept(self) -> list[KeptPage]:
        """Earlier contents, oldest first; the last one came into force last."""
        return sorted(self._found())

    def read_kept(self, number: int) -> bytes:
        """One of them.

        Raises:
            NotFound: there is none of this number.
            StorageError: it cannot be read.
        """
        for page in self._found():
            if page.number == number:
                return _bytes_of(page.path)
        raise NotFound(
            f"there is no earlier SETTINGS.md {number}; `conductor settings history` lists them", field="number"
        )

    def keep(self, content: bytes, digest: str, *, at_unix_s: float) -> None:
        """Keep a content that came into force; again the newest one changes nothing.

        Raises:
            StorageError: it cannot be written.
        """
        before = self.kept()
        if before and before[-1].digest == digest and _bytes_of(before[-1].path) == content:
            return
        self._make_folder()
        number = before[-1].number + 1 if before else 1
        create_private(self._kept / f"{number:04}-{_written(at_unix_s)}-{digest}.md", content)
        for page in before[: -(_MOST_KEPT - 1)]:
            _remove(page.path)

    def set_aside(self, *, at_unix_s: float) -> Path:
        """Copy the present content, whatever it is, before something else takes its place; returns where to.

        Raises:
            StorageError: it cannot be copied.
        """
        self._make_folder()
        try:
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            copy = self._kept / f"replaced-{_written(at_unix_s)}-{digest[:12]}.md"
            shutil.copyfile(self.path, copy)
            copy.chmod(0o600)
        except OSError as failure:
            raise StorageError(f"{self.path} cannot be copied: {failure.strerror or failure}") from failure
        for old in sorted(self._kept.glob("replaced-*.md"))[:-_MOST_REPLACED]:
            _remove(old)
        return copy

    def _found(self) -> Iterator[KeptPage]:
        try:
            names = [entry.name for entry in self._kept.iterdir()] if self._kept.is_dir() else []
        except OSError as failure:
            raise StorageError(f"{self._kept} cannot be read: {failure.strerror or failure}") from failure
        for name in names:
            if found := _KEPT.fullmatch(name):
                try:
                    at = datetime.strptime(found[2], _TIME).replace(tzinfo=UTC)
                except ValueError:  # a file of somebody else's
                    continue
                yield KeptPage(int(found[1]), at.timestamp(), found[3], self._kept / name)

    def _make_folder(self) -> None:
        try:
            self._kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as failure:
            raise StorageError(f"{self._kept} cannot be made: {failure.strerror or failure}") from failure


def _written(at_unix_s: float) -> str:
    return datetime.fromtimestamp(at_unix_s, UTC).strftime(_TIME)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failure:
        raise StorageError(f"{path} cannot be read: {failure.strerror or failure}") from failure


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as failure:
        raise StorageError(f"{path} cannot be removed: {failure.strerror or failure}") from failure
