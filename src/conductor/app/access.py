"""Who may call, and what a caller may ask for: the key, browser sessions, and the rule for servers without a key.

Without a key anybody on this machine may be the caller. He may ask for decisions and for work on data he sends; he may not
have code run, files read or written in the owner's name, or settings changed.
"""

from collections.abc import Mapping
from typing import Final

from conductor.adapters.access_key import AccessKey
from conductor.domain.errors import Forbidden
from conductor.domain.workload import Workload
from conductor.scheduling.ports import WorkloadKind

#: Fields by which workloads that run no code (`embed`) reach the file system.
_FILE_FIELDS: Final = ("file", "output", "directory")


class Access:
    """The gate's questions, answered from the key of this installation; `key` None means that no key is needed."""

    def __init__(self, key: AccessKey | None, kinds: Mapping[str, WorkloadKind]) -> None:
        self._key = key
        self._kinds = kinds

    @property
    def is_open(self) -> bool:
        """Whether calls need no key (`--no-key`, on loopback only)."""
        return self._key is None

    def is_key(self, presented: str) -> bool:
        """Whether this is the key, compared in constant time."""
        return self._key is not None and self._key.matches(presented)

    def is_session(self, cookie: str) -> bool:
        """Whether this cookie came from a login that is still good."""
        return self._key is not None and self._key.is_session(cookie)

    def issue_login(self) -> str | None:
        """A token for one login within ten minutes; None where no login is needed."""
        return None if self._key is None else self._key.issue_login()

    def redeem(self, token: str) -> str | None:
        """The session cookie for a login token; None if the token is used, old or unknown."""
        return None if self._key is None else self._key.redeem(token)

    def check_workload(self, workload: Workload | None) -> None:
        """Refuse workloads that run code or touch files in the owner's name where anybody could be the caller.

        Raises:
            Forbidden: the server runs without a key.
        """
        if workload is None or not self.is_open:
            return
        kind = self._kinds.get(workload.kind)
        if kind is not None and kind.executes_code:
            raise self._closed(f"workloads of kind {workload.kind!r} run code", "workload.kind")
        for name in _FILE_FIELDS:
            if workload.spec.get(name) is not None:
                raise self._closed(f"workload.{name} names a file of the server's user", f"workload.{name}")

    def check_may_change_settings(self) -> None:
        """Refuse to change settings where anybody could be the caller.

        Raises:
            Forbidden: the server runs without a key.
        """
        if self.is_open:
            raise self._closed("settings change what tasks may do", None)

    def check_may_tune(self) -> None:
        """Refuse to teach the decision maker, or to switch its version, where anybody could be the caller.

        Raises:
            Forbidden: the server runs without a key.
        """
        if self.is_open:
            raise self._closed("corrections and tuning change how tasks are decided", None)

    @staticmethod
    def _closed(why: str, field: str | None) -> Forbidden:
        return Forbidden(f"{why}, and this server was started with --no-key; start it without that option", field=field)
