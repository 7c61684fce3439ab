"""What a caller may say to an engine, as a JSON Schema."""

from dataclasses import dataclass
from enum import StrEnum

import jsonschema_rs
import pytest

from conductor.app.serving.options import engine_options, options_form
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Sampling
from conductor.domain.json import JsonObject
from conductor.serving.engine import EngineOptions


class Colour(StrEnum):
    """What it is painted with."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint(EngineOptions):
    """What a painter may be told.

    Args:
        colour: which one.
        width, height: of the picture,
            in metres.
        owner: whose picture it is.
    """

    colour: Colour = Colour.RED
    width: int = 1
    height: int = 1
    notes: JsonObject | None = None
    owner: str = ""


def test_options_are_described_by_the_words_of_their_type_and_refer_to_nothing() -> None:
    form = options_form(Paint)

    assert list(form["properties"]) == ["colour", "width", "height", "notes"]
    told = {name: part.get("description") for name, part in form["properties"].items()}
    assert told["width"] == told["height"] == "of the picture, in metres."
    assert told["notes"] is None
    assert form["properties"]["colour"]["enum"] == ["red", "blue"]
    assert "$ref" not in str(form)
    jsonschema_rs.meta.validate(form)


@pytest.mark.parametrize("given", [{}, {"colour": "blue"}, {"width": 2, "notes": {"a": [1, {"b": None}]}},
                                   {"colour": "green"}, {"width": "wide"}, {"owner": "me"}, {"depth": 1}])  # fmt: skip
def test_the_form_takes_what_the_engine_takes(given: JsonObject) -> None:
    try:
        engine_options(Paint, given, sampling=Sampling(), owner="")
    except InvalidInput:
        taken = False
    else:
        taken = True

    assert jsonschema_rs.is_valid(options_form(Paint), given) == taken
