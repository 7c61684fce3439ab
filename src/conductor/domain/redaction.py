"""Mask the secrets that addresses carry, in any text that is shown, logged or sent: the one function that does it.

Covered: passwords of URLs, also those that hold `/`, `@`, quotes or spaces although they should not; what stands alone
before the `@` of a web address, which is a token more often than a name; parameters of a query with names of secrets.
Not covered: secrets that are no part of an address; logs mask further ones by the names of their fields.
"""

import re
from typing import Final

MASK: Final = "****"

# A password ends at the last @ before a space, or else at the next @. `host:8000/v1#model@latest` has a port and none.
# Every part is bounded, so that long texts cost no more than their length.
_USER: Final = re.compile(
    r"""(?P<scheme>\b[a-z][a-z0-9+.-]{0,20}://)(?P<name>[^\s/@:?#'"]{0,200})"""
    r"""(?P<password>:(?!\d{1,5}(?:[/?#'",;)\s]|:\s|$))\S(?:\S{0,2000}(?=@)|[^@\r\n]{0,100}))?@""",
    re.IGNORECASE,
)
_PARAMETER: Final = re.compile(
    r"""([?&][\w.-]*(?:key|token|secret|password|passwd|passfile|pwd|signature)=)[^&\s'"#]+""", re.IGNORECASE
)


def without_secrets(text: str) -> str:
    """The text with `****` in place of every secret in its addresses; anything else stays as it is."""
    if "://" in text:
        text = _USER.sub(_masked, text)
    return _PARAMETER.sub(rf"\1{MASK}", text) if "=" in text else text


def _masked(found: re.Match[str]) -> str:
    scheme, name = found["scheme"], found["name"]
    if found["password"]:
        return f"{scheme}{name}:{MASK}@"
    return f"{scheme}{MASK}@" if scheme.lower() in ("http://", "https://") else found[0]
