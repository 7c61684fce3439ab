"""What the ledger needs from the outside: a signature and a file that only grows."""

from collections.abc import Iterator, Sequence
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


class LedgerFile(Protocol):
    """An append-only file of lines, each ending in a newline, with quick access to the leaf hashes of its entries.

    Lines are opaque here. `leaf` numbers count only the lines that were appended with a leaf hash.
    """

    def append(self, lines: Sequence[bytes], leaf_hashes: Sequence[bytes | None]) -> None:
        """Append lines (without their newlines) in one durable write; the hash is None for lines that are no leaf."""
        ...

    def lines(self, *, offset: int = 0) -> Iterator[tuple[int, bytes]]:
        """(byte offset, line without newline) from an offset on."""
        ...

    def leaf_line(self, leaf: int) -> bytes:
        """The line of one leaf."""
        ...

    def leaf_hashes(self, start: int, stop: int) -> Sequence[bytes]:
        """32-byte leaf hashes of leaves start..stop-1."""
        ...

    def leaf_count(self) -> int:
        """How many leaves there are."""
        ...
