import enum
import math
import struct
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.building import vector

from conductor.domain.errors import InvalidInput
from conductor.ledger.canonical import Prepared, canonical, canonical_again

CASES = ["arrays", "french", "structures", "unicode", "values", "weird"]


class Colour(enum.StrEnum):
    RED = "red"


safe_integers = st.integers(-(2**53) + 1, 2**53 - 1)
floats = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1e-4, 1e-4)
    | st.integers(-(10**22), 10**22).map(float)
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | safe_integers | floats | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner) | st.lists(inner).map(tuple),
)


@pytest.mark.parametrize("name", CASES)
def test_published_objects_have_their_published_canonical_form(name: str) -> None:
    given = orjson.loads(vector(f"jcs/input/{name}.json").read_bytes())

    made = canonical(given)

    assert made == vector(f"jcs/output/{name}.json").read_bytes().rstrip(b"\n")
    assert made == bytes.fromhex(vector(f"jcs/outhex/{name}.txt").read_text())


def test_ten_thousand_published_numbers_are_laid_out_as_in_ecmascript() -> None:
    rows = [row.split(",") for row in vector("jcs/es6testfile10k.txt").read_text().split()]
    numbers = [float_of_bits(int(bits, 16)) for bits, _ in rows]

    assert [canonical(number).decode() for number in numbers] == [expected for _, expected in rows]


def float_of_bits(bits: int) -> float:
    return float(struct.unpack(">d", struct.pack(">Q", bits))[0])


@given(values)
def test_the_fast_way_writes_what_the_general_way_writes(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(values, values)
def test_a_prepared_part_is_written_as_the_part_itself(part: Any, rest: Any) -> None:
    assert canonical({"part": Prepared(part), "rest": [rest]}) == canonical({"part": part, "rest": [rest]})


@given(st.floats(1e-5, 2.0**53, exclude_max=True) | st.floats(-(2.0**53), -1e-5, exclude_min=True))
def test_numbers_in_the_fast_range_are_written_alike(value: float) -> None:
    assert canonical([value]) == rfc8785.dumps([value])


@given(values)
def test_a_canonical_form_reads_back_and_is_its_own_canonical_form(value: Any) -> None:
    once = canonical(value)

    assert canonical_again(orjson.loads(once)) == once


@given(st.dictionaries(texts, st.none(), min_size=2))
def test_the_order_in_which_members_were_put_in_leaves_no_trace(members: dict[str, None]) -> None:
    assert canonical(members) == canonical(dict(reversed(members.items())))


def test_keys_are_sorted_by_utf16_units_and_not_by_code_points() -> None:
    assert canonical([({"\ue000": 1, "\U0001f600": 2},)]) == '[[{"\U0001f600":2,"\ue000":1}]]'.encode()
    assert canonical({"\ue000": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ue000":1}'.encode()


def test_enumerations_and_read_only_mappings_count_as_what_they_hold() -> None:
    assert canonical({Colour.RED: 1, "a": Colour.RED}) == b'{"a":"red","red":1}'
    assert canonical(MappingProxyType({"colour": Colour.RED, "in": [MappingProxyType({"a": 1.0})]})) == (
        b'{"colour":"red","in":[{"a":1}]}'
    )


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        {"a": [1, -math.inf]},
        2**53,
        -(2**53),
        10**30,
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        b"bytes",
        {"at": datetime(2026, 1, 1, tzinfo=UTC)},
        {1, 2},
    ],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="canonical JSON"):
        canonical(value)


def test_nesting_without_end_is_refused_and_does_not_crash() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(InvalidInput):
        canonical(endless)
