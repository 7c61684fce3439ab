"""Find out, at opening, where the ledger file ends and that its index says the same.

The last indexed block that its own signature and the stored tree confirm is where reading begins; what follows is judged
line by line and indexed. So a start reads a few hundred bytes when all is well, what a crash kept from the index when
it is not, and the whole file when the index is lost.

A crash while appending leaves the beginning of a unit at the end of the file. That, and nothing else, is moved into a file
of its own; anything a crash cannot have done stops the start with the place of the damage. Damage before the last block is
not looked for here (`ledger.verify` does).
"""

from dataclasses import dataclass
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
    last = index.block_count() - 1
    for height in range(last, max(-1, last - _BLOCKS_TRIED), -1):
        try:
            return _tip_behind(height, file, index, check)
        except (LedgerError, IndexDamaged):
            continue
    return Tip()


def _tip_behind(height: int, file: LedgerFile, index: LedgerIndex, check: SignatureCheck) -> Tip:
    offset, size = index.block(height)
    line = next(file.lines(offset), (offset, b""))[1]
    signed, _ = parse_block_line(line[:-1])
    if (signed.header.height, signed.header.size) != (height, size) or not line.endswith(b"\n"):
        raise IndexDamaged(f"block {height} is not where it is indexed")
    tree = CompactRange.read(size, index.node)
    if tree.root().hex() != signed.header.root or distrust(signed, check):
        raise IndexDamaged(f"block {height} does not have the root that is indexed")
    return Tip(tree=tree, blocks=height + 1, head=signed, end=offset + len(line), lines=size + height + 1)


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
