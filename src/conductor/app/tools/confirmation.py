"""Confirmations that need no memory: a token that proves what was shown, when, and by this process.

What cannot be undone is shown first and done when the token of that preview comes back. The token carries its own end
and a keyed digest of what it confirms, so the server remembers nothing between the two calls.

Not covered: use at most once; what is confirmed must itself refuse to happen twice, as cancelling does.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from conductor.domain.errors import Conflict

VALID_S: Final = 600


class Confirmations:
    """Issues and checks tokens.

    Args:
        secret: at least 16 random bytes, of this process alone.
        now_s: monotonic seconds.
    """

    def __init__(self, secret: bytes, now_s: Callable[[], float]) -> None:
        self._secret = secret
        self._now_s = now_s

    def issue(self, *shown: str) -> str:
        """A token that confirms exactly what was shown."""
        end_s = int(self._now_s()) + VALID_S
        return f"{end_s}.{self._digest(end_s, shown)}"

    def check(self, token: str, *shown: str) -> None:
        """See that a token confirms this.

        Raises:
            Conflict: it is of something else, of another process, or too old.
        """
        end, _, digest = token.partition(".")
        genuine = (
            end.isascii()
            and end.isdecimal()
            and len(end) <= 12
            and digest.isascii()
            and hmac.compare_digest(digest, self._digest(int(end), shown))
        )
        if not genuine or self._now_s() > int(end):
            raise Conflict(
                "this confirmation does not belong to what is asked, or is older than ten minutes; nothing was done. Call "
                "without confirm_token, look at the preview, and send the token that it holds",
                field="confirm_token",
            )

    def _digest(self, end_s: int, shown: tuple[str, ...]) -> str:
        said = "\0".join((str(end_s), *(f"{len(part)}:{part}" for part in shown)))
        return hmac.new(self._secret, said.encode(), hashlib.sha256).hexdigest()
