"""See that a JSON Schema which a caller sends can be used, before a model is asked to keep to it."""

import importlib.util

from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject


def check_schema(schema: JsonObject, *, field: str) -> None:
    """Check a schema by the draft that it names, if the extra `schema` is installed; else the model's backend will tell.

    Raises:
        InvalidInput: it is no valid schema, refers to something outside of itself, or is too large; `field` is named.
    """
    if importlib.util.find_spec("jsonschema") is None:
        return
    from conductor.serving.json_schema import Schema  # few requests bring a schema

    try:
        Schema(schema)
    except InvalidInput as wrong:
        place = (wrong.field or "").removeprefix("schema")
        raise InvalidInput(f"{field}{wrong.message.removeprefix('schema')}", field=f"{field}{place}") from None
