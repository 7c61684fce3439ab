"""What the tests of the ledger are made of: real files, real signatures, a clock that stands still."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from conductor.adapters.ledger_file import DiskLedgerFile, read_lines
from conductor.adapters.schnorr import SchnorrSigner, schnorr_check
from conductor.domain.json import JsonObject
from conductor.ledger.chain import Ledger
from conductor.ledger.verify import Verification, verify_file

SECRET = bytes(31) + b"\x03"
VECTORS = Path(__file__).parents[3] / "shared" / "vectors"


@dataclass
class StillClock:
    """Always the same instant, until somebody sets it."""

    at_unix_s: float = 1_763_718_693.125

    def now_unix_s(self) -> float:
        return self.at_unix_s

    def monotonic_s(self) -> float:
        return self.at_unix_s


def signer(secret: bytes = SECRET) -> SchnorrSigner:
    return SchnorrSigner(secret, random_bytes=bytes)


@contextmanager
def opened(folder: Path, *, secret: bytes = SECRET) -> Iterator[Ledger]:
    """The ledger in a folder, closed at the end."""
    with DiskLedgerFile.open(folder / "ledger.jsonl") as file:
        yield Ledger.open(file, signer(secret), StillClock(), check=schnorr_check)


def a_body(number: int) -> JsonObject:
    return {"device": "GPU", "duration_s": [number + 0.25, 1, 9, "prior"], "note": f"é{number}", "none": None}


def take(ledger: Ledger, count: int) -> None:
    for number in range(count):
        ledger.entry("decision", f"task-{number}", a_body(number))


def a_ledger_file(folder: Path, blocks: Sequence[int]) -> Path:
    """A sealed ledger with so many entries in each block; returns its file."""
    with opened(folder) as ledger:
        for count in blocks:
            take(ledger, count)
            ledger.seal()
    return folder / "ledger.jsonl"


def verified(path: Path) -> Verification:
    return verify_file(read_lines(path), schnorr_check)


def vector(name: str) -> Path:
    """A published test vector; skips the test where the vectors are not at hand."""
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"the published vectors are not beside this repository ({path})")
    return path
