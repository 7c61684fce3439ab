"""Put the sources together: command line > database > environment > YAML > defaults, key by key (FEATURES G16).

`load_settings` returns the settings with the origin of each; what each source says is `sources`', what changes while
running is `live`'s. The database's values are handed in, since finding the database needs settings itself: load once
without them, open the database, load again with them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from conductor.adapters.data_folder import DataPaths
from conductor.app.settings.keys import catalogue
from conductor.app.settings.model import Settings
from conductor.app.settings.sources import (
    Entry,
    Origin,
    Source,
    Surroundings,
    from_defaults,
    from_environment,
    from_mapping,
    from_yaml,
    unknown_key,
)
from conductor.domain.errors import SettingsError
from conductor.domain.json import JsonObject, JsonValue

DATABASE_PLACE = "the settings table"
COMMAND_LINE_PLACE = "the command line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings, where each came from (by dotted name), and the files that were looked for."""

    settings: Settings
    origins: Mapping[str, Origin]
    files: tuple[Path, ...]

    def table(self) -> list[JsonObject]:
        """What `conductor settings show` prints: each setting with its value and origin, secrets masked."""
        return [
            {
                "name": name,
                "value": origin.shown,
                "source": origin.source.value,
                "place": origin.place,
                "description": catalogue()[name].field.description or "",
            }
            for name, origin in self.origins.items()
        ]


def load_settings(
    around: Surroundings,
    *,
    database: Mapping[str, JsonValue] | None = None,
    arguments: Mapping[str, JsonValue] | None = None,
    config: Path | None = None,
) -> Loaded:
    """Read every source and let the strongest win, setting by setting.

    Args:
        around: environment, host name, folders.
        database: values stored under dotted names.
        arguments: values from the command line under dotted names.
        config: a YAML file that replaces those looked for otherwise.

    Raises:
        SettingsError: something unknown, of the wrong form, or contradictory; names the place and the remedy.
    """
    files = around.config_files(config)
    entries = {entry.key.name: entry for entry in from_defaults(around)}
    _override(entries, (entry for file in files for entry in from_yaml(file, around)))
    _override(entries, from_environment(around))
    _override(entries, from_mapping(database or {}, Source.DATABASE, DATABASE_PLACE, around))
    _override(entries, from_mapping(arguments or {}, Source.ARGUMENT, COMMAND_LINE_PLACE, around))
    return Loaded(
        settings=_settings(entries),
        origins={name: entry.origin for name, entry in entries.items()},
        files=tuple(file.path for file in files),
    )


def storable(name: str, raw: JsonValue, around: Surroundings) -> JsonValue:
    """Check one value for the settings table; `2GiB` becomes bytes.

    Whether it agrees with the other settings is found by `LiveSettings.reload`.

    Raises:
        SettingsError: no such setting, a wrong value, or a setting that the database cannot hold.
    """
    if name not in catalogue():
        raise unknown_key(name, "in the request")
    (entry,) = from_mapping({name: raw}, Source.DATABASE, DATABASE_PLACE, around, said_in="")
    return entry.key.show(entry.value)


def database_url(settings: Settings) -> str:
    """The database's address with its password: the one set, or SQLite in the data folder."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{DataPaths(settings.data_dir).database}"


def _override(entries: dict[str, Entry], stronger: Iterable[Entry]) -> None:
    for entry in stronger:
        entries[entry.key.name] = entry


def _settings(entries: Mapping[str, Entry]) -> Settings:
    """Build the model; every value is checked already, so what fails here is a contradiction between values."""
    tree: dict[str, Any] = {}
    for name, entry in entries.items():
        *sections, last = name.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[last] = entry.value
    try:
        return Settings.model_validate(tree)
    except ValidationError as contradiction:
        first = contradiction.errors()[0]
        section = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{reason} ({_places(entries, section)})", field=section) from contradiction


def _places(entries: Mapping[str, Entry], section: str) -> str:
    """Where the values of a section were set, as far as they were."""
    own = [entry for name, entry in entries.items() if name.startswith(f"{section}.")]
    return "; ".join(
        f"{entry.key.name}: {entry.origin.place}" for entry in own if entry.origin.source is not Source.DEFAULT
    )
