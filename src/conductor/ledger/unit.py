"""Judge one unit of the ledger file: a batch of entry lines and the block line that closes it.

This is the one place that decides whether bytes are a valid continuation of the ledger; verification of the whole file,
opening after a crash and making the index again all go through `examine`. Every byte of a unit is covered: entry lines
by their leaf hashes, those by the signed root, the rest of the block line by its one canonical form.

A fault is pinned to a line. Where the block holds, the faulty entries are known one by one and judging can go on behind
it; where the block itself is damaged, nothing after it can be proven, and `Examination.tip` is None.

Not covered: whether what an entry says is true or sensible.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from conductor.domain.errors import LedgerError
from conductor.domain.json import JsonObject
from conductor.ledger.block import BLOCK_PREFIX, NO_PREVIOUS, SignedHeader, distrust, parse_block_line
from conductor.ledger.entry import parse_entry
from conductor.ledger.merkle import CompactRange, leaf_hash
from conductor.ledger.ports import SignatureCheck

#: (byte offset, line with its newline)
Line = tuple[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is not as it was signed, and exactly where.

    `offset` and `line` (from 1) say where the faulty line begins; `entry` and `block` name it where it can be named.
    """

    offset: int
    line: int
    reason: str
    entry: int | None = None
    block: int | None = None

    def __str__(self) -> str:
        names = [
            f"{noun} {number}" for noun, number in (("entry", self.entry), ("block", self.block)) if number is not None
        ]
        return f"line {self.line:,} (byte {self.offset:,}{''.join(', ' + name for name in names)}): {self.reason}"

    def as_json(self) -> JsonObject:
        """All members."""
        return {
            "offset": self.offset,
            "line": self.line,
            "entry": self.entry,
            "block": self.block,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The state of the ledger behind a block: what the next unit has to continue. The default is the empty ledger."""

    tree: CompactRange = field(default_factory=CompactRange)
    blocks: int = 0
    head: SignedHeader | None = None
    end: int = 0
    lines: int = 0

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self.tree.size

    @property
    def previous(self) -> str:
        """What the next block must name as its predecessor."""
        return self.head.header.digest.hex() if self.head else NO_PREVIOUS


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Lines up to and including a block line; `block` is None when the file ends before one."""

    entries: Sequence[Line]
    block: Line | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What came out: the tip behind the unit, unless nothing can be proven from here on; and all faults, in order.

    `new_nodes` are the subtrees the unit completed, as `CompactRange.extend` gives them.
    """

    tip: Tip | None
    faults: Sequence[Fault] = ()
    new_nodes: Sequence[bytes] = ()


def units(lines: Iterable[Line]) -> Iterator[Unit]:
    """Group lines into units; only the last can be without a block."""
    entries: list[Line] = []
    for line in lines:
        if line[1].startswith(BLOCK_PREFIX):
            yield Unit(entries=entries, block=line)
            entries = []
        else:
            entries.append(line)
    if entries:
        yield Unit(entries=entries, block=None)


def examine(unit: Unit, tip: Tip, check: SignatureCheck, *, public_key: str | None = None) -> Examination:
    """Judge a unit as the continuation of `tip`; with `public_key`, only blocks sealed by that key are accepted."""
    if unit.block is None:
        return Examination(tip=None, faults=[unclosed(unit, tip)])
    offset, line = unit.block
    tree = tip.tree.copy()
    try:
        signed, leaves = _continuing_block(line, tip, check, public_key)
        new_nodes = _grown(tree, signed, leaves)
    except LedgerError as refusal:
        number = tip.lines + len(unit.entries) + 1
        at_block = Fault(offset=offset, line=number, block=tip.blocks, reason=refusal.message)
        return Examination(tip=None, faults=[_first_unreadable(unit, tip) or at_block])
    behind = Tip(
        tree=tree,
        blocks=tip.blocks + 1,
        head=signed,
        end=offset + len(line),
        lines=tip.lines + len(unit.entries) + 1,
    )
    return Examination(tip=behind, faults=_changed_entries(unit, tip, leaves), new_nodes=new_nodes)


def unclosed(unit: Unit, tip: Tip) -> Fault:
    """The fault of lines that no block closes: the first that cannot be read, or else the first."""
    return _first_unreadable(unit, tip) or _fault_at(unit, tip, 0, "no block closes the file's last lines")


def is_torn(unit: Unit, tip: Tip) -> bool:
    """Whether a crash while appending can have left these lines: good entries, then at most one line cut short.

    A whole block line that lacks only its newline is what a crash leaves one byte before the end; with another character
    in the newline's place it is damage.
    """
    lost = _first_unreadable(unit, tip)
    if unit.block is None:
        return lost is None or (lost.offset == unit.entries[-1][0] and not unit.entries[-1][1].endswith(b"\n"))
    line = unit.block[1]
    return lost is None and not line.endswith(b"\n") and not _is_block(line[:-1])


def _continuing_block(
    line: bytes, tip: Tip, check: SignatureCheck, public_key: str | None
) -> tuple[SignedHeader, list[bytes]]:
    """Header and leaf hashes of a block line that is signed and follows `tip`; raises `LedgerError` for any other."""
    if not line.endswith(b"\n"):
        raise LedgerError("the block line does not end in a newline")
    signed, leaves = parse_block_line(line[:-1])
    if reason := distrust(signed, check):
        raise LedgerError(reason)
    header = signed.header
    if header.height != tip.blocks:
        raise LedgerError(f"block {tip.blocks} should stand here, but this is block {header.height}")
    if header.previous != tip.previous:
        raise LedgerError(f"it follows a block with digest {header.previous}, but the one before it has {tip.previous}")
    if public_key is not None and header.public_key != public_key:
        raise LedgerError(f"sealed by {header.public_key} and not by {public_key}")
    return signed, leaves


def _grown(tree: CompactRange, signed: SignedHeader, leaves: Sequence[bytes]) -> list[bytes]:
    """Grow the tree by the block's leaves; raises `LedgerError` if that does not give the size and root it signs."""
    new_nodes = tree.extend(leaves)
    if not leaves or tree.size != signed.header.size or tree.root().hex() != signed.header.root:
        raise LedgerError("its list of leaf hashes does not give the root that was signed")
    return new_nodes


def _is_block(line: bytes) -> bool:
    try:
        parse_block_line(line)
    except LedgerError:
        return False
    return True


def _changed_entries(unit: Unit, tip: Tip, leaves: Sequence[bytes]) -> list[Fault]:
    """Compare the lines with the proven leaf hashes, and the place each entry claims with the one it has."""
    hashes = [leaf_hash(line[:-1]) for _, line in unit.entries]
    if hashes != leaves:
        return _differences(unit, tip, hashes, leaves)
    return [
        _fault_at(unit, tip, place, reason)
        for place, (_, line) in enumerate(unit.entries)
        if (reason := _not_entry(line[:-1], tip.size + place))
    ]


def _differences(unit: Unit, tip: Tip, hashes: Sequence[bytes], leaves: Sequence[bytes]) -> list[Fault]:
    if len(hashes) == len(leaves):
        return [
            _fault_at(unit, tip, place, "the entry was changed after it was signed")
            for place, (found, signed) in enumerate(zip(hashes, leaves, strict=True))
            if found != signed
        ]
    same = next(
        (n for n, (a, b) in enumerate(zip(hashes, leaves, strict=False)) if a != b), min(len(hashes), len(leaves))
    )
    reason = (
        f"the block closes {len(leaves)} entries, but {len(hashes)} lines stand before it; they differ from here on"
    )
    return [_fault_at(unit, tip, same, reason)]


def _first_unreadable(unit: Unit, tip: Tip) -> Fault | None:
    for place, (_, line) in enumerate(unit.entries):
        if not line.endswith(b"\n"):
            return _fault_at(unit, tip, place, "the file ends inside this line")
        if reason := _not_entry(line[:-1], tip.size + place):
            return _fault_at(unit, tip, place, reason)
    return None


def _not_entry(line: bytes, index: int) -> str | None:
    try:
        entry = parse_entry(line)
    except LedgerError as refusal:
        return refusal.message
    return None if entry.index == index else f"the entry calls itself {entry.index}, but it is number {index}"


def _fault_at(unit: Unit, tip: Tip, place: int, reason: str) -> Fault:
    """A fault at an entry's line, or at the block's if the lines are too few."""
    offset = unit.entries[place][0] if place < len(unit.entries) else (unit.block or unit.entries[-1])[0]
    return Fault(
        offset=offset,
        line=tip.lines + place + 1,
        entry=tip.size + place,
        block=tip.blocks if unit.block else None,
        reason=reason,
    )
