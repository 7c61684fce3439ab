"""Verify a whole ledger file from its bytes alone.

Streams: memory is bounded by one block. Every byte is covered, so a flipped bit anywhere is a fault at a line. Nothing but
the lines, a signature check and, if the caller has them, a known key and a known head are used; no index, no database.

Without a known key the key of the first block is taken for the right one: whoever can replace the whole file can then
replace it by one of his own. Without a known head, a file cut back to an earlier block verifies: it is an earlier ledger.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from conductor.domain.json import JsonObject
from conductor.ledger.block import SignedHeader
from conductor.ledger.ports import SignatureCheck
from conductor.ledger.unit import Fault, Line, Tip, Unit, examine, units

_FAULTS_KEPT: Final = 100

#: Called after each block with (entries, bytes) read so far.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found.

    `entries` and `blocks` are proven from the start without a gap; `faults` are in the order of the file, the first 100 of
    them. `growing_bytes` stand behind the last block and were not judged, because a writer was said to be at work.
    """

    entries: int
    blocks: int
    size_bytes: int
    head: SignedHeader | None
    faults: tuple[Fault, ...]
    growing_bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether every byte is as it was signed."""
        return not self.faults

    def as_json(self) -> JsonObject:
        """All members, and `ok`."""
        return {
            "ok": self.ok,
            "entries": self.entries,
            "blocks": self.blocks,
            "size_bytes": self.size_bytes,
            "growing_bytes": self.growing_bytes,
            "head": self.head.as_json() if self.head else None,
            "faults": [fault.as_json() for fault in self.faults],
        }


def verify_file(
    lines: Iterable[Line],
    check: SignatureCheck,
    *,
    public_key: str | None = None,
    known: SignedHeader | None = None,
    growing: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Check every byte of a ledger.

    Args:
        lines: (byte offset, line with its newline) of the whole file.
        check: verifies signatures.
        public_key: accept only blocks sealed by this key.
        known: a head that the ledger is known to have reached; one that does not contain it is at fault.
        growing: another process may be appending, so an unfinished end is no fault but is counted in `growing_bytes`.
        progress: called after each block.

    Returns:
        The findings; damage is a finding, never an exception.
    """
    run = _Run(check, public_key, known)
    unfinished = 0
    for unit in units(lines):
        if growing and _is_unfinished(unit):
            unfinished = _end(unit) - run.tip.end
            break
        if not run.take(unit):
            break
        if progress is not None:
            progress(run.tip.size, run.tip.end)
    return run.result(unfinished)


class _Run:
    """One verification under way."""

    def __init__(self, check: SignatureCheck, public_key: str | None, known: SignedHeader | None) -> None:
        self.tip = Tip()
        self._check = check
        self._public_key = public_key
        self._known = known.header if known else None
        self._faults: list[Fault] = []
        self._stopped = False

    def take(self, unit: Unit) -> bool:
        """Judge the next unit; False when there is no use in going on behind it."""
        found = examine(unit, self.tip, self._check, public_key=self._public_key)
        self._faults += found.faults
        if found.tip is not None:
            self.tip = found.tip
            self._compare(unit)
        self._stopped = found.tip is None or len(self._faults) >= _FAULTS_KEPT
        return not self._stopped

    def _compare(self, unit: Unit) -> None:
        """Hold the block just taken against the key of those before it and the head that is known."""
        assert self.tip.head is not None
        assert unit.block is not None
        header = self.tip.head.header
        self._public_key = self._public_key or header.public_key
        if self._known is not None and self._known.height == header.height and self._known.digest != header.digest:
            reason = f"another block {header.height} is known to have been sealed: this is a different ledger"
            self._faults.append(Fault(offset=unit.block[0], line=self.tip.lines, block=header.height, reason=reason))

    def result(self, unfinished: int) -> Verification:
        """The findings, and that the known head was not reached if it was not."""
        tip = self.tip
        if self._known is not None and not self._stopped and tip.blocks <= self._known.height:
            reason = (
                f"the file ends after {tip.blocks} blocks, but {self._known.height + 1} are known to have been sealed"
            )
            self._faults.append(Fault(offset=tip.end, line=tip.lines + 1, block=tip.blocks, reason=reason))
        first = self._faults[0] if self._faults else None
        return Verification(
            entries=tip.size if first is None else _proven_before(first, tip),
            blocks=tip.blocks if first is None or first.block is None else min(tip.blocks, first.block),
            size_bytes=tip.end,
            head=tip.head,
            faults=tuple(self._faults[:_FAULTS_KEPT]),
            growing_bytes=unfinished,
        )


def _proven_before(fault: Fault, tip: Tip) -> int:
    """Entries are proven one by one up to a faulty one; a faulty block leaves those of the blocks before it."""
    return tip.size if fault.entry is None else min(tip.size, fault.entry)


def _is_unfinished(unit: Unit) -> bool:
    return unit.block is None or not unit.block[1].endswith(b"\n")


def _end(unit: Unit) -> int:
    offset, line = unit.block or unit.entries[-1]
    return offset + len(line)
