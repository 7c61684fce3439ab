"""Find out, at opening, where the ledger file ends and that its index says the same.

The last indexed block that its own signature and the stored tree confirm is where reading begins; what follows is judged
line by line and indexed. So a start reads a few hundred bytes when all is well, what a crash kept from the index when
it is not, and the whole file when the index is lost.

A crash while appending leaves the beginning of a unit at the end of the file. That, and nothing else, is moved into a file
of its own; anything a crash cannot have done stops the start with the place of the damage. Damage before the last block is
not looked for here (`ledger.verify` does).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from conductor.domain.errors import LedgerError
from conductor.ledger.block import distrust, parse_block_line
from conductor.ledger.index import IndexDamaged, LedgerIndex
from conductor.ledger.merkle import CompactRange
from conductor.ledger.ports import LedgerFile, SignatureCheck
from conductor.ledger.unit import Fault, Tip, Unit, examine, is_torn, units

#: A crash can leave the tables one block apart; beyond that, reading everything again is the safer way.
_BLOCKS_TRIED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TornTail:
    """The unfinished end of the file that a crash left: how much it was, and where it is kept now."""

    offset: int
    bytes_set_aside: int
    kept_in: str


def recover(file: LedgerFile, index: LedgerIndex, check: SignatureCheck) -> tuple[Tip, TornTail | None]:
    """Bring file and index to a common end, believing the index where it is confirmed.

    Raises:
        LedgerError: the file is damaged in a way that no crash explains; `details` holds the fault.
        StorageError: the index or the file cannot be written.
    """
    return _follow(file, index, check, _confirmed_tip(file, index, check))


def remake_index(file: LedgerFile, index: LedgerIndex, check: SignatureCheck, *, stop: int) -> Tip:
    """Read the file up to byte `stop` and write all tables again.

    Raises:
        LedgerError: the file itself is damaged; `details` holds the fault.
        StorageError: the index cannot be written.
    """
    tip = Tip()
    for unit in units(file.lines(0, stop)):
        tip = _indexed(unit, tip, index, check)
    return tip


def damage(fault: Fault) -> LedgerError:
    """The error that says where the ledger is damaged and what to do."""
    return LedgerError(
        f"the ledger is damaged at {fault}. `conductor ledger verify` lists all damage; put the file back from a backup",
        details=fault.as_json(),
    )


def _confirmed_tip(file: LedgerFile, index: LedgerIndex, check: SignatureCheck) -> Tip:
    for height, offset, size in islice(_blocks_from_last(index), _BLOCKS_TRIED):
        try:
            line = next(file.lines(offset), (offset, b""))[1]
            signed, _ = parse_block_line(line[:-1])
            tree = CompactRange.read(size, index.node)
        except (LedgerError, IndexDamaged):
            continue
        header = signed.header
        agrees = (header.height, header.size, header.root) == (height, size, tree.root().hex())
        if agrees and line.endswith(b"\n") and distrust(signed, check) is None:
            return Tip(tree=tree, blocks=height + 1, head=signed, end=offset + len(line), lines=size + height + 1)
    return Tip()


def _blocks_from_last(index: LedgerIndex) -> Iterator[tuple[int, int, int]]:
    for height in reversed(range(index.block_count())):
        yield height, *index.block(height)


def _follow(file: LedgerFile, index: LedgerIndex, check: SignatureCheck, tip: Tip) -> tuple[Tip, TornTail | None]:
    end = file.size_bytes
    for unit in units(file.lines(tip.end)):
        if is_torn(unit, tip):
            return tip, TornTail(offset=tip.end, bytes_set_aside=end - tip.end, kept_in=file.set_aside(tip.end))
        tip = _indexed(unit, tip, index, check)
    return tip, None


def _indexed(unit: Unit, tip: Tip, index: LedgerIndex, check: SignatureCheck) -> Tip:
    found = examine(unit, tip, check, public_key=tip.head.header.public_key if tip.head else None)
    if found.tip is None or found.faults or unit.block is None:
        raise damage(found.faults[0])
    index.extend(
        height=tip.blocks,
        size_before=tip.size,
        leaf_offsets=[offset for offset, _ in unit.entries],
        new_nodes=found.new_nodes,
        block_offset=unit.block[0],
    )
    return found.tip
