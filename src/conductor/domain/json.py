"""The shape of plain JSON data, as a type."""

from collections.abc import Mapping, Sequence

from typing_extensions import TypeAliasType

JsonValue = TypeAliasType(
    "JsonValue", "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
)
JsonObject = TypeAliasType("JsonObject", "Mapping[str, JsonValue]")
