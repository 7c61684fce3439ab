"""The Merkle tree of a transparency log: hashes, roots, inclusion and consistency proofs.

Pure arithmetic over 32-byte hashes. Where the hashes of inner nodes are kept is `ledger.index`; what a leaf is,
`ledger.entry`. Proofs are made from the hashes of complete subtrees only, so making one reads O(log² n) of them at worst.

Covered: every size, the empty tree included. A consistency proof from size 0 is empty and always holds, as tlog-witness
asks. Not covered: other hash functions than SHA-256, proofs over ranges of leaves.

Source: RFC 9162 (and RFC 6962, which hashes the same); the numbering of stored nodes is that of Go's sumdb/tlog.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final, Self

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256().digest()

#: Gives the hash of the complete subtree over leaves n·2^level … (n+1)·2^level − 1, called with (level, n).
NodeReader = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """SHA-256 of 0x00 and the leaf's bytes (RFC 9162 2.1.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and both children (RFC 9162 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def node_position(level: int, n: int) -> int:
    """Where a complete subtree's hash stands when nodes are stored in the order in which they become complete."""
    leaf = ((n + 1) << level) - 1
    return node_count(leaf) + level


def node_count(size: int) -> int:
    """How many complete subtrees, leaves included, a tree of `size` leaves has."""
    return 2 * size - size.bit_count()


class CompactRange:
    """The right edge of a growing tree: enough to append leaves and to tell the root, in O(log n) memory."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # roots of the complete subtrees that make up the tree, largest first

    @classmethod
    def read(cls, size: int, node: NodeReader) -> Self:
        """The edge of a tree whose nodes are stored."""
        edge = cls()
        edge.size = size
        edge._peaks = _cover(0, size, node)
        return edge

    def copy(self) -> Self:
        """The same edge, to grow on its own."""
        twin = type(self)()
        twin.size, twin._peaks = self.size, self._peaks.copy()
        return twin

    def extend(self, leaf_hashes: Iterable[bytes]) -> list[bytes]:
        """Append leaves; returns the hashes of all subtrees that became complete, in the order of `node_position`."""
        peaks, complete = self._peaks, []
        for hashed in leaf_hashes:
            complete.append(hashed)
            full = self.size
            while full & 1:
                hashed = sha256(b"\x01" + peaks.pop() + hashed).digest()  # node_hash, without the call
                complete.append(hashed)
                full >>= 1
            peaks.append(hashed)
            self.size += 1
        return complete

    def root(self) -> bytes:
        """The tree's root; the hash of nothing for the empty tree."""
        return _fold(self._peaks) if self._peaks else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """Sibling hashes from leaf `index` up to the root of the first `size` leaves (RFC 9162 2.1.3.1).

    Raises:
        ValueError: the leaf is not in the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    proof = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            proof.append(_subtree_root(middle, stop, node))
            stop = middle
        else:
            proof.append(_subtree_root(start, middle, node))
            start = middle
    return proof[::-1]


def root_from_inclusion(index: int, size: int, hashed: bytes, proof: Sequence[bytes]) -> bytes | None:
    """The root that a proof leads to from a leaf hash; None if its length cannot be right (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(hashed, *proof):
        return None
    path, last, root = index, size - 1, hashed
    for sibling in proof:
        if last == 0:
            return None
        if path & 1 or path == last:
            root = node_hash(sibling, root)
            while path and not path & 1:
                path, last = path >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        path, last = path >> 1, last >> 1
    return root if last == 0 else None


def consistency_proof(old_size: int, new_size: int, node: NodeReader) -> list[bytes]:
    """Hashes that show the first `old_size` leaves to be a prefix of `new_size` leaves (RFC 9162 2.1.4.1).

    Raises:
        ValueError: the old tree is larger than the new one.
    """
    if not 0 <= old_size <= new_size:
        raise ValueError(f"a tree of {new_size} cannot extend one of {old_size}")
    if old_size in (0, new_size):
        return []
    proof = []
    start, stop = 0, new_size
    while stop != old_size:
        middle = start + _split(stop - start)
        if old_size <= middle:
            proof.append(_subtree_root(middle, stop, node))
            stop = middle
        else:
            proof.append(_subtree_root(start, middle, node))
            start = middle
    if start:  # otherwise the old root itself is the subtree to begin from, and the verifier has it
        proof.append(_subtree_root(start, stop, node))
    return proof[::-1]


def consistency_holds(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows the old tree to be a prefix of the new one (RFC 9162 2.1.4.2)."""
    if not 0 <= old_size <= new_size or not _are_hashes(*proof):
        return False
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT and (new_size > 0 or new_root == EMPTY_ROOT)
    if old_size == new_size:
        return not proof and old_root == new_root
    path = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    if not path:
        return False
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def _split(size: int) -> int:
    """The largest power of two below `size` (`size` > 1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _subtree_root(start: int, stop: int, node: NodeReader) -> bytes:
    """Root over the leaves start … stop − 1, where `start` is a multiple of a power of two ≥ stop − start."""
    return _fold(_cover(start, stop, node))


def _cover(start: int, stop: int, node: NodeReader) -> list[bytes]:
    """Hashes of the complete subtrees that make up a range, largest first."""
    hashes = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        hashes.append(node(level, start >> level))
        start += 1 << level
    return hashes


def _fold(peaks: Sequence[bytes]) -> bytes:
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root
