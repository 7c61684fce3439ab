"""An entry: one statement on the ledger, and the one line of bytes that stands for it.

The line is a leaf of the Merkle tree. Its bytes are made once, when the entry is; whoever needs them later reads them
back. What the body says is up to the caller (`app.ledgering`); where the line goes, to `ledger.chain`.

An entry's line is canonical JSON (RFC 8785) with exactly the members
`{"at_unix_ms": integer, "body": object, "index": integer, "kind": string, "subject": string}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from conductor.domain.errors import InvalidInput, LedgerError
from conductor.domain.json import JsonObject, JsonValue
from conductor.ledger.canonical import Prepared, canonical

#: How every entry line begins, because members are sorted; no block line begins like this.
ENTRY_PREFIX: Final = b'{"at_unix_ms":'
#: What an entry says; parts that many entries share may be prepared.
Body = Mapping[str, JsonValue | Prepared]
_MEMBERS: Final = frozenset({"at_unix_ms", "body", "index", "kind", "subject"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One statement.

    `kind` says what sort (`decision`, `outcome`, `model`, …), `subject` whom it is about (a task's id, mostly), `index`
    counts all entries of the ledger from 0. `line` are its canonical bytes, without a newline.
    """

    index: int
    kind: str
    subject: str
    at_unix_ms: int
    line: bytes

    @property
    def body(self) -> JsonObject:
        """What it says, read back from the line."""
        body: JsonObject = orjson.loads(self.line)["body"]
        return body

    def as_json(self) -> JsonObject:
        """The members of the line."""
        return {
            "at_unix_ms": self.at_unix_ms,
            "body": self.body,
            "index": self.index,
            "kind": self.kind,
            "subject": self.subject,
        }


def make_entry(*, index: int, kind: str, subject: str, at_unix_ms: int, body: Body) -> Entry:
    """Write an entry down.

    Raises:
        InvalidInput: the body has no canonical form (a number that is not finite or too large, a half surrogate pair).
    """
    if not kind:
        raise InvalidInput("a ledger entry needs a kind, such as decision or outcome", field="kind")
    members = {"at_unix_ms": at_unix_ms, "body": body, "index": index, "kind": kind, "subject": subject}
    line = canonical(members)
    return Entry(index=index, kind=kind, subject=subject, at_unix_ms=at_unix_ms, line=line)


def parse_entry(line: bytes) -> Entry:
    """Read an entry back from its line (without newline).

    That the line is canonical is not checked here: the hash covers its bytes, whatever they are.

    Raises:
        LedgerError: the line is no entry.
    """
    try:
        members = orjson.loads(line)
    except orjson.JSONDecodeError as refusal:
        raise LedgerError(f"not an entry: {refusal}") from refusal
    return entry_from(members, line)


def entry_from(members: Any, line: bytes) -> Entry:
    """The entry with these members.

    Raises:
        LedgerError: members are missing, unknown or of the wrong type.
    """
    if not isinstance(members, dict) or members.keys() != _MEMBERS:
        raise LedgerError(f"not an entry: its members must be exactly {', '.join(sorted(_MEMBERS))}")
    if type(members["index"]) is not int or type(members["at_unix_ms"]) is not int or members["index"] < 0:
        raise LedgerError("not an entry: index and at_unix_ms must be integers")
    if not (isinstance(members["kind"], str) and isinstance(members["subject"], str)):
        raise LedgerError("not an entry: kind and subject must be strings")
    if not isinstance(members["body"], Mapping):
        raise LedgerError("not an entry: body must be an object")
    return Entry(
        index=members["index"],
        kind=members["kind"],
        subject=members["subject"],
        at_unix_ms=members["at_unix_ms"],
        line=line,
    )
