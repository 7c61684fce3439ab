"""A block: the signed statement that closes a batch of entries and links it to all that came before.

A block line is canonical JSON (RFC 8785) with three members:

- `block`, the header: `at_unix_ms`, `height` (0, 1, …), `previous` (the digest of the block before, 64 zeros for the
  first), `public_key` (of the node that sealed it), `root` and `size` (of the Merkle tree over all entries up to here);
- `leaves`: the leaf hashes of the batch. They are not signed, but together with the tree before they must give the signed
  root; that is what lets a verifier name the very entry that was changed instead of the batch it stands in;
- `signatures`: `[{"public_key", "signature"}, …]`, BIP-340 over the header's digest. For now it is exactly that of the
  sealing node; anybody else's is refused, because nothing yet says who may sign. Co-signatures of further validators
  over the same digest have their place here, so files of today stay valid under a quorum of one.

The digest is a tagged hash (BIP-340) of the header's canonical bytes. A change of meaning takes a new tag.

Not covered: what quorum of signatures is enough (there is one validator for now), change of the sealing key.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Final, cast

import orjson

from conductor.domain.errors import LedgerError
from conductor.domain.json import JsonObject
from conductor.ledger.canonical import canonical
from conductor.ledger.merkle import HASH_BYTES
from conductor.ledger.ports import SignatureCheck, Signer

#: How every block line begins, because members are sorted; no entry line begins like this.
BLOCK_PREFIX: Final = b'{"block":'
NO_PREVIOUS: Final = "0" * 64

_TAG: Final = sha256(b"conductor/block/v1").digest()
_HEADER_MEMBERS: Final = frozenset({"at_unix_ms", "height", "previous", "public_key", "root", "size"})
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is signed. Hashes and keys are lowercase hex; `size` counts the entries up to and including this block."""

    height: int
    size: int
    root: str
    previous: str
    at_unix_ms: int
    public_key: str

    def as_json(self) -> JsonObject:
        """The members of the header."""
        return {
            "at_unix_ms": self.at_unix_ms,
            "height": self.height,
            "previous": self.previous,
            "public_key": self.public_key,
            "root": self.root,
            "size": self.size,
        }

    @cached_property
    def digest(self) -> bytes:
        """32 bytes: what the signatures cover and the next block calls `previous`."""
        return sha256(_TAG + _TAG + canonical(self.as_json())).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One node's word for a header; lowercase hex."""

    public_key: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHeader:
    """A header with the signatures over it: all that a proof has to carry of a block."""

    header: Header
    signatures: tuple[Signature, ...]

    def as_json(self) -> JsonObject:
        """`{"block": …, "signatures": […]}`."""
        signatures = [{"public_key": s.public_key, "signature": s.signature} for s in self.signatures]
        return {"block": self.header.as_json(), "signatures": signatures}


def sign_header(header: Header, signer: Signer) -> SignedHeader:
    """Put the sealing node's signature under a header."""
    signature = Signature(public_key=signer.public_key, signature=signer.sign(header.digest))
    return SignedHeader(header=header, signatures=(signature,))


def distrust(signed: SignedHeader, check: SignatureCheck) -> str | None:
    """Why the signatures do not carry the header, or None if they do: the sealing node's holds, and there is no other."""
    header = signed.header
    signers = [each.public_key for each in signed.signatures]
    if signers != [header.public_key]:
        return f"block {header.height} is to be signed by {header.public_key} alone, but is by {', '.join(signers)}"
    if not check(header.public_key, header.digest, signed.signatures[0].signature):
        return f"the signature of {header.public_key} does not fit block {header.height}"
    return None


def block_line(signed: SignedHeader, leaf_hashes: Sequence[bytes]) -> bytes:
    """The line of a block, without a newline."""
    return canonical({**signed.as_json(), "leaves": [hashed.hex() for hashed in leaf_hashes]})


def parse_block_line(line: bytes) -> tuple[SignedHeader, list[bytes]]:
    """Read header, signatures and leaf hashes (32 bytes each) back from a block line (without newline).

    Raises:
        LedgerError: the line is no block in canonical form.
    """
    try:
        members = orjson.loads(line)
    except orjson.JSONDecodeError as refusal:
        raise LedgerError(f"not a block: {refusal}") from refusal
    if not isinstance(members, dict) or members.keys() != {"block", "leaves", "signatures"}:
        raise LedgerError("not a block: its members must be exactly block, leaves, signatures")
    signed = signed_header_from({"block": members["block"], "signatures": members["signatures"]})
    leaves = _leaves_from(members["leaves"])
    if block_line(signed, leaves) != line:
        raise LedgerError("not a block: it is not in canonical form")
    return signed, leaves


def signed_header_from(members: Any) -> SignedHeader:
    """Read `{"block": …, "signatures": […]}`.

    Raises:
        LedgerError: members are missing, unknown or of the wrong form.
    """
    if not isinstance(members, dict) or members.keys() != {"block", "signatures"}:
        raise LedgerError("not a signed header: its members must be exactly block, signatures")
    signatures = members["signatures"]
    if not isinstance(signatures, list) or not signatures:
        raise LedgerError("not a signed header: signatures must be a list of at least one")
    return SignedHeader(header=_header_from(members["block"]), signatures=tuple(map(_signature_from, signatures)))


def hash_from(value: Any, name: str) -> bytes:
    """32 bytes from 64 lowercase hex digits.

    Raises:
        LedgerError: it is something else.
    """
    if not (isinstance(value, str) and _HASH.fullmatch(value)):
        raise LedgerError(f"{name} must be 64 lowercase hex digits")
    return bytes.fromhex(value)


def _header_from(members: Any) -> Header:
    if not isinstance(members, dict) or members.keys() != _HEADER_MEMBERS:
        raise LedgerError(f"not a block header: its members must be exactly {', '.join(sorted(_HEADER_MEMBERS))}")
    for name in ("at_unix_ms", "height", "size"):
        if type(members[name]) is not int or members[name] < 0:
            raise LedgerError(f"not a block header: {name} must be an integer from 0")
    for name in ("previous", "public_key", "root"):
        hash_from(members[name], name)
    return Header(**members)


def _signature_from(members: Any) -> Signature:
    if not isinstance(members, dict) or members.keys() != {"public_key", "signature"}:
        raise LedgerError("not a signature: its members must be exactly public_key, signature")
    hash_from(members["public_key"], "public_key")
    if not (isinstance(members["signature"], str) and _SIGNATURE.fullmatch(members["signature"])):
        raise LedgerError("signature must be 128 lowercase hex digits")
    return Signature(**members)


def _leaves_from(values: Any) -> list[bytes]:
    """All at once for speed: one list can hold thousands."""
    if not isinstance(values, list) or not all(
        isinstance(value, str) and len(value) == 2 * HASH_BYTES for value in values
    ):
        raise LedgerError("leaves must be a list of 64 lowercase hex digits each")
    try:
        return [bytes.fromhex(value) for value in cast(list[str], values)]
    except ValueError as refusal:
        raise LedgerError("leaves must be a list of 64 lowercase hex digits each") from refusal
