"""Read sealed entries and blocks with the help of the index, and make proofs about them.

Nothing is handed out on the word of the index alone: an entry must have the hash that stands in the tree, a block must be
the one that was asked for, and a proof must lead to a signed root. What does not is `IndexDamaged`, which says nothing yet
about the file itself: making the index again tells.
"""

from collections.abc import Iterator
from itertools import takewhile

from conductor.domain.errors import InvalidInput, LedgerError
from conductor.ledger.block import BLOCK_PREFIX, SignedHeader, parse_block_line
from conductor.ledger.entry import Entry, parse_entry
from conductor.ledger.index import IndexDamaged, LedgerIndex
from conductor.ledger.merkle import CompactRange, consistency_proof, inclusion_proof, leaf_hash
from conductor.ledger.ports import LedgerFile
from conductor.ledger.receipt import ConsistencyProof, Receipt, check_consistency, check_path


class SealedEntries:
    """What stands in the file. Indexes, heights and sizes must be within the ledger; the caller has made sure."""

    def __init__(self, file: LedgerFile, index: LedgerIndex) -> None:
        self._file = file
        self._index = index

    def entry(self, index: int) -> Entry:
        """One entry.

        Raises:
            IndexDamaged: its line is not the one that was indexed; so for all methods here.
        """
        line = self._line_at(self._index.leaf_offset(index))
        if leaf_hash(line) != self._index.node(0, index):
            raise IndexDamaged(f"entry {index} does not have the hash it is indexed with")
        return parse_entry(line)

    def entries(self, start: int, stop: int) -> list[Entry]:
        """Entries start … stop − 1, in one go; their hashes are left to verification."""
        try:
            found = [parse_entry(line) for line in self._entry_lines(start, stop)]
        except LedgerError as refusal:
            raise IndexDamaged(refusal.message) from refusal
        if [entry.index for entry in found] != list(range(start, stop)):
            raise IndexDamaged(f"entries {start} to {stop - 1} are not where they are indexed")
        return found

    def block(self, height: int) -> SignedHeader:
        """The signed header of one block."""
        offset, size = self._index.block(height)
        try:
            signed, _ = parse_block_line(self._line_at(offset))
        except LedgerError as refusal:
            raise IndexDamaged(refusal.message) from refusal
        if (signed.header.height, signed.header.size) != (height, size):
            raise IndexDamaged(f"block {height} is not where it is indexed")
        return signed

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Hashes from an entry to the root of the first `size` entries."""
        return inclusion_proof(index, size, self._index.node)

    def receipt(self, index: int, head: SignedHeader) -> Receipt:
        """The receipt of an entry under a head."""
        entry = self.entry(index)
        proof = self.inclusion(index, head.header.size)
        receipt = Receipt(entry=entry, index=index, leaf_hash=leaf_hash(entry.line), proof=proof, signed=head)
        try:
            check_path(receipt)
        except LedgerError as refusal:
            raise IndexDamaged(refusal.message) from refusal
        return receipt

    def consistency(self, old_size: int, new_size: int, blocks: int) -> ConsistencyProof:
        """The proof between two sizes of a ledger of `blocks` blocks.

        Raises:
            InvalidInput: no block ends at `new_size`.
        """
        new = self._block_of(new_size, blocks)
        if new is None:
            raise InvalidInput(
                f"no block was sealed at {new_size} entries; the new size must be one at which a block ends",
                field="new_size",
            )
        proof = ConsistencyProof(
            old_size=old_size,
            old_root=CompactRange.read(old_size, self._index.node).root(),
            proof=consistency_proof(old_size, new_size, self._index.node),
            old=self._block_of(old_size, blocks),
            new=new,
        )
        try:
            check_consistency(proof)
        except LedgerError as refusal:
            raise IndexDamaged(refusal.message) from refusal
        return proof

    def _block_of(self, size: int, blocks: int) -> SignedHeader | None:
        signed = self.block(self._index.closing(size, blocks))
        return signed if signed.header.size == size else None

    def _entry_lines(self, start: int, stop: int) -> Iterator[bytes]:
        first, last = self._index.leaf_offset(start), self._index.leaf_offset(stop - 1)
        for _, line in takewhile(lambda place: place[0] <= last, self._file.lines(first)):
            if not line.startswith(BLOCK_PREFIX):
                yield line[:-1]

    def _line_at(self, offset: int) -> bytes:
        """The line that begins at an offset, without its newline."""
        return next(self._file.lines(offset), (offset, b""))[1][:-1]
