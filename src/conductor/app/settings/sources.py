"""Read what each source says: YAML files, environment, database, command line; every value with the place it stands at.

Everything is checked where it is read, also what a stronger source or another host's profile makes irrelevant, so that
a mistake is told today and not when it begins to count. Which source wins is `load`'s. A `conductor.yaml` found in the
working directory is obeyed only if its owner could command us anyway.

Not covered: YAML merge keys (`<<`) and several documents in one file.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_IWGRP, S_IWOTH
from typing import Any, Final

import yaml

from conductor.app.settings.keys import PREFIX, Key, catalogue, nearest
from conductor.domain.errors import SettingsError
from conductor.domain.json import JsonValue
from conductor.domain.units import MIB

#: Variables with our prefix that are no settings: the place of the file, and what tasks find in their environment.
NO_SETTINGS: Final = frozenset({"CONDUCTOR_CONFIG", "CONDUCTOR_TASK_DIR", "CONDUCTOR_RESULT_FD"})
#: What Kubernetes puts into the environment of every pod beside a service called `conductor`.
_SERVICE_LINK: Final = re.compile(r"CONDUCTOR_SERVICE_(HOST|PORT\w*)|CONDUCTOR_PORT_[0-9]+_\w+")
_PROFILES: Final = "profiles"
_LARGEST_FILE_BYTES: Final = MIB


class Source(StrEnum):
    """Where a value can come from, weakest first."""

    DEFAULT = "default"
    YAML = "yaml"
    ENVIRONMENT = "environment"
    DATABASE = "database"
    ARGUMENT = "argument"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value came from: the source, the exact place, and the value as it may be shown."""

    source: Source
    place: str
    shown: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One value from one source, checked."""

    key: Key
    value: object
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A YAML file to read. `required`: it must exist. `stray`: it was merely found, so its owner matters."""

    path: Path
    required: bool = False
    stray: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the process finds around it, as far as settings depend on it; handed in, so that tests choose it."""

    environ: Mapping[str, str]
    hostname: str
    home: Path
    working_dir: Path
    logical_cores: int
    user_id: int

    def config_files(self, chosen: Path | None = None) -> tuple[ConfigFile, ...]:
        """The files to read, later ones stronger.

        A chosen file (`--config`, else `$CONDUCTOR_CONFIG`) is the only one. Otherwise these, as far as they exist:
        `$XDG_CONFIG_HOME/conductor/conductor.yaml` (`~/.config` when unset), then `./conductor.yaml`.
        """
        named = str(chosen or self.environ.get("CONDUCTOR_CONFIG", ""))
        if named:
            named = str(self.home) + named[1:] if named.startswith("~/") else named
            return (ConfigFile(path=self.working_dir / named, required=True),)
        return (
            ConfigFile(path=self.folder("XDG_CONFIG_HOME", ".config") / "conductor" / "conductor.yaml"),
            ConfigFile(path=self.working_dir / "conductor.yaml", stray=True),
        )

    def folder(self, variable: str, below_home: str) -> Path:
        """A base folder of the XDG specification, which says that relative ones are to be ignored."""
        named = Path(self.environ.get(variable, ""))
        return named if named.is_absolute() else self.home / below_home


def from_defaults(around: Surroundings) -> Iterator[Entry]:
    """Every default; those that depend on the machine say so."""
    by_machine = {
        "data_dir": around.folder("XDG_DATA_HOME", ".local/share") / "conductor",
        "executor.workers": max(1, around.logical_cores),
        "node.name": around.hostname or "localhost",
    }
    for name, key in catalogue().items():
        value = by_machine.get(name, key.field.default)
        origin = Origin(source=Source.DEFAULT, place=key.traits.default_text, shown=key.show(value))
        yield Entry(key=key, value=value, origin=origin)


def from_environment(around: Surroundings) -> Iterator[Entry]:
    """Every variable `CONDUCTOR_…`; an empty one counts as unset.

    Raises:
        SettingsError: a name is unknown or a value has the wrong form.
    """
    by_variable = {key.variable: key for key in catalogue().values()}
    for variable, text in sorted(around.environ.items()):
        if not variable.startswith(PREFIX) or variable in NO_SETTINGS or not text or _is_service_link(variable, text):
            continue
        if variable not in by_variable:
            raise _unknown(variable, nearest(variable, by_variable), "in the environment", variable)
        yield _entry(by_variable[variable], text, Source.ENVIRONMENT, variable, around, around.working_dir)


def from_mapping(
    values: Mapping[str, Any], source: Source, place: str, around: Surroundings, *, said_in: str | None = None
) -> Iterator[Entry]:
    """Values under dotted names: what the database stores, or what the command line said.

    Args:
        said_in: where a wrong value stands, if it is not in `place` yet; empty for nowhere.

    Raises:
        SettingsError: a name is unknown, a value has the wrong form, or the setting cannot be stored there.
    """
    for name, raw in values.items():
        if name not in catalogue():
            raise unknown_key(name, f"in {place}")
        if source is Source.DATABASE and catalogue()[name].traits.needed_first:
            raise SettingsError(
                f"{name} cannot be set in {place}, which is found by it; set {catalogue()[name].variable} or use YAML",
                field=name,
            )
        if source is Source.DATABASE and catalogue()[name].traits.secret:
            raise SettingsError(
                f"{name} is a secret and {place} is not encrypted; set {catalogue()[name].variable} or use YAML",
                field=name,
            )
        yield _entry(catalogue()[name], raw, source, place if said_in is None else said_in, around, around.working_dir)


def from_yaml(file: ConfigFile, around: Surroundings) -> Iterator[Entry]:
    """One file: the common part first, then each profile whose pattern fits this host, in the order of the file.

    A pattern (`gpu-*`) is compared with the host name, whole or up to its first dot, without regard to case.

    Raises:
        SettingsError: the file cannot be read, or something in it is unknown or wrong; names file and line.
    """
    text = _read(file, around.user_id)
    if text is None:
        return
    try:
        yield from _YamlFile(file.path, text, around).entries()
    except yaml.MarkedYAMLError as broken:
        line = broken.problem_mark.line + 1 if broken.problem_mark else 1
        raise SettingsError(f"{file.path}:{line} is no valid YAML: {broken.problem}") from broken
    except yaml.YAMLError as broken:
        raise SettingsError(f"{file.path} is no valid YAML: {' '.join(str(broken).split())}") from broken


def unknown_key(name: str, where: str) -> SettingsError:
    """The error for a dotted name that is no setting."""
    return _unknown(name, nearest(name, catalogue()), where, name)


def _is_service_link(variable: str, text: str) -> bool:
    if variable == "CONDUCTOR_PORT":  # with a plain number somebody meant our port
        return "://" in text
    return _SERVICE_LINK.fullmatch(variable) is not None


def _unknown(name: str, meant: str | None, where: str, field: str) -> SettingsError:
    advice = f"did you mean {meant}?" if meant else "`conductor settings list` shows all"
    return SettingsError(f"{name} ({where}) is no setting; {advice}", field=field, details={"nearest": meant})


def _entry(key: Key, raw: object, source: Source, place: str, around: Surroundings, base: Path) -> Entry:
    try:
        value = key.check(raw, home=around.home, base=base)
    except ValueError as wrong:
        given = "what it is" if key.traits.secret else repr(raw)
        raise SettingsError(
            f"{key.name} cannot be {given}{f' ({place})' if place else ''}"
            f"{'' if key.traits.secret else _reason(wrong)}; it must be {key.form}",
            field=key.name,
            details={"source": source, "place": place},
        ) from wrong
    return Entry(key=key, value=value, origin=Origin(source=source, place=place, shown=key.show(value)))


def _reason(wrong: ValueError) -> str:
    """What a check of ours says; pydantic's own words say less than the form does."""
    _, ours, reason = str(wrong).partition("Value error, ")
    return f": {reason}" if ours else ""


def _read(file: ConfigFile, user_id: int) -> str | None:
    try:
        facts = file.path.stat()
        if file.stray and (facts.st_uid not in (user_id, 0) or facts.st_mode & (S_IWGRP | S_IWOTH)):
            raise SettingsError(
                f"{file.path} can be changed by others, who could make us run their commands; "
                f"`chmod go-w` it and own it, move it away, or name it with --config if it is meant"
            )
        if facts.st_size > _LARGEST_FILE_BYTES:
            raise SettingsError(f"{file.path} has {facts.st_size:,} bytes; settings take at most 1 MiB")
        return file.path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if file.required:
            raise SettingsError(f"there is no file {file.path}; correct --config or CONDUCTOR_CONFIG") from None
        return None
    except (OSError, UnicodeDecodeError) as unreadable:
        raise SettingsError(f"{file.path} cannot be read: {unreadable}") from unreadable


class _YamlFile:
    """One parsed file; works on nodes rather than values because nodes know their lines."""

    def __init__(self, path: Path, text: str, around: Surroundings) -> None:
        self._path, self._around = path, around
        self._loader = yaml.SafeLoader(text)
        self._root = self._loader.get_single_node()

    def entries(self) -> Iterator[Entry]:
        if self._root is None:
            return
        pairs = list(self._pairs(self._root, "the file"))
        for name, key_node, node in pairs:
            if name != _PROFILES:
                yield from self._section(name, key_node, node, "")
        for name, _, node in pairs:
            if name == _PROFILES:
                yield from self._profiles(node)

    def _profiles(self, node: yaml.Node) -> Iterator[Entry]:
        for pattern, _, body in self._pairs(node, _PROFILES):
            entries = [
                entry
                for name, key_node, value in self._pairs(body, f"profile {pattern}")
                for entry in self._section(name, key_node, value, f", profile {pattern}")
            ]
            if self._fits(pattern):
                yield from entries

    def _fits(self, pattern: str) -> bool:
        host = self._around.hostname.lower()
        return any(fnmatchcase(name, pattern.lower()) for name in (host, host.partition(".")[0]))

    def _section(self, name: str, key_node: yaml.Node, node: yaml.Node, suffix: str) -> Iterator[Entry]:
        """Everything at or below one dotted name."""
        key = catalogue().get(name)
        place = f"{self._place(key_node)}{suffix}"
        if key is None:
            if not any(known.startswith(f"{name}.") for known in catalogue()):
                raise unknown_key(name, place)
            for below, below_key, value in self._pairs(node, name):
                yield from self._section(f"{name}.{below}", below_key, value, suffix)
            return
        raw = self._loader.construct_object(node, deep=True)
        yield _entry(key, raw, Source.YAML, place, self._around, self._path.parent)

    def _pairs(self, node: yaml.Node, what: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Names with their nodes; a section left empty has none."""
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError(f"{what} ({self._place(node)}) must hold names and values, like `depth: 500`")
        lines: dict[str, int] = {}
        for key_node, value in node.value:
            name = str(key_node.value)
            line = key_node.start_mark.line + 1
            if name in lines:
                raise SettingsError(f"{name} stands twice in {self._path}, in lines {lines[name]} and {line}")
            lines[name] = line
            yield name, key_node, value

    def _place(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"
