"""The engines that are installed: entry points of the group `conductor.engines`, loaded when engines are first asked for.

An engine is made with the desk and the persona. Its constructor may further ask, by name, for any of what is handed in as
`offers`: `clock`, `sessions`, `detector`. One that cannot be loaded is left out, and the log says why; it must not keep
the others, or the server, from working.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import structlog

from conductor.domain.model import Category
from conductor.serving.engine import Engine, ModelDesk

GROUP: Final = "conductor.engines"

log = structlog.get_logger(__name__)


def installed_engines() -> dict[Category, EntryPoint]:
    """Where each category's engine is; nothing is loaded."""
    return {Category(point.name): point for point in entry_points(group=GROUP)}


class EngineShelf(Mapping[Category, Engine[Any]]):
    """Engines by category. The names are there at once; the engines are loaded with the first one that is taken.

    Args:
        points: by category; the entry point's name is the category.
        desk: where engines get their models.
        offers: makes what constructors may ask for by name; called at most once each.
    """

    def __init__(
        self,
        points: Mapping[Category, EntryPoint],
        desk: ModelDesk,
        *,
        persona: str = "",
        offers: Mapping[str, Callable[[], object]] | None = None,
    ) -> None:
        self._points = dict(points)
        self._desk = desk
        self._persona = persona
        self._offers = dict(offers or {})
        self._made: dict[str, object] = {}
        self._engines: dict[Category, Engine[Any]] | None = None

    def take_persona(self, persona: str) -> None:
        """Give all engines another persona from now on."""
        self._persona = persona
        for engine in (self._engines or {}).values():
            engine.persona = persona

    def forget(self) -> None:
        """Have the engines that were loaded forget earlier answers."""
        for engine in (self._engines or {}).values():
            engine.forget()

    def __getitem__(self, category: Category) -> Engine[Any]:
        return self._loaded[category]

    def __iter__(self) -> Iterator[Category]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)

    def __contains__(self, category: object) -> bool:
        return category in (self._points if self._engines is None else self._engines)

    @property
    def _loaded(self) -> dict[Category, Engine[Any]]:
        if self._engines is None:
            found = {category: self._make(category, point) for category, point in sorted(self._points.items())}
            self._engines = {category: engine for category, engine in found.items() if engine is not None}
        return self._engines

    def _make(self, category: Category, point: EntryPoint) -> Engine[Any] | None:
        try:
            kind = point.load()
            if not (isinstance(kind, type) and issubclass(kind, Engine)):
                log.error("engine_left_out", category=category, engine=point.value, reason="it is no Engine")
                return None
            asked = inspect.signature(kind).parameters
            offered = {name: self._offer(name) for name in self._offers if name in asked}
            return kind(self._desk, persona=self._persona, **offered)
        except Exception:  # an engine is anybody's code
            log.exception("engine_left_out", category=category, engine=point.value)
            return None

    def _offer(self, name: str) -> object:
        if name not in self._made:
            self._made[name] = self._offers[name]()
        return self._made[name]
