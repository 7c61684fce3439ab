import csv
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.building import signer, vector

from conductor.adapters.schnorr import SchnorrSigner, schnorr_check
from conductor.domain.errors import SettingsError, StorageError


def rows() -> list[dict[str, str]]:
    """The published rows over 32-byte messages, the only length that is signed here."""
    with vector("nostr/bip340-test-vectors.csv").open() as file:
        return [row for row in csv.DictReader(file) if len(row["message"]) == 64]


def test_published_signatures_are_judged_as_published() -> None:
    judged = {
        row["index"]: schnorr_check(row["public key"], bytes.fromhex(row["message"]), row["signature"])
        for row in rows()
    }

    assert len(judged) == 15
    assert judged == {row["index"]: row["verification result"] == "TRUE" for row in rows()}


def test_published_keys_make_the_published_signatures() -> None:
    secrets = [row for row in rows() if row["secret key"]]
    assert len(secrets) == 4

    for row in secrets:
        blinding = bytes.fromhex(row["aux_rand"])
        made = SchnorrSigner(bytes.fromhex(row["secret key"]), random_bytes=lambda _, blinding=blinding: blinding)
        assert made.public_key == row["public key"].lower()
        assert made.sign(bytes.fromhex(row["message"])) == row["signature"].lower()


@given(st.binary(min_size=32, max_size=32), st.integers(0, 511), st.integers(0, 255))
def test_a_signature_holds_for_its_digest_only(digest: bytes, signature_bit: int, digest_bit: int) -> None:
    by = signer()
    signature = by.sign(digest)
    forged = (int(signature, 16) ^ (1 << signature_bit)).to_bytes(64, "big").hex()
    other = (int.from_bytes(digest, "big") ^ (1 << digest_bit)).to_bytes(32, "big")

    assert schnorr_check(by.public_key, digest, signature)
    assert not schnorr_check(by.public_key, digest, forged)
    assert not schnorr_check(by.public_key, other, signature)
    assert not schnorr_check(signer(bytes(31) + b"\x09").public_key, digest, signature)


@pytest.mark.parametrize(
    ("public_key", "digest", "signature"),
    [
        ("", bytes(32), "00" * 64),
        ("zz" * 32, bytes(32), "00" * 64),
        ("00" * 31, bytes(32), "00" * 64),
        ("ff" * 32, bytes(32), "00" * 64),
        (signer().public_key, bytes(31), signer().sign(bytes(32))),
        (signer().public_key, bytes(32), signer().sign(bytes(32))[:-2]),
        (signer().public_key, bytes(32), "é"),
    ],
)
def test_malformed_input_is_no_signature(public_key: str, digest: bytes, signature: str) -> None:
    assert schnorr_check(public_key, digest, signature) is False


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"

    made = SchnorrSigner.from_file(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SchnorrSigner.from_file(path).public_key == made.public_key
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.key"]


def test_two_folders_get_two_keys(tmp_path: Path) -> None:
    assert SchnorrSigner.from_file(tmp_path / "a").public_key != SchnorrSigner.from_file(tmp_path / "b").public_key


def test_random_bytes_that_are_no_key_are_drawn_again(tmp_path: Path) -> None:
    draws = iter([bytes(32), b"\xff" * 32, bytes(31) + b"\x03", b"abcdefgh"])

    made = SchnorrSigner.from_file(tmp_path / "ledger.key", random_bytes=lambda count: next(draws)[:count])

    assert made.public_key == signer().public_key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "ledger.key"
    SchnorrSigner.from_file(path)
    path.chmod(mode)

    with pytest.raises(SettingsError, match="chmod 600"):
        SchnorrSigner.from_file(path)


@pytest.mark.parametrize(
    "text", ["", "\n", "0" * 64, "f" * 64, "3" * 63, "3" * 65, "3" * 64 + "\n\n", "G" * 64, "A" * 64]
)
def test_a_file_that_holds_no_key_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ledger.key"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(SettingsError, match="holds no signing key"):
        SchnorrSigner.from_file(path)

    assert path.read_text() == text


def test_a_place_where_no_key_can_be_is_a_storage_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "ledger.key"):
        with pytest.raises(StorageError, match="signing key"):
            SchnorrSigner.from_file(path)
