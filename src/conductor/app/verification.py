"""Verify ledger files and receipts from their bytes alone: no server, no database, no key of our own."""

from collections.abc import Callable
from pathlib import Path

from conductor.adapters.ledger_file import read_lines
from conductor.adapters.schnorr import schnorr_check
from conductor.domain.errors import InvalidInput, NotFound
from conductor.ledger.receipt import Receipt, verify_receipt
from conductor.ledger.verify import Verification, verify_file


def verify_ledger(
    path: Path,
    *,
    public_key: str | None = None,
    growing: bool = True,
    on_share: Callable[[float], None] = lambda share: None,
) -> Verification:
    """Check every byte of a ledger file.

    Args:
        path: the file.
        public_key: accept only blocks sealed by this key.
        growing: a server may be appending at this moment, so an unfinished last line is no fault.
        on_share: hears what share of the file has been read, 0–1.

    Raises:
        NotFound: there is no such file.
        StorageError: it cannot be read.
    """
    if not path.exists():
        raise NotFound(f"there is no ledger at {path}; the first decision makes one", field="file")
    size = max(1, path.stat().st_size)
    return verify_file(
        read_lines(path),
        schnorr_check,
        public_key=public_key,
        growing=growing,
        progress=lambda _entries, read: on_share(read / size),
    )


def verify_receipt_file(path: Path, *, public_key: str | None = None) -> Receipt:
    """Check a receipt file.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no receipt.
        LedgerError: it does not hold; the message says which part was changed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", field="file") from None
    except OSError as failure:
        raise InvalidInput(f"{path} cannot be read: {failure.strerror}", field="file") from failure
    return verify_receipt(content, schnorr_check, public_key)
