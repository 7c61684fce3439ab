"""The key of this installation: made at the first start, checked at every call, exchanged for browser sessions.

The file holds the key itself, for command lines of the same user; in memory only its hash stays. A one-time login turns
into a session cookie that carries its own expiry and proof, so sessions survive a restart and end with the key.

Decides nothing about who may do what. Not covered: several users, ending one session alone.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from conductor.adapters.private_file import create_private, read_private, replace_private
from conductor.domain.clock import Clock
from conductor.domain.errors import StorageError

PREFIX: Final = "ck_"
LOGIN_VALID_S: Final = 600.0
SESSION_VALID_S: Final = 43_200.0
_KEY_BYTES: Final = 32
_MOST_OPEN_LOGINS: Final = 100
_SESSION_VERSION: Final = "s1"

RandomBytes = Callable[[int], bytes]


def read_key(path: Path, *, user_id: int) -> str | None:
    """The key as text, for a client of the same user; None if none was made yet.

    Raises:
        StorageError: others can read the file, or it holds no key.
    """
    content = read_private(path, user_id=user_id)
    if content is None:
        return None
    text = content.decode("ascii", "replace").strip()
    if not _is_well_formed(text):
        raise StorageError(
            f"{path} holds no key; `conductor key rotate` makes one, and so does a start without the file"
        )
    return text


def rotate_key(path: Path, *, random_bytes: RandomBytes = secrets.token_bytes) -> str:
    """Put a new key in place of the old one, and return it; a running server must be told (`AccessKey.rotate`).

    Raises:
        StorageError: it cannot be written; the old key stays.
    """
    key = _new_key(random_bytes)
    replace_private(path, f"{key}\n".encode())
    return key


class AccessKey:
    """Checks keys, one-time logins and sessions; to be used from one thread."""

    def __init__(
        self,
        key: str,
        path: Path,
        *,
        clock: Clock,
        random_bytes: RandomBytes = secrets.token_bytes,
        session_valid_s: float = SESSION_VALID_S,
    ) -> None:
        self._path, self._clock, self._random_bytes = path, clock, random_bytes
        self._session_valid_s = session_valid_s
        self._logins: dict[bytes, float] = {}
        self._use(key)

    @classmethod
    def load_or_create(
        cls,
        path: Path,
        *,
        clock: Clock,
        user_id: int,
        random_bytes: RandomBytes = secrets.token_bytes,
        session_valid_s: float = SESSION_VALID_S,
    ) -> Self:
        """The key in this file; made if there is none.

        Raises:
            StorageError: others can read the file, it holds no key, or it cannot be written.
        """
        key = read_key(path, user_id=user_id)
        if key is None:
            create_private(path, f"{_new_key(random_bytes)}\n".encode())
            key = read_key(path, user_id=user_id)  # ours, or that of whoever was faster
        if key is None:
            raise StorageError(f"{path} was removed while it was being made; start again")
        return cls(key, path, clock=clock, random_bytes=random_bytes, session_valid_s=session_valid_s)

    def matches(self, candidate: str) -> bool:
        """Whether this is the key; takes as long for a near miss as for a far one."""
        return hmac.compare_digest(_digest(candidate), self._key_digest)

    def issue_login(self) -> str:
        """A token that opens one session within ten minutes. The oldest of too many unused ones is forgotten."""
        now_s = self._clock.monotonic_s()
        self._logins = {token: until_s for token, until_s in self._logins.items() if until_s > now_s}
        if len(self._logins) >= _MOST_OPEN_LOGINS:
            del self._logins[next(iter(self._logins))]
        token = _text(self._random_bytes(_KEY_BYTES))
        self._logins[_digest(token)] = now_s + LOGIN_VALID_S
        return token

    def redeem(self, token: str) -> str | None:
        """Exchange a login token for a session cookie's value; None if it is unknown, used or too old."""
        until_s = self._logins.pop(_digest(token), None)  # looked up by hash: timing tells nothing about the token
        if until_s is None or until_s <= self._clock.monotonic_s():
            return None
        expires = int(self._clock.now_unix_s() + self._session_valid_s)
        body = f"{_SESSION_VERSION}.{expires}.{_text(self._random_bytes(16))}"
        return f"{body}.{self._proof(body)}"

    def is_session(self, cookie: str) -> bool:
        """Whether this is a session of ours, under the present key, that has not expired."""
        body, _, proof = cookie.rpartition(".")
        if not hmac.compare_digest(proof.encode("utf-8", "replace"), self._proof(body).encode()):
            return False
        return int(body.split(".")[1]) > self._clock.now_unix_s()  # the proof says that we wrote it

    def rotate(self) -> str:
        """Make a new key, in the file and here; sessions and open logins end.

        Raises:
            StorageError: it cannot be written; the old key stays valid.
        """
        key = rotate_key(self._path, random_bytes=self._random_bytes)
        self._logins.clear()
        self._use(key)
        return key

    def _use(self, key: str) -> None:
        self._key_digest = _digest(key)
        self._session_secret = hmac.digest(key.encode(), b"conductor session", "sha256")

    def _proof(self, body: str) -> str:
        return _text(hmac.digest(self._session_secret, body.encode("utf-8", "replace"), "sha256"))


def _new_key(random_bytes: RandomBytes) -> str:
    return PREFIX + _text(random_bytes(_KEY_BYTES))


def _is_well_formed(text: str) -> bool:
    body = text.removeprefix(PREFIX)
    return text.startswith(PREFIX) and len(body) >= 43 and body.replace("-", "").replace("_", "").isalnum()


def _digest(text: str) -> bytes:
    """A plain hash is enough: what is hashed has 256 random bits, so there is nothing to guess."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
