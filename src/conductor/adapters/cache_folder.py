"""The slower level of the answer cache: a private folder with a folder a model and a file an answer.

A file is a line that says what it is, the SHA-256 of the rest, the time (IEEE 754 double, big-endian) and the body; its
time of modification is when it was last used. It is written beside its place and renamed, without waiting for the disk:
what a loss of power spoils is noticed by the digest, dropped and counted. Everything happens in threads, one at a time.

Not covered: several processes in one folder (the data folder's lock forbids that); hiding answers from the owner's eyes.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import struct
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

import structlog

from conductor.domain.model import ModelName
from conductor.serving.ports import KeptAnswer, LevelCounts

_MAGIC: Final = b"conductor answer 1\n"
_HEAD: Final = len(_MAGIC) + 32
_TIME: Final = struct.Struct(">d")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
#: Of a disk's blocks: a small file takes a whole one.
_BLOCK_BYTES: Final = 4096

log = structlog.get_logger(__name__)

_Place = tuple[str, str]


class CacheFolder:
    """Answers below `root`, which is made when something is first kept; never more than `most_bytes`, in whole blocks."""

    name: Final = "disk"

    def __init__(self, root: Path, *, most_bytes: int) -> None:
        self._root = root
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        #: Sizes in whole blocks by model's folder and key, those used last at the end; None before the folder was read.
        self._sizes: OrderedDict[_Place, int] | None = None
        self._failing = False
        self.counts = LevelCounts()

    async def get(self, key: str, model: ModelName, *, not_before_unix_s: float) -> KeptAnswer | None:
        """As `AnswerStore.get`."""
        return await asyncio.to_thread(self._get, (_folder(model), key), not_before_unix_s)

    async def put(self, key: str, model: ModelName, answer: KeptAnswer) -> None:
        """As `AnswerStore.put`."""
        await asyncio.to_thread(self._put, (_folder(model), key), answer)

    async def forget(self, model: ModelName | None) -> int:
        """As `AnswerStore.forget`."""
        return await asyncio.to_thread(self._forget, None if model is None else _folder(model))

    def _get(self, place: _Place, not_before_unix_s: float) -> KeptAnswer | None:
        with self._lock:
            sizes = self._known()
            if place not in sizes:
                self.counts.misses += 1
                return None
            answer = self._read(place)
            if answer is None or answer.kept_at_unix_s < not_before_unix_s:
                self._drop(place)
                self.counts.misses += 1
                self.counts.corrupt += answer is None
                self.counts.expired += answer is not None
                return None
            self.counts.hits += 1
            sizes.move_to_end(place)
            with contextlib.suppress(OSError):  # only the order of leaving after the next start depends on it
                os.utime(self._path(place))
            return answer

    def _put(self, place: _Place, answer: KeptAnswer) -> None:
        rest = _TIME.pack(answer.kept_at_unix_s) + answer.body
        content = _MAGIC + hashlib.sha256(rest).digest() + rest
        size = _in_blocks(len(content))
        with self._lock:
            sizes = self._known()
            if place in sizes:
                self._drop(place)
            if size > self._most_bytes:
                return
            while sizes and self.counts.bytes + size > self._most_bytes:
                self._drop(next(iter(sizes)))
                self.counts.evictions += 1
            try:
                self._write(self._path(place), content)
            except OSError as failure:
                if not self._failing:
                    log.warning("answer_not_kept", folder=str(self._root), reason=failure.strerror or str(failure))
                self._failing = True
                return
            self._failing = False
            self._count(place, size)

    def _forget(self, folder: str | None) -> int:
        with self._lock:
            places = [place for place in self._known() if folder in (None, place[0])]
            for place in places:
                self._drop(place)
            return len(places)

    def _known(self) -> OrderedDict[_Place, int]:
        """What there is; the folder is read once, and what was left over by a crash is removed."""
        if self._sizes is None:
            self._sizes = OrderedDict()
            found = []
            for path in self._root.glob("*/*"):
                with contextlib.suppress(OSError):
                    facts = path.lstat()
                    if _KEY.fullmatch(path.name):
                        found.append((facts.st_mtime_ns, (path.parent.name, path.name), _in_blocks(facts.st_size)))
                    elif path.name.endswith(".part"):
                        path.unlink()
            for _, place, size in sorted(found):
                self._count(place, size)
            while self.counts.bytes > self._most_bytes:  # the bound was lowered meanwhile
                self._drop(next(iter(self._sizes)))
                self.counts.evictions += 1
        return self._sizes

    def _read(self, place: _Place) -> KeptAnswer | None:
        """The answer; None where it cannot be read back as it was written."""
        try:
            descriptor = os.open(self._path(place), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                content = file.read(self._most_bytes + 1)
        except OSError:
            return None
        rest = content[_HEAD:]
        if len(rest) < _TIME.size or content[:_HEAD] != _MAGIC + hashlib.sha256(rest).digest():
            return None
        return KeptAnswer(rest[_TIME.size :], _TIME.unpack_from(rest)[0])

    def _write(self, path: Path, content: bytes) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        beside = path.with_name(f"{secrets.token_hex(8)}.part")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise

    def _count(self, place: _Place, size: int) -> None:
        assert self._sizes is not None, "the folder was read"
        self._sizes[place] = size
        self.counts.entries += 1
        self.counts.bytes += size

    def _drop(self, place: _Place) -> None:
        """Out of the books, and off the disk if that works; what stays there is found by the next start."""
        assert self._sizes is not None, "the folder was read"
        self.counts.bytes -= self._sizes.pop(place)
        self.counts.entries -= 1
        with contextlib.suppress(OSError):
            self._path(place).unlink()

    def _path(self, place: _Place) -> Path:
        return self._root / place[0] / place[1]


def _folder(model: ModelName) -> str:
    """Names of models are paths and addresses; none of that leads anywhere here."""
    return hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _in_blocks(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
