"""Errors of real readings, told in our words: every sentence names what was read, what it is, and what it must be."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from conductor.app.malformed import field_of, sentence


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    needed: int = Field(3, ge=1, lt=10)
    ratio: float = Field(0.5, allow_inf_nan=False)
    name: str = Field("a", max_length=5, pattern="^[a-z]+$")
    colour: Colour = Colour.RED
    mode: Literal["slow", "fast"] = "slow"
    parts: list[dict[str, bool]] = []
    few: Annotated[tuple[int, ...], Field(max_length=2)] = ()
    even: int = 2

    @field_validator("even")
    @classmethod
    def check_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("even is odd; send 2, 4, 6")
        return value


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"needed": 0}, "needed is 0; it must be 1 or greater"),
        ({"needed": 10}, "needed is 10; it must be less than 10"),
        ({"needed": "x"}, 'needed is "x"; it must be a whole number'),
        ({"needed": 1.5}, "needed is 1.5; it must be a whole number"),
        ({"ratio": "half"}, 'ratio is "half"; it must be a number'),
        ({"ratio": float("nan")}, "ratio is NaN; it must be a finite number"),
        ({"name": "abcdef"}, 'name is "abcdef"; it must be at most 5 characters long'),
        ({"name": "A"}, 'name is "A"; it must be of the form ^[a-z]+$'),
        ({"name": None}, "name is null; it must be text"),
        ({"colour": "GREN"}, 'colour is "GREN"; it must be one of red, green; did you mean green?'),
        ({"colour": "blue-ish"}, 'colour is "blue-ish"; it must be one of red, green'),
        ({"mode": "fasst"}, 'mode is "fasst"; it must be one of slow, fast; did you mean fast?'),
        ({"parts": {}}, "parts is {}; it must be a list"),
        ({"parts": [{"a": "maybe"}]}, 'parts.0.a is "maybe"; it must be true or false'),
        ({"few": [1, 2, 3]}, "few is [1, 2, 3]; it must be at most 2 items long"),
        ({"even": 3}, "even: even is odd; send 2, 4, 6"),
        ({"neded": 1}, "neded is no field that is known here; leave it out, or correct its name"),
        ({"needed": "x" * 500}, f'needed is "{"x" * 58}…; it must be a whole number'),
    ],
)
def test_an_error_is_told_in_one_sentence(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        Document.model_validate(document)

    (error,) = wrong.value.errors()
    assert sentence(error) == said
    assert field_of(error).split(".")[0] == next(iter(document))
