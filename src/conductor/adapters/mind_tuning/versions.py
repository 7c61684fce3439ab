"""Keep tuned versions in the data folder: `versions/NNNN/adapter.npz` with its card, and which of them is in use.

A version is written beside its place and moved there whole; the file `active` names the one in use and is replaced in one
step. What is read back must have the digest that its card names, and be arrays of numbers; pickles are never loaded. Whether
the digest is also the one on the ledger, and the arrays are those of a tuned mind, is the question of `app.minds.tuning`.

Not covered: several processes (the data folder's lock allows one).
"""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from conductor.adapters.private_file import replace_private
from conductor.domain.errors import ModelError, StorageError

ADAPTER: Final = "adapter.npz"
CARD: Final = "card.json"
#: The shipped mind, without any tuning.
SHIPPED: Final = 0
_LARGEST_BYTES: Final = 4 * 1024 * 1024
_REMEDY: Final = "`conductor mind rollback` goes back to another version"


Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Version:
    """A version by its number, with all that its card says."""

    number: int
    card: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As decisions and the ledger call it."""
        return name_of(self.number)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What a version's files hold: the SHA-256 of its adapter, the arrays in it, and its card."""

    checksum: str
    arrays: Arrays
    card: Mapping[str, Any]


def name_of(number: int) -> str:
    """What decisions and the ledger call a version."""
    return f"tuned mind {number:04d}"


class Versions:
    """The versions below one folder, which is made when the first is written."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def all(self) -> list[Version]:
        """Every version whose card can be read, oldest first."""
        return [Version(number, card) for number in self._numbers() if (card := self._card(number)) is not None]

    def active(self) -> int:
        """The number of the version in use; `SHIPPED` if none is.

        Raises:
            StorageError: the file that says so cannot be read.
        """
        path = self._root / "active"
        try:
            return int(path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return SHIPPED
        except (OSError, ValueError) as failure:
            raise StorageError(f"{path} does not say which version is in use ({failure}); {_REMEDY}") from failure

    def activate(self, number: int) -> None:
        """Name the version in use, in one step.

        Raises:
            StorageError: it cannot be written; the old one stays in use.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_private(self._root / "active", b"%04d\n" % number)

    def add(self, arrays: Arrays, card: Mapping[str, Any]) -> Version:
        """Write a version under the next number; its card is completed with number and digest.

        Raises:
            StorageError: it cannot be written.
        """
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        content = file.getvalue()
        number = max(self._numbers(), default=SHIPPED) + 1
        complete = {"version": number, "sha256": {ADAPTER: hashlib.sha256(content).hexdigest()}, **card}
        fresh = self._folder(number).with_name(f".{number:04d}.new")
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o700, parents=True)
            replace_private(fresh / ADAPTER, content)
            replace_private(fresh / CARD, json.dumps(complete, indent=1).encode() + b"\n")
            fresh.rename(self._folder(number))
        except OSError as failure:
            raise StorageError(f"version {number} cannot be written: {failure.strerror or failure}") from failure
        return Version(number, complete)

    def read(self, number: int) -> Stored:
        """A version as it was written.

        Raises:
            ModelError: its files are missing, damaged or foreign; says what was expected and found.
        """
        path, card = self._folder(number) / ADAPTER, self._card(number)
        if card is None:
            raise ModelError(f"the card of version {number} in {path.parent} cannot be read; {_REMEDY}")
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST_BYTES + 1)
        except OSError as failure:
            raise ModelError(f"{path} cannot be read ({failure.strerror or failure}); {_REMEDY}") from failure
        expected, found = card["sha256"][ADAPTER], hashlib.sha256(content).hexdigest()
        if found != expected:
            raise ModelError(f"{path} was changed: SHA-256 expected {expected}, found {found}; {_REMEDY}")
        try:
            return Stored(found, _unpacked(content), card)
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as failure:
            raise ModelError(f"{path} holds no tuned version ({failure}); {_REMEDY}") from failure

    def _numbers(self) -> list[int]:
        if not self._versions.is_dir():
            return []
        return sorted(int(path.name) for path in self._versions.iterdir() if path.name.isdecimal())

    def _card(self, number: int) -> dict[str, Any] | None:
        try:
            card = json.loads((self._folder(number) / CARD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        digests = card.get("sha256") if isinstance(card, dict) else None
        return card if isinstance(digests, dict) and isinstance(digests.get(ADAPTER), str) else None

    @property
    def _versions(self) -> Path:
        return self._root / "versions"

    def _folder(self, number: int) -> Path:
        return self._versions / f"{number:04d}"


def _unpacked(content: bytes) -> Arrays:
    if not content.startswith(b"PK"):
        raise ValueError("no archive of arrays")  # numpy would take it for a single array, or a pickle
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
