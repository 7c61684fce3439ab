"""Change settings while running: what changed, what of it applies at once, what waits for the next start.

`LiveSettings` reads the sources again when a file changes or the caller says that the database did. Values that need a
restart keep their old value in `current`, so code that asks twice never sees half a change. A mistake in a file changes
nothing and is reported. What a change means is for whoever listens.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conductor.app.settings.keys import catalogue, section_of, value_of
from conductor.app.settings.load import Loaded
from conductor.app.settings.model import Section, Settings
from conductor.domain.errors import SettingsError
from conductor.domain.json import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One setting that differs; the values are as they may be shown. `restart`: counts only from the next start."""

    name: str
    old: JsonValue
    new: JsonValue
    restart: bool


def diff(old: Settings, new: Settings) -> list[Change]:
    """Every setting whose value differs, in the order of the list of settings."""
    return [
        Change(
            name=name,
            old=key.show(value_of(old, name)),
            new=key.show(value_of(new, name)),
            restart=key.traits.restart,
        )
        for name, key in catalogue().items()
        if value_of(old, name) != value_of(new, name)
    ]


def in_effect(running: Settings, wanted: Settings) -> Settings:
    """What counts while running: the wanted values, but the running ones where a restart is needed."""
    kept = {name: value_of(running, name) for name, key in catalogue().items() if key.traits.restart}
    return _with_values(wanted, kept)


def _with_values(settings: Settings, values: Mapping[str, object]) -> Settings:
    """The same settings with other values under some dotted names; nothing is checked again."""

    def rebuilt(model: Section, prefix: str) -> Section:
        update: dict[str, object] = {}
        for name, field in type(model).model_fields.items():
            if section_of(field.annotation) is not None:
                update[name] = rebuilt(getattr(model, name), f"{prefix}{name}.")
            elif prefix + name in values:
                update[name] = values[prefix + name]
        return model.model_copy(update=update)

    result = rebuilt(settings, "")
    assert isinstance(result, Settings)
    return result


Load = Callable[[Mapping[str, JsonValue]], Loaded]
Listener = Callable[[Settings, Sequence[Change]], None]
FileChanges = Callable[[Sequence[Path]], AsyncIterator[None]]


class LiveSettings:
    """The settings in effect.

    Args:
        load: reads all sources, given the database's values; see `load.load_settings`.
        database: the values stored at the start.
        file_changes: yields when it has begun to watch these files, and whenever one changed.
        on_change: hears the settings in effect and what changed.
        on_error: hears why a changed file was not taken.
    """

    def __init__(
        self,
        load: Load,
        database: Mapping[str, JsonValue],
        *,
        file_changes: FileChanges,
        on_change: Listener,
        on_error: Callable[[SettingsError], None],
    ) -> None:
        self._load = load
        self._database = dict(database)
        self._file_changes = file_changes
        self._on_change = on_change
        self._on_error = on_error
        self.loaded = load(self._database)
        self.current = self.loaded.settings

    @property
    def waiting(self) -> list[Change]:
        """What was changed and counts only from the next start."""
        return diff(self.current, self.loaded.settings)

    def reload(self, database: Mapping[str, JsonValue] | None = None) -> list[Change]:
        """Read all sources again; `database` are the values stored now, None if those known are still right.

        Raises:
            SettingsError: a source is wrong; everything stays as it was.
        """
        stored = self._database if database is None else dict(database)
        loaded = self._load(stored)
        changes = diff(self.loaded.settings, loaded.settings)
        self._database, self.loaded = stored, loaded
        self.current = in_effect(self.current, loaded.settings)
        if changes:
            self._on_change(self.current, changes)
        return changes

    async def watch(self) -> None:
        """Reload whenever a file changes, until cancelled."""
        async for _ in self._file_changes(self.loaded.files):
            try:
                self.reload()
            except SettingsError as mistake:
                self._on_error(mistake)
