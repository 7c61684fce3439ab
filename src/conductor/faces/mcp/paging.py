"""Pages of lists, their cursors, and for how long a client may keep them.

A cursor names the item it stands behind, so that no page is lost or told twice when a list grows at its front. It is text
of ours that comes back from strangers: whatever does not decode to a place in the same list is refused.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

from conductor.faces.mcp.rpc import INVALID_PARAMS, RpcError

#: How long a client may keep what does not change while the server runs.
STABLE_MS: Final = 300_000
_PAGE: Final = 100
_LONGEST: Final = 1000

Document = Mapping[str, Any]


def kept(ttl_ms: int) -> dict[str, Any]:
    """For how long a client may keep a result. Never for others: what is offered depends on who may ask."""
    return {"ttlMs": ttl_ms, "cacheScope": "private"}


def page_of(kind: str, documents: Sequence[Document], params: Document, key: str) -> dict[str, Any]:
    """One page of a list that does not change."""
    start, cursor = 0, params.get("cursor")
    if cursor is not None:
        after = place_of(kind, cursor)
        names = [document[key] for document in documents]
        if after not in names:
            raise RpcError(INVALID_PARAMS, "Invalid cursor")
        start = names.index(after) + 1
    page = list(documents[start : start + _PAGE])
    more = {"nextCursor": cursor_of(kind, page[-1][key])} if start + _PAGE < len(documents) else {}
    return {kind: page, **more, **kept(STABLE_MS)}


def cursor_of(kind: str, after: str) -> str:
    """A cursor behind an item of a kind of list."""
    return base64.urlsafe_b64encode(f"{kind}\n{after}".encode()).decode()


def place_of(kind: str, cursor: object) -> str:
    """What a cursor of this kind of list points behind.

    Raises:
        RpcError: it is no cursor of ours, or of another list.
    """
    found, separator, after = _decoded(cursor).partition("\n")
    if found != kind or not separator:
        raise RpcError(INVALID_PARAMS, "Invalid cursor")
    return after


def _decoded(cursor: object) -> str:
    """The text in a cursor; empty if it cannot be one."""
    if not isinstance(cursor, str) or len(cursor) > _LONGEST:
        return ""
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
