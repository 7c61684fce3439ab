from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.building import a_ledger_file, opened, signer, take

from conductor.adapters.schnorr import schnorr_check
from conductor.domain.errors import LedgerError
from conductor.ledger.receipt import verify_consistency, verify_receipt

KEY = signer().public_key


def receipt_file(folder: Path, *, index: int = 5) -> bytes:
    a_ledger_file(folder, [4, 7])
    with opened(folder) as ledger:
        return orjson.dumps(ledger.receipt(index))


def consistency_file(folder: Path, old_size: int = 4) -> bytes:
    a_ledger_file(folder, [4, 7])
    with opened(folder) as ledger:
        return orjson.dumps(ledger.consistency(old_size))


def edited(data: bytes, *path: str | int, to: Any) -> bytes:
    """The file with one member replaced."""
    document = orjson.loads(data)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return orjson.dumps(document)


def failure_of(data: bytes, public_key: str | None = None) -> LedgerError:
    with pytest.raises(LedgerError) as failure:
        verify_receipt(data, schnorr_check, public_key)
    return failure.value


def test_every_entry_of_every_size_has_a_receipt_that_verifies(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        for size in range(1, 18):
            take(ledger, 1)
            ledger.seal()
            for index in range(size):
                receipt = verify_receipt(orjson.dumps(ledger.receipt(index)), schnorr_check, KEY)
                assert receipt.entry == ledger.read(index)
                assert receipt.signed == ledger.head


def test_a_receipt_still_verifies_when_people_have_laid_it_out(tmp_path: Path) -> None:
    data = receipt_file(tmp_path)

    laid_out = orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)

    assert laid_out != data
    assert verify_receipt(laid_out, schnorr_check, KEY) == verify_receipt(data, schnorr_check, KEY)


@pytest.mark.parametrize("figure", [1.0, 1e16, 2.0**60, 1e-7, -0.0, 1e300, 0.1])
def test_a_receipt_survives_every_kind_of_figure(tmp_path: Path, figure: float) -> None:
    with opened(tmp_path) as ledger:
        ledger.entry("outcome", "task", {"figure": figure, "list": [figure, {"again": figure}]})
        ledger.seal()
        data = orjson.dumps(ledger.receipt(0))

    assert verify_receipt(data, schnorr_check).entry.index == 0


def test_every_single_flipped_bit_of_a_receipt_is_found(tmp_path: Path) -> None:
    data = receipt_file(tmp_path)

    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with pytest.raises(LedgerError):
                verify_receipt(bytes(damaged), schnorr_check)


def test_every_single_flipped_bit_of_a_consistency_proof_is_found(tmp_path: Path) -> None:
    data = consistency_file(tmp_path)

    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with pytest.raises(LedgerError):
                verify_consistency(bytes(damaged), schnorr_check)


def test_a_changed_entry_is_named(tmp_path: Path) -> None:
    data = receipt_file(tmp_path)

    for path, to in [
        (("entry", "body", "device"), "CPU"),
        (("entry", "body", "duration_s", 0), 5.2500001),
        (("entry", "subject"), "task-9"),
        (("entry", "kind"), "outcome"),
        (("entry", "at_unix_ms"), 0),
        (("entry", "index"), 6),
        (("entry", "body", "more"), None),
    ]:
        failure = failure_of(edited(data, *path, to=to))
        assert failure.details == {"part": "entry", "index": 5}, path
        assert "entry 5 (" in failure.message
        assert "was changed" in failure.message


def test_a_changed_proof_is_told_from_a_changed_entry(tmp_path: Path) -> None:
    data = receipt_file(tmp_path)
    proof = orjson.loads(data)["proof"]

    for path, to in [
        (("proof", 0), "0" * 64),
        (("proof",), proof[:-1]),
        (("proof",), [*proof, "0" * 64]),
        (("proof",), []),
        (("leaf_hash",), "0" * 64),
    ]:
        assert failure_of(edited(data, *path, to=to)).details == {"part": "proof", "index": 5}, path
    assert failure_of(edited(data, "index", to=4)).details == {"part": "proof", "index": 4}


def test_a_changed_header_or_signature_is_told(tmp_path: Path) -> None:
    data = receipt_file(tmp_path)
    stranger = signer(bytes(31) + b"\x09")
    other = stranger.public_key
    signatures = orjson.loads(data)["signatures"]
    digest = verify_receipt(data, schnorr_check).signed.header.digest

    for path, to in [
        (("block", "root"), "0" * 64),
        (("block", "size"), 12),
        (("block", "height"), 0),
        (("block", "at_unix_ms"), 1),
        (("block", "previous"), "0" * 64),
        (("block", "public_key"), other),
        (("signatures", 0, "signature"), "0" * 128),
        (("signatures", 0, "public_key"), other),
        (("signatures",), [*signatures, {"public_key": stranger.public_key, "signature": stranger.sign(digest)}]),
        (("signatures",), signatures * 2),
    ]:
        assert failure_of(edited(data, *path, to=to)).details == {"part": "signature"}, path


def test_a_receipt_from_another_ledger_is_told(tmp_path: Path) -> None:
    failure = failure_of(receipt_file(tmp_path), signer(bytes(31) + b"\x09").public_key)

    assert failure.details == {"part": "key"}
    assert "another ledger" in failure.message


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("format",), "conductor/receipt/v2"),
        (("entry",), []),
        (("entry", "body"), 1),
        (("entry", "index"), "5"),
        (("entry", "more"), 1),
        (("index",), True),
        (("index",), -1),
        (("proof",), None),
        (("proof", 0), "0" * 63),
        (("leaf_hash",), "A" * 64),
        (("block",), None),
        (("block", "size"), 1.5),
        (("signatures",), []),
        (("signatures", 0, "signature"), "x"),
        (("more",), 1),
    ],
)
def test_a_malformed_receipt_is_refused_as_such(tmp_path: Path, path: tuple[str | int, ...], to: Any) -> None:
    assert failure_of(edited(receipt_file(tmp_path), *path, to=to)).details == {"part": "format"}


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr).map(str.encode)
)
def test_anything_else_is_refused_as_no_receipt(data: bytes) -> None:
    assert failure_of(data).details == {"part": "format"}
    with pytest.raises(LedgerError, match="no consistency proof"):
        verify_consistency(data, schnorr_check)


def test_every_pair_of_sizes_has_a_consistency_proof_that_verifies(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        for _ in range(10):
            take(ledger, 1)
            ledger.seal()
        for new in range(1, 11):
            for old in range(new + 1):
                proof = verify_consistency(orjson.dumps(ledger.consistency(old, new)), schnorr_check, KEY)
                assert (proof.old_size, proof.new.header.size) == (old, new)


def test_a_consistency_proof_between_two_ledgers_of_one_key_fails(tmp_path: Path) -> None:
    mine = consistency_file(tmp_path, old_size=4)
    (tmp_path / "other").mkdir()
    with opened(tmp_path / "other") as ledger:
        for number in range(4):
            ledger.entry("outcome", f"other-{number}", {})
        other = ledger.seal()
    assert other is not None

    rewritten = edited(mine, "old", to=other.as_json())
    rewritten = edited(rewritten, "old_root", to=other.header.root)

    with pytest.raises(LedgerError, match="one of them was rewritten") as failure:
        verify_consistency(rewritten, schnorr_check, KEY)
    assert failure.value.details == {"part": "proof"}


def test_an_old_root_other_than_the_old_blocks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="not those of the old block"):
        verify_consistency(edited(consistency_file(tmp_path), "old_root", to="0" * 64), schnorr_check)
