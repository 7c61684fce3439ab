"""Whole numbers that clients send: JSON has one kind of number, so `68.0` is the whole number 68, and 68.5 is none.

Clients that compute with floating point write whole numbers with a fraction of nothing, and JSON Schema's `integer` takes
them (draft 2020-12, validation, 6.1.1). Texts, truth values and numbers with a fraction are refused as before.
"""

from typing import Final

from pydantic import BeforeValidator


def _whole(given: object) -> object:
    """The same number as an integer, where it is one; anything else as it came, for the type to refuse."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


#: For `Annotated[int, Field(ge=…), WHOLE]`: behind the bounds, so that they are checked on what this makes of a number.
WHOLE: Final = BeforeValidator(_whole)
