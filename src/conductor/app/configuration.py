"""Settings while running: what is in effect, change for good, react to files; whoever cares is told what changed."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from conductor.adapters.sql.records import SqlSettings
from conductor.app.installation import Installation
from conductor.app.settings.live import Change, FileChanges, LiveSettings
from conductor.app.settings.load import storable
from conductor.app.settings.model import Settings
from conductor.domain.clock import Clock
from conductor.domain.errors import NotFound, SettingsError
from conductor.domain.json import JsonValue
from conductor.domain.workload import Limits

Apply = Callable[[Settings], None]

log = structlog.get_logger(__name__)


class Configuration:
    """The settings of a running installation. `watch` must be running as a task of the owner."""

    def __init__(
        self, installation: Installation, store: SqlSettings, stored: dict[str, JsonValue], *, clock: Clock,
        file_changes: FileChanges,
    ) -> None:  # fmt: skip
        self._installation = installation
        self._store = store
        self._clock = clock
        self._appliers: list[Apply] = []
        self._live = LiveSettings(
            installation.load, stored, file_changes=file_changes, on_change=self._changed, on_error=_complain
        )

    @property
    def settings(self) -> Settings:
        """The values in effect now."""
        return self._live.current

    @property
    def wanted(self) -> Settings:
        """The values as they are set, those included that count only from the next start."""
        return self._live.loaded.settings

    def default_limits(self) -> Limits:
        """The slice of a task that asks for none, as set now."""
        return Limits(**self.settings.limits.model_dump())

    def on_change(self, apply: Apply) -> None:
        """Call `apply` with the settings in effect whenever something changed."""
        self._appliers.append(apply)

    def table(self) -> list[dict[str, Any]]:
        """Each setting with its value, origin and meaning; secrets are masked. Says what waits for a restart."""
        waiting = {change.name for change in self._live.waiting}
        return [dict(row) | {"needs_restart": row["name"] in waiting} for row in self._live.loaded.table()]

    async def change(self, name: str, value: JsonValue) -> list[dict[str, Any]]:
        """Store a value; it wins over environment, files and defaults from now on.

        Raises:
            SettingsError: unknown name, wrong value, or one that contradicts others; nothing is stored.
        """
        checked = storable(name, value, self._installation.around)
        stored = await self._store.all()
        changes = self._live.reload(stored | {name: checked})  # refuses contradictions before they are stored
        await self._store.set(name, checked, at_unix_s=self._clock.now_unix_s())
        return _shown(changes)

    async def forget(self, name: str) -> list[dict[str, Any]]:
        """Remove a stored value, so that weaker sources count again.

        Raises:
            NotFound: none is stored under this name.
        """
        if not await self._store.unset(name):
            raise NotFound(f"no value is stored for {name!r}; `conductor settings show` tells where each comes from")
        return _shown(self._live.reload(await self._store.all()))

    async def reload(self) -> list[dict[str, Any]]:
        """Read all sources again; what changed.

        Raises:
            SettingsError: a source is wrong; everything stays as it was.
        """
        return _shown(self._live.reload(await self._store.all()))

    async def watch(self) -> None:
        """Take in changes of the configuration files until cancelled."""
        await self._live.watch()

    def _changed(self, settings: Settings, changes: Sequence[Change]) -> None:
        for change in changes:
            log.info("setting_changed", name=change.name, old=change.old, new=change.new, needs_restart=change.restart)
        for apply in self._appliers:
            apply(settings)


def _shown(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [
        {"name": change.name, "old": change.old, "new": change.new, "needs_restart": change.restart}
        for change in changes
    ]


def _complain(mistake: SettingsError) -> None:
    log.error("settings_not_taken", reason=mistake.message)
