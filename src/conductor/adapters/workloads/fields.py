"""Read the fields of a workload's specification: each present, of its type, and known, or an error that names it."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject, JsonValue


def refuse_unknown(spec: JsonObject, known: Iterable[str]) -> None:
    """Refuse fields nobody reads; the error names the nearest known one.

    Raises:
        InvalidInput: there is such a field.
    """
    names = sorted(known)
    for name in spec:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
            raise InvalidInput(
                f"the workload has a field {name!r} that nothing reads; {meant}", field=f"workload.{name}"
            )


def text(spec: JsonObject, name: str) -> str | None:
    """A text without NUL, or None when absent.

    Raises:
        InvalidInput: it is something else.
    """
    value = spec.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or "\0" in value:
        raise InvalidInput(f"workload.{name} must be text without NUL characters", field=f"workload.{name}")
    return value


def texts(value: JsonValue, field: str) -> list[str]:
    """A list of texts without NUL.

    Raises:
        InvalidInput: it is something else.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise InvalidInput(f"{field} must be a list of texts without NUL characters", field=field)
    return [str(item) for item in value]


def environment(spec: JsonObject) -> dict[str, str]:
    """Names and values to add to a task's environment.

    Raises:
        InvalidInput: it is no object of texts, or a name cannot be a variable.
    """
    value = spec.get("environment") or {}
    if not isinstance(value, dict):
        raise InvalidInput("workload.environment must be an object of texts", field="workload.environment")
    for name, content in value.items():
        if not isinstance(content, str) or not name or any(char in name for char in "=\0") or "\0" in content:
            raise InvalidInput(
                f"workload.environment has {name!r}: {content!r}; names and values must be texts, "
                "names without '=' (numbers go in quotes)",
                field=f"workload.environment.{name}",
            )
    return dict(value)


def directory(spec: JsonObject) -> Path | None:
    """The absolute folder to work in, or None for the task's own.

    Raises:
        InvalidInput: there is no such folder.
    """
    named = text(spec, "directory")
    if named is None:
        return None
    path = Path(named).expanduser().absolute()
    if not path.is_dir():
        raise InvalidInput(
            f"workload.directory {named!r} is no folder on this machine; create it or leave the field out to work "
            "in the task's own folder",
            field="workload.directory",
        )
    return path
