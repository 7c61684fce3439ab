"""The list of settings: each with its names, form, default and description, and how a value of it is checked and shown.

Derived from `model`, so nothing is written twice. Not covered: where a value comes from (`sources`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import annotated_types
from pydantic import BaseModel, SecretStr, ValidationError, create_model
from pydantic.fields import FieldInfo

from conductor.app.settings.model import Form, Section, Settings, Traits
from conductor.domain.json import JsonObject, JsonValue
from conductor.domain.redaction import MASK, without_secrets

PREFIX: Final = "CONDUCTOR_"


@dataclass(frozen=True, slots=True)
class Key:
    """One setting, under its dotted name."""

    name: str
    field: FieldInfo

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper().replace(".", "__")

    @property
    def traits(self) -> Traits:
        """What else is known about it."""
        extra = self.field.json_schema_extra
        traits = extra.get("traits") if isinstance(extra, dict) else None
        return traits if isinstance(traits, Traits) else Traits()

    @property
    def form(self) -> str:
        """What a value must be, in words, bounds included."""
        words = next((item.text for item in _metadata(self.field) if isinstance(item, Form)), "a value")
        bounds = " and ".join(_bounds(self.field))
        return f"{words}, {bounds}" if bounds else words

    def check(self, raw: object, *, home: Path, base: Path) -> object:
        """Turn what a source says into the value; relative paths start at `base`.

        Raises:
            ValueError: it is not of the form.
        """
        annotation: Any = self.field.annotation
        one = create_model("One", value=(annotation, self.field))
        try:
            checked = one.model_validate({"value": raw}, context={"home": home, "base": base})
        except ValidationError as wrong:
            raise ValueError(wrong.errors()[0]["msg"]) from wrong
        return getattr(checked, "value")  # noqa: B009 - the model is made above, no type knows the attribute

    def show(self, value: object) -> JsonValue:
        """A value as plain JSON; secrets are masked."""
        if isinstance(value, SecretStr):
            return _masked(value.get_secret_value())
        if self.traits.secret and value is not None:
            return _masked(str(value))
        if isinstance(value, tuple | list):
            return [str(item) for item in value]
        return value if isinstance(value, bool | int | float | str) or value is None else str(value)

    def describe(self) -> JsonObject:
        """Everything a listing or the documentation says about it."""
        required = self.field.is_required()
        return {
            "name": self.name,
            "variable": self.variable,
            "form": self.form,
            "default": None if required else self.show(self.field.default),
            "default_text": self.traits.default_text,
            "description": self.field.description or "",
            "needs_restart": self.traits.restart,
        }


@cache
def catalogue() -> Mapping[str, Key]:
    """Every setting by its dotted name, in the order of the model."""
    return MappingProxyType({key.name: key for key in _keys(Settings, "")})


def describe() -> list[JsonObject]:
    """All settings, for `conductor settings list` and the documentation."""
    return [key.describe() for key in catalogue().values()]


def value_of(settings: Settings, name: str) -> object:
    """The value under a dotted name."""
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; its last part alone is enough to find it."""
    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return close[0]
    by_last = {re.split(r"\.|__", candidate)[-1]: candidate for candidate in reversed(names)}
    last = get_close_matches(re.split(r"\.|__", name)[-1], by_last, n=1, cutoff=0.75)
    return by_last[last[0]] if last else None


def section_of(annotation: object) -> type[Section] | None:
    """The section class that an annotation names, if it names one."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _keys(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            yield Key(prefix + name, field)
        else:
            yield from _keys(section, f"{prefix}{name}.")


def _metadata(field: FieldInfo) -> Iterator[object]:
    """What the annotation carries; for `X | None` pydantic leaves it on the annotation of X."""
    yield from field.metadata
    for option in getattr(field.annotation, "__args__", ()):
        yield from getattr(option, "__metadata__", ())


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound in field.metadata:
        match bound:
            case annotated_types.Ge(ge=least):
                yield f"≥ {least}"
            case annotated_types.Gt(gt=floor):
                yield f"> {floor}"
            case annotated_types.Le(le=most):
                yield f"≤ {most}"
            case annotated_types.Lt(lt=ceiling):
                yield f"< {ceiling}"
            case annotated_types.MaxLen(max_length=most):
                yield f"at most {most} characters"
            case _:
                continue


def _masked(text: str) -> str:
    """A URL without its password; anything else not at all."""
    return without_secrets(text) if "://" in text else MASK
