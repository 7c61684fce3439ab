"""What the ledger needs from the outside: a signature, a file that only grows, and tables that speed up reading it."""

from collections.abc import Iterator
from typing import Protocol


class Signer(Protocol):
    """Holds one BIP-340 key pair."""

    @property
    def public_key(self) -> str:
        """x-only public key, 64 lowercase hex digits."""
        ...

    def sign(self, digest: bytes) -> str:
        """BIP-340 signature over a 32-byte digest, 128 lowercase hex digits."""
        ...


class SignatureCheck(Protocol):
    """Verifies BIP-340 signatures; needs no key of its own."""

    def __call__(self, public_key: str, digest: bytes, signature: str) -> bool:
        """Whether the signature holds; False, never an error, for malformed input."""
        ...


class Records(Protocol):
    """A table of records of one width. It may be lost at any time: everything in it can be made again from the lines."""

    def __len__(self) -> int:
        """How many whole records there are."""
        ...

    def read(self, start: int, count: int = 1) -> bytes:
        """Records start … start + count − 1, joined; shorter where the table ends."""
        ...

    def write(self, start: int, data: bytes) -> None:
        """Put records at `start`; whatever stood there and after it is gone. Not durable until the system wills."""
        ...


class LedgerFile(Protocol):
    """An append-only file of lines, and three tables beside it. Lines and records are opaque here.

    Reading is safe from several threads, also while one thread appends.
    """

    @property
    def size_bytes(self) -> int:
        """Where the next line will begin."""
        ...

    @property
    def leaf_offsets(self) -> Records:
        """8 bytes per entry."""
        ...

    @property
    def block_offsets(self) -> Records:
        """16 bytes per block."""
        ...

    @property
    def nodes(self) -> Records:
        """32 bytes per node of the Merkle tree."""
        ...

    def append(self, data: bytes) -> None:
        """Append whole lines, durably, all or nothing.

        Raises:
            StorageError: it could not be done; the file is as it was.
        """
        ...

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """(byte offset, line with its newline) from `start` up to `stop` or the end; the last may lack its newline."""
        ...

    def set_aside(self, offset: int) -> str:
        """Move everything from `offset` on into a file of its own, durably; returns where to."""
        ...
