"""Receipts and consistency proofs: files that prove something about the ledger to somebody who does not have it.

A receipt says: this entry stands on the ledger. It carries the entry, the path of hashes from it to the root, and the signed
header with that root. A consistency proof says: the ledger of this size is the beginning of the one of that size; nothing
was changed or removed in between. Checking needs the file, a signature check and, to know whose ledger it is, its public
key; no database, no network.

Each part is checked by itself, so that the error names the one that was changed (`details["part"]`): `format`, `key`,
`signature`, `entry`, `proof`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson

from conductor.domain.errors import InvalidInput, LedgerError
from conductor.domain.json import JsonObject, JsonValue
from conductor.ledger.block import SignedHeader, distrust, hash_from, signed_header_from
from conductor.ledger.canonical import canonical_again
from conductor.ledger.entry import Entry, entry_from
from conductor.ledger.merkle import consistency_holds, leaf_hash, root_from_inclusion
from conductor.ledger.ports import SignatureCheck

RECEIPT_FORMAT: Final = "conductor/receipt/v1"
CONSISTENCY_FORMAT: Final = "conductor/consistency/v1"

_Proof = TypeVar("_Proof")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An entry, the way from it to a root, and the signed header with that root."""

    entry: Entry
    index: int
    leaf_hash: bytes
    proof: Sequence[bytes]
    signed: SignedHeader

    def as_json(self) -> JsonObject:
        """The receipt file."""
        return {
            "format": RECEIPT_FORMAT,
            "index": self.index,
            "entry": self.entry.as_json(),
            "leaf_hash": self.leaf_hash.hex(),
            "proof": [hashed.hex() for hashed in self.proof],
            **self.signed.as_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """That the ledger of `old_size` entries with `old_root` is the beginning of the one with the signed header `new`.

    `old` is the signed header of the old size, if a block ended there.
    """

    old_size: int
    old_root: bytes
    proof: Sequence[bytes]
    old: SignedHeader | None
    new: SignedHeader

    def as_json(self) -> JsonObject:
        """The proof file."""
        return {
            "format": CONSISTENCY_FORMAT,
            "old_size": self.old_size,
            "old_root": self.old_root.hex(),
            "proof": [hashed.hex() for hashed in self.proof],
            "old": self.old.as_json() if self.old else None,
            "new": self.new.as_json(),
        }


def verify_receipt(data: bytes, check: SignatureCheck, public_key: str | None = None) -> Receipt:
    """Check a receipt file.

    Args:
        data: the file, JSON in any layout.
        check: verifies signatures.
        public_key: of the ledger it must come from; without it, whose ledger it is remains for the caller to judge.

    Returns:
        The receipt, every part of which holds.

    Raises:
        LedgerError: it does not hold; the message says which part and `details` holds `part` and, where known, `index`.
    """
    receipt = _parsed(data, RECEIPT_FORMAT, "receipt", _receipt_from)
    _check_header(receipt.signed, check, public_key)
    check_path(receipt)
    return receipt


def check_path(receipt: Receipt) -> None:
    """Check that the entry leads to the root of the header, whose signatures are left to others.

    Raises:
        LedgerError: it does not; `details["part"]` is `entry` or `proof`.
    """
    header = receipt.signed.header
    found = leaf_hash(receipt.entry.line)

    def leads_to_root(leaf: bytes) -> bool:
        return root_from_inclusion(receipt.index, header.size, leaf, receipt.proof) == bytes.fromhex(header.root)

    name = f"entry {receipt.index:,} ({receipt.entry.kind} of {receipt.entry.subject})"
    if leads_to_root(found):
        if found == receipt.leaf_hash and receipt.entry.index == receipt.index:
            return
        raise _failure(
            "proof", f"the hash or index that the receipt states for {name} is not that of the entry", receipt.index
        )
    if leads_to_root(receipt.leaf_hash):
        raise _failure(
            "entry",
            f"{name} was changed: it hashes to {found.hex()}, but {receipt.leaf_hash.hex()} was signed",
            receipt.index,
        )
    raise _failure("proof", f"the inclusion proof of {name} does not lead to the signed root", receipt.index)


def verify_consistency(data: bytes, check: SignatureCheck, public_key: str | None = None) -> ConsistencyProof:
    """Check a consistency proof file; arguments as for `verify_receipt`.

    Whoever kept an old head compares it with `old_size` and `old_root` of the result.

    Raises:
        LedgerError: it does not hold; the message says which part and `details` holds `part`.
    """
    proof = _parsed(data, CONSISTENCY_FORMAT, "consistency proof", _consistency_from)
    _check_header(proof.new, check, public_key)
    if proof.old is not None:
        _check_header(proof.old, check, public_key or proof.new.header.public_key)
    check_consistency(proof)
    return proof


def check_consistency(proof: ConsistencyProof) -> None:
    """Check that the hashes lead from the old root to the new, the signatures of which are left to others.

    Raises:
        LedgerError: they do not; `details["part"]` is `proof`.
    """
    stated = (proof.old_size, proof.old_root.hex())
    if proof.old is not None and (proof.old.header.size, proof.old.header.root) != stated:
        raise _failure("proof", "old_size and old_root are not those of the old block that was signed")
    new = proof.new.header
    if not consistency_holds(proof.old_size, new.size, proof.old_root, bytes.fromhex(new.root), proof.proof):
        raise _failure(
            "proof",
            f"the ledger of {new.size:,} entries is not shown to extend the one of {proof.old_size:,} with root "
            f"{proof.old_root.hex()}: one of them was rewritten, or the proof was changed",
        )


def _check_header(signed: SignedHeader, check: SignatureCheck, public_key: str | None) -> None:
    if public_key is not None and signed.header.public_key != public_key:
        raise _failure(
            "key", f"it is from another ledger: sealed by {signed.header.public_key}, expected was {public_key}"
        )
    if reason := distrust(signed, check):
        raise _failure("signature", reason)


def _parsed(data: bytes, kind: str, noun: str, build: Callable[[dict[str, Any]], _Proof]) -> _Proof:
    try:
        members = orjson.loads(data)
    except orjson.JSONDecodeError as refusal:
        raise _failure("format", f"this is no {noun}: {refusal}") from refusal
    if not isinstance(members, dict) or members.pop("format", None) != kind:
        raise _failure("format", f"this is no {noun}: its member `format` must be {kind}")
    try:
        return build(members)
    except (LedgerError, InvalidInput) as refusal:
        raise _failure("format", f"this {noun} is malformed: {refusal.message}") from refusal


def _receipt_from(members: dict[str, Any]) -> Receipt:
    _require(members, {"index", "entry", "leaf_hash", "proof", "block", "signatures"})
    return Receipt(
        entry=entry_from(members["entry"], canonical_again(members["entry"])),
        index=_count_from(members["index"], "index"),
        leaf_hash=hash_from(members["leaf_hash"], "leaf_hash"),
        proof=_hashes_from(members["proof"]),
        signed=signed_header_from({"block": members["block"], "signatures": members["signatures"]}),
    )


def _consistency_from(members: dict[str, Any]) -> ConsistencyProof:
    _require(members, {"old_size", "old_root", "proof", "old", "new"})
    return ConsistencyProof(
        old_size=_count_from(members["old_size"], "old_size"),
        old_root=hash_from(members["old_root"], "old_root"),
        proof=_hashes_from(members["proof"]),
        old=None if members["old"] is None else signed_header_from(members["old"]),
        new=signed_header_from(members["new"]),
    )


def _require(members: dict[str, Any], names: set[str]) -> None:
    if members.keys() != names:
        differing = ", ".join(sorted(names ^ members.keys()))
        raise LedgerError(f"missing or unknown members: {differing}")


def _count_from(value: Any, name: str) -> int:
    if type(value) is not int or value < 0:
        raise LedgerError(f"{name} must be an integer from 0")
    return value


def _hashes_from(values: Any) -> tuple[bytes, ...]:
    if not isinstance(values, list):
        raise LedgerError("proof must be a list of hashes")
    return tuple(hash_from(value, "each hash of the proof") for value in values)


def _failure(part: str, message: str, index: int | None = None) -> LedgerError:
    details: dict[str, JsonValue] = {"part": part}
    if index is not None:
        details["index"] = index
    return LedgerError(message, details=details)
