"""Where things stand in the ledger file, so that reading an entry or making a proof need not read all of it.

Three tables beside the file: the byte offset of every entry, offset and tree size of every block, and the hash of every
complete subtree. They are a convenience, written without waiting for the disk: opening believes them only as far as a
signed block agrees (`ledger.recovery`), everything made from them is checked before it is handed out (`ledger.chain`),
and verification does not look at them at all. Whatever is wrong with them is `IndexDamaged`, and they are made again.
"""

import struct
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from conductor.ledger.merkle import HASH_BYTES, node_count, node_position
from conductor.ledger.ports import LedgerFile

_OFFSET: Final = struct.Struct("<Q")
_BLOCK: Final = struct.Struct("<QQ")


class IndexDamaged(Exception):
    """A table is shorter than the ledger, or contradicts it. Never leaves the room: it means "make the index again"."""


class LedgerIndex:
    """Reads and extends the tables of one ledger file. Blocks count from 0, like entries."""

    def __init__(self, file: LedgerFile) -> None:
        self._leaf_offsets = file.leaf_offsets
        self._block_offsets = file.block_offsets
        self._nodes = file.nodes

    def node(self, level: int, n: int) -> bytes:
        """Hash of a complete subtree; a `merkle.NodeReader`."""
        return _whole(self._nodes.read(node_position(level, n)), HASH_BYTES)

    def leaf_offset(self, index: int) -> int:
        """Where the line of an entry begins."""
        return int(_OFFSET.unpack(_whole(self._leaf_offsets.read(index), _OFFSET.size))[0])

    def block(self, height: int) -> tuple[int, int]:
        """Where the line of a block begins, and the tree's size with it."""
        offset, size = _BLOCK.unpack(_whole(self._block_offsets.read(height), _BLOCK.size))
        return offset, size

    def block_count(self) -> int:
        """How many blocks the table holds."""
        return len(self._block_offsets)

    def closing(self, size: int, block_count: int) -> int:
        """Height of the first block whose tree holds at least `size` entries, among the first `block_count`."""
        return bisect_left(range(block_count), size, key=lambda height: self.block(height)[1])

    def extend(
        self,
        *,
        height: int,
        size_before: int,
        leaf_offsets: Sequence[int],
        new_nodes: Sequence[bytes],
        block_offset: int,
    ) -> None:
        """Add one block with its entries; anything that stood there or after it goes.

        Raises:
            StorageError: a table cannot be written; it is then to be made again.
        """
        size = size_before + len(leaf_offsets)
        self._leaf_offsets.write(size_before, struct.pack(f"<{len(leaf_offsets)}Q", *leaf_offsets))
        self._nodes.write(node_count(size_before), b"".join(new_nodes))
        self._block_offsets.write(height, _BLOCK.pack(block_offset, size))


def _whole(record: bytes, width: int) -> bytes:
    if len(record) != width:
        raise IndexDamaged("a table beside the ledger ends too early")
    return record
