"""The ledger: appending durably, verifying a million entries, proving one of them; pymerkle beside it where it can.

Ours signs and syncs each block to the disk and reads proofs from there; pymerkle signs nothing, and its proofs come from
a tree in memory, because its tree on the disk hashes anew for each. An inclusion proof alone is what both make; our
receipt, with the entry read back, the signed head and a check of its own, has a row of its own. Entries are as long as
a decision's, 780 bytes. Verifying a whole file has no counterpart there.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.environment import SCRIPTS, peer_program, peer_version
from benchmarks.harness import Goal, Row, WrongResult, compare, interleave, percentile
from benchmarks.processes import finish, last_json
from conductor.adapters.ledger_file import DiskLedgerFile, read_lines
from conductor.adapters.schnorr import SchnorrSigner, schnorr_check
from conductor.domain.json import JsonObject
from conductor.ledger.chain import Ledger
from conductor.ledger.verify import verify_file

ROUNDS: Final = 3
APPENDED: Final = 50_000
BLOCK: Final = 1_000
LARGE: Final = 1_000_000
PROOFS: Final = 2_000
OURS: Final = "ours"
PEER: Final = "peer"

BODY: Final[JsonObject] = {
    "submission_sha256": "3e4" + "a" * 61,
    "user": "local",
    "device": "VIDEO",
    "runner_up": "GPU",
    "available_device": "CPU",
    "task_kind": "video_transcode",
    "priority": 3,
    "compute_units": [4.25, 2.5, 7, "prior"],
    "duration_s": [12.5, 3.25, 40, "prior"],
    "confidence": 0.7312,
    "parts": {"similarity": 0.5, "device_success": 0.5123, "node_availability": 1, "resource_availability": 0.93},
    "nodes": [{"node": "host-1", "score": 0.91, "thermal": 1, "queue": 1, "capability": 0.5, "history": 0.5}],
    "reasoning_sha256": "b" * 64,
    "models": {"minilm": "c" * 64},
}


class WallClock:
    """The machine's clocks."""

    def now_unix_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    """The ledger in a folder, with a key made there."""
    signer = SchnorrSigner.from_file(folder / "ledger.key")
    with DiskLedgerFile.open(folder / "ledger.jsonl") as file:
        yield Ledger.open(file, signer, WallClock(), check=schnorr_check)


def append(ledger: Ledger, entries: int) -> None:
    """Take entries and seal a block whenever one is full."""
    for _ in range(entries // BLOCK):
        for number in range(BLOCK):
            ledger.entry("decision", f"01JD00000000000000000{number:05}", BODY)
        ledger.seal()


def our_appends() -> float:
    """Entries per second, each block signed and synced."""
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as folder, opened(Path(folder)) as ledger:
        began = time.perf_counter()
        append(ledger, APPENDED)
        elapsed = time.perf_counter() - began
        expect(ledger.size == APPENDED and ledger.verify().ok, "what was appended does not verify")
    return APPENDED / elapsed


def peer_appends() -> float:
    """Entries per second, each batch committed and its root made."""
    with tempfile.TemporaryDirectory(prefix="bench-pymerkle-") as folder:
        return float(peer("append", folder, str(APPENDED), str(BLOCK)))


def peer_proofs() -> list[float]:
    """Seconds of each proof."""
    return list(peer("prove", str(LARGE), str(PROOFS), "1"))


def our_times(make: Callable[[int], object], count: int = PROOFS) -> list[float]:
    """Seconds of each call with a random index."""
    choose, times = random.Random(1), []
    for _ in range(count):
        index = choose.randrange(LARGE)
        began = time.perf_counter()
        make(index)
        times.append(time.perf_counter() - began)
    return times


def verifying_s(path: Path) -> float:
    """Seconds to check every byte of the large file, as `conductor ledger verify` does."""
    began = time.perf_counter()
    found = verify_file(read_lines(path), schnorr_check)
    elapsed = time.perf_counter() - began
    expect(found.ok and found.entries == LARGE, f"the large ledger does not verify: {found.faults[:1]}")
    return elapsed


def taking_us(folder: Path) -> float:
    """Microseconds to take one entry, which happens on the event loop."""
    with opened(folder) as ledger:
        began = time.perf_counter()
        for number in range(10_000):
            ledger.entry("decision", f"01JD00000000000000000{number:05}", BODY)
        return (time.perf_counter() - began) * 100


def run() -> list[Row]:
    """All rows of this benchmark."""
    name = f"pymerkle {peer_version('pymerkle')}"
    appends = interleave(ROUNDS, {OURS: our_appends, PEER: peer_appends})
    rows = [
        compare(
            f"entries made durable in blocks of {BLOCK:,}",
            "entries/s",
            appends[OURS],
            more_is_better=True,
            peer_name=f"{name} in SQLite, unsigned",
            peer=appends[PEER],
            goal=Goal("at least", 5000),
        )
    ]
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as large, tempfile.TemporaryDirectory() as small:
        with opened(Path(large)) as ledger:
            append(ledger, LARGE)
            proofs = interleave(
                ROUNDS, {OURS: partial(our_times, lambda index: ledger.inclusion(index, LARGE)), PEER: peer_proofs}
            )
            receipts = [our_times(ledger.receipt) for _ in range(ROUNDS)]
        verifying = [verifying_s(Path(large) / "ledger.jsonl") for _ in range(ROUNDS)]
        taking = [taking_us(Path(small)) for _ in range(ROUNDS)]
    for share, label in ((0.5, "p50"), (0.99, "p99")):
        shares = {side: [1000 * percentile(times, share) for times in rounds] for side, rounds in proofs.items()}
        rows.append(
            compare(
                f"inclusion proof at {LARGE:,} entries, {label}",
                "ms",
                shares[OURS],
                more_is_better=False,
                peer_name=f"{name} in memory",
                peer=shares[PEER],
                goal=Goal("below", 1),
            )
        )
    return [
        *rows,
        alone(f"receipt at {LARGE:,} entries, p99", "ms", [1000 * percentile(times, 0.99) for times in receipts], 1),
        alone(f"verify every byte of {LARGE:,} entries", "s", verifying, 30),
        alone("take one entry", "µs", taking, 15),
    ]


def alone(metric: str, unit: str, ours: list[float], bound: float) -> Row:
    """A row without a peer."""
    return compare(metric, unit, ours, more_is_better=False, goal=Goal("below", bound))


def peer(*arguments: str) -> object:
    """What the peer's script measured."""
    return last_json(finish([peer_program("python"), str(SCRIPTS / "pymerkle_ledger.py"), *arguments]))


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise WrongResult(otherwise)


if __name__ == "__main__":
    for line in run():
        print(line, file=sys.stdout)
