"""`GET /v1/models`: the names that a client may put into `model`: `auto`, every category that is served, every model."""

from typing import Any, Final

from conductor.app.serving.serve import Serving
from conductor.domain.errors import NotFound

_OWNER: Final = "conductor"


def listed(serving: Serving) -> list[dict[str, Any]]:
    """All names; none where nothing is served."""
    rows = serving.models()
    if not rows:
        return []
    views = [_view(serving, "auto", title="chosen by Conductor, request by request")]
    views += [
        _view(serving, row.category, category=row.category, title=row.title, state=state.value) for row, state in rows
    ]
    models = {row.name: (row, state) for row, state in reversed(rows)}
    named = {str(view["id"]) for view in views}
    views += [
        _view(serving, row.name, category=row.category, title=row.title, state=state.value)
        for row, state in reversed(models.values())
        if row.name not in named
    ]
    # The same as `auto`, for clients that want to see a name of ours in the list.
    return [*views, _view(serving, "conductor", title="chosen by Conductor, request by request")]


def one(serving: Serving, name: str) -> dict[str, Any]:
    """One name; a model's title, too, which requests may use as well.

    Raises:
        NotFound: it is none of them.
    """
    views = listed(serving)
    found = next((view for view in views if view["id"] == name), None)
    found = found or next((view | {"id": name} for view in views if view["title"] == name), None)
    if found is None:
        raise NotFound(f"the model {name[:200]!r} does not exist; GET /v1/models lists those that do", field="model")
    return found


def _view(serving: Serving, name: str, **more: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": int(serving.since_unix_s), "owned_by": _OWNER} | more
