"""The ledger of one node while it runs: takes entries, seals them into blocks, reads them back, and proves.

Entries get their place at once and wait in memory; `seal` makes them durable and signed, one block per call. When to seal,
and keeping entries safe until then, is the caller's (`app.ledgering` has them in the database).

`entry` belongs to one thread (the event loop); everything else may be called from any. `seal` and all reading block on the
disk. Readers see the last sealed block and never wait for one being sealed.

Not covered: several writers (the file is locked by its adapter), removing or changing entries, change of the signing key.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Self, TypeVar

from conductor.domain.clock import Clock
from conductor.domain.errors import Conflict, InvalidInput, LedgerError, NotFound, StorageError
from conductor.domain.json import JsonObject
from conductor.ledger.block import Header, SignedHeader, block_line, sign_header
from conductor.ledger.entry import Body, Entry, make_entry, parse_entry
from conductor.ledger.index import IndexDamaged, LedgerIndex
from conductor.ledger.merkle import leaf_hash
from conductor.ledger.ports import LedgerFile, SignatureCheck, Signer
from conductor.ledger.recovery import TornTail, recover, remake_index
from conductor.ledger.sealed import SealedEntries
from conductor.ledger.unit import Tip
from conductor.ledger.verify import Progress, Verification, verify_file

_Answer = TypeVar("_Answer")


class Ledger:
    """Opened by `Ledger.open`; the file belongs to whoever opened it and is closed by him."""

    def __init__(
        self,
        file: LedgerFile,
        signer: Signer,
        clock: Clock,
        *,
        check: SignatureCheck,
        tip: Tip,
        index: LedgerIndex,
        torn_tail: TornTail | None,
    ) -> None:
        self._file = file
        self._signer = signer
        self._clock = clock
        self._check = check
        self._tip = tip
        self._index = index
        self._sealed = SealedEntries(file, index)
        self._index_is_behind = False
        self.torn_tail = torn_tail
        self._pending: list[Entry] = []
        self._next_index = tip.size
        self._taking = threading.Lock()  # guards the two above
        self._sealing = threading.Lock()  # one block at a time; guards `_tip` and the index against other writers

    @classmethod
    def open(cls, file: LedgerFile, signer: Signer, clock: Clock, *, check: SignatureCheck) -> Self:
        """Take up the ledger where the last block left it; `torn_tail` tells what a crash left behind it.

        Raises:
            LedgerError: the end of the file is damaged, or the ledger was sealed with another key.
            StorageError: the file or its index cannot be read or written.
        """
        index = LedgerIndex(file)
        tip, torn_tail = recover(file, index, check)
        if tip.head is not None and tip.head.header.public_key != signer.public_key:
            raise LedgerError(
                f"this ledger was sealed with the key {tip.head.header.public_key}, but the key at hand is "
                f"{signer.public_key}: put the right key file back, or move the ledger away to begin a new one"
            )
        return cls(file, signer, clock, check=check, tip=tip, index=index, torn_tail=torn_tail)

    @property
    def head(self) -> SignedHeader | None:
        """The last sealed block's signed header; None while there is no block."""
        return self._tip.head

    @property
    def public_key(self) -> str:
        """The key that seals blocks from now on."""
        return self._signer.public_key

    @property
    def size(self) -> int:
        """How many entries are sealed."""
        return self._tip.size

    @property
    def next_index(self) -> int:
        """Which index the next entry will get."""
        return self._next_index

    @property
    def pending(self) -> int:
        """How many entries wait to be sealed."""
        return len(self._pending)

    def entry(self, kind: str, subject: str, body: Body) -> Entry:
        """Take an entry; it has its index from now on and waits to be sealed.

        Raises:
            InvalidInput: the body has no canonical form, see `canonical.canonical`; nothing was taken.
        """
        at_unix_ms = int(self._clock.now_unix_s() * 1000)
        with self._taking:
            entry = make_entry(index=self._next_index, kind=kind, subject=subject, at_unix_ms=at_unix_ms, body=body)
            self._pending.append(entry)
            self._next_index += 1
        return entry

    def restore(self, lines: Sequence[bytes]) -> None:
        """Take entries again that were made before a crash, in order; those already sealed must be the same.

        Raises:
            LedgerError: an entry differs from the sealed one, leaves a gap, or is none; none of those after it are taken.
        """
        for line in lines:
            entry = parse_entry(line)
            if entry.index < self.size:
                self._expect_sealed(entry)
                continue
            with self._taking:
                if entry.index != self._next_index:
                    raise LedgerError(
                        f"the next entry to take up again should be {self._next_index}, but it is {entry.index}: entries "
                        "between them are lost; put ledger and database back from one backup"
                    )
                self._pending.append(entry)
                self._next_index += 1

    def seal(self, size: int | None = None) -> SignedHeader | None:
        """Close a block over the waiting entries, or over those with an index below `size`; None if there are none.

        When it returns, the block is on the disk.

        Raises:
            StorageError: it could not be written; the file is as before and the entries go on waiting.
        """
        with self._sealing:
            with self._taking:
                batch = [entry for entry in self._pending if size is None or entry.index < size]
            if not batch:
                return None
            signed = self._write_block(batch)
            with self._taking:
                del self._pending[: len(batch)]
            return signed

    def read(self, index: int) -> Entry:
        """One entry, sealed or waiting.

        Raises:
            NotFound: there is no such entry.
            LedgerError: its line in the file was damaged.
        """
        if index >= self.size:
            with self._taking:
                for entry in self._pending:
                    if entry.index == index:
                        return entry
        self._require_sealed(index)
        return self._indexed(lambda: self._sealed.entry(index))

    def entries(self, start: int, stop: int) -> list[Entry]:
        """Sealed entries start … stop − 1, as many of them as there are."""
        stop = min(stop, self.size)
        return self._indexed(lambda: self._sealed.entries(start, stop)) if 0 <= start < stop else []

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[SignedHeader]:
        """Signed headers of the blocks with height start … stop − 1, as many of them as there are."""
        count = self._tip.blocks
        for height in range(max(0, start), count if stop is None else min(stop, count)):
            yield self._indexed(partial(self._sealed.block, height))

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Hashes from a sealed entry to the root of the first `size` entries.

        Raises:
            InvalidInput: `size` is more than is sealed, or does not hold the entry.
        """
        if not 0 <= index < size <= self.size:
            raise InvalidInput(f"entry {index} in a tree of {size}: {self.size} entries are sealed", field="size")
        return self._indexed(lambda: self._sealed.inclusion(index, size))

    def receipt(self, index: int) -> JsonObject:
        """The receipt file of a sealed entry, against the present head; see `receipt.verify_receipt`.

        Raises:
            NotFound: there is no such entry.
            Conflict: it is not sealed yet.
            LedgerError: the file was damaged where the entry stands.
        """
        head = self._require_sealed(index)
        return self._indexed(lambda: self._sealed.receipt(index, head)).as_json()

    def consistency(self, old_size: int, new_size: int | None = None) -> JsonObject:
        """The file that proves the first `old_size` entries to be the beginning of the ledger of `new_size`.

        `new_size` is one at which a block was sealed; the present one by default.

        Raises:
            NotFound: nothing is sealed yet.
            InvalidInput: the sizes are out of order or beyond the ledger, or no block ends at `new_size`.
        """
        head = self.head
        if head is None:
            raise NotFound("the ledger is empty; there is nothing to prove yet")
        size = head.header.size if new_size is None else new_size
        if not 0 <= old_size <= size <= head.header.size:
            raise InvalidInput(
                f"from {old_size} to {size} entries: the ledger has {head.header.size}, and the old size comes first",
                field="old_size",
            )
        return self._indexed(lambda: self._sealed.consistency(old_size, size, self._tip.blocks)).as_json()

    def verify(self, progress: Progress | None = None) -> Verification:
        """Check every byte of the file up to the present head, against the head and key in memory."""
        tip = self._tip
        return verify_file(
            self._file.lines(0, tip.end),
            self._check,
            public_key=self._signer.public_key,
            known=tip.head,
            progress=progress,
        )

    def _write_block(self, batch: Sequence[Entry]) -> SignedHeader:
        tip, tree = self._tip, self._tip.tree.copy()
        leaves = [leaf_hash(entry.line) for entry in batch]
        new_nodes = tree.extend(leaves)
        header = Header(
            height=tip.blocks,
            size=tree.size,
            root=tree.root().hex(),
            previous=tip.previous,
            at_unix_ms=int(self._clock.now_unix_s() * 1000),
            public_key=self._signer.public_key,
        )
        signed = sign_header(header, self._signer)
        lines = [entry.line for entry in batch]
        offsets = [tip.end]
        for line in lines:
            offsets.append(offsets[-1] + len(line) + 1)
        data = b"\n".join([*lines, block_line(signed, leaves), b""])
        self._file.append(data)
        self._extend_index(offsets, new_nodes)
        self._tip = Tip(
            tree=tree,
            blocks=tip.blocks + 1,
            head=signed,
            end=tip.end + len(data),
            lines=tip.lines + len(batch) + 1,
        )
        return signed

    def _extend_index(self, offsets: Sequence[int], new_nodes: Sequence[bytes]) -> None:
        """Index the block just written. It is sealed whether this succeeds or not, so a failure only leaves a mark."""
        if self._index_is_behind:
            return
        try:
            self._index.extend(
                height=self._tip.blocks,
                size_before=self._tip.size,
                leaf_offsets=offsets[:-1],
                new_nodes=new_nodes,
                block_offset=offsets[-1],
            )
        except StorageError:
            self._index_is_behind = True

    def _indexed(self, answer: Callable[[], _Answer]) -> _Answer:
        """Answer with the help of the index, which is made again once if it turns out wrong."""
        try:
            return answer()
        except IndexDamaged:
            self._remake_index()
        try:
            return answer()
        except IndexDamaged as still:
            raise StorageError(
                f"the tables beside the ledger file do not keep what is written to them: {still}"
            ) from still

    def _remake_index(self) -> None:
        with self._sealing:
            remake_index(self._file, self._index, self._check, stop=self._tip.end)
            self._index_is_behind = False

    def _require_sealed(self, index: int) -> SignedHeader:
        head = self.head
        if head is not None and 0 <= index < head.header.size:
            return head
        if 0 <= index < self._next_index:
            raise Conflict(f"entry {index} is not sealed yet; ask again in a moment", field="index")
        raise NotFound(f"there is no entry {index}; the ledger has {self._next_index}", field="index")

    def _expect_sealed(self, entry: Entry) -> None:
        sealed = self.read(entry.index)
        if sealed.line != entry.line:
            raise LedgerError(
                f"entry {entry.index} was recorded as {entry.kind} of {entry.subject}, but sealed as {sealed.kind} of "
                f"{sealed.subject}: ledger and database do not belong together; put both back from one backup",
                details={"entry": entry.index},
            )
