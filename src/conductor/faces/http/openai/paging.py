"""Pages of a listing: `after` names the last entry of the page before."""

from collections.abc import Sequence
from typing import Any


def page(entries: Sequence[dict[str, Any]], *, after: str | None, limit: int) -> dict[str, Any]:
    """One page of entries that have an `id`; an unknown `after` gives an empty page."""
    places = {entry["id"]: place for place, entry in enumerate(entries)}
    start = 0 if after is None else places.get(after, len(entries)) + 1
    shown = list(entries[start : start + limit])
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": start + limit < len(entries),
    }
