"""BIP-340 Schnorr signatures over secp256k1, and the file that holds the node's key.

The key file is one line of 64 hex digits, readable by its owner only. Losing it means that no further block can be added
to the ledger it signed; copying it lets others sign in this node's name.

Source: BIP-340; the arithmetic is libsecp256k1's, by way of coincurve.
"""

import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from coincurve import PrivateKey, PublicKeyXOnly

from conductor.domain.errors import SettingsError, StorageError

_SECRET: Final = re.compile(rb"[0-9a-f]{64}\n?")
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

#: Gives so many bytes that nobody can guess.
RandomBytes = Callable[[int], bytes]


class SchnorrSigner:
    """Signs with one key. `random_bytes` blinds the arithmetic against side channels; signatures need no luck to be safe."""

    def __init__(self, secret: bytes, *, random_bytes: RandomBytes = secrets.token_bytes) -> None:
        self._key = PrivateKey(secret)
        self._random_bytes = random_bytes
        self._public_key: str = self._key.public_key_xonly.format().hex()

    @classmethod
    def from_file(cls, path: Path, *, random_bytes: RandomBytes = secrets.token_bytes) -> Self:
        """Read the key at `path`, or make one there if there is no file yet.

        Raises:
            SettingsError: the file is readable by others or holds no key.
            StorageError: it cannot be read or written.
        """
        try:
            secret = _read_secret(path)
            if secret is None:
                secret = _write_secret(path, random_bytes)
        except OSError as failure:
            raise StorageError(f"the signing key {path} cannot be used: {failure.strerror}") from failure
        return cls(secret, random_bytes=random_bytes)

    @property
    def public_key(self) -> str:
        """x-only public key, 64 lowercase hex digits."""
        return self._public_key

    def sign(self, digest: bytes) -> str:
        """BIP-340 signature over a 32-byte digest, 128 lowercase hex digits; verified before it is returned."""
        return self._key.sign_schnorr(digest, self._random_bytes(32)).hex()


def schnorr_check(public_key: str, digest: bytes, signature: str) -> bool:
    """Whether a BIP-340 signature holds; False for anything malformed. Keys and signatures are hex.

    Not covered: messages of other lengths than 32 bytes, which BIP-340 allows and we never sign.
    """
    try:
        key, signed = bytes.fromhex(public_key), bytes.fromhex(signature)
        if (len(key), len(digest), len(signed)) != (32, 32, 64):
            return False
        return bool(PublicKeyXOnly(key).verify(signed, digest))
    except ValueError:
        return False


def _read_secret(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        text = file.read(200)
    if mode & 0o077:
        raise SettingsError(
            f"others can read or write the signing key {path} (mode {mode:04o}); run: chmod 600 {path}",
            field="ledger.key_file",
        )
    if not _SECRET.fullmatch(text) or not 0 < int(text, 16) < _ORDER:
        raise SettingsError(
            f"{path} holds no signing key: it must be one line of 64 lowercase hex digits; put the right file back, or move "
            "this one and the ledger away to begin anew",
            field="ledger.key_file",
        )
    return bytes.fromhex(text.decode())


def _write_secret(path: Path, random_bytes: RandomBytes) -> bytes:
    secret = random_bytes(32)
    while not 0 < int.from_bytes(secret) < _ORDER:  # one chance in 2^128
        secret = random_bytes(32)
    unfinished = path.with_name(f"{path.name}.{random_bytes(8).hex()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret.hex().encode() + b"\n")
            file.flush()
            os.fsync(descriptor)
        os.link(unfinished, path)  # appears whole or not at all, and never replaces another key
    finally:
        unfinished.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return secret
