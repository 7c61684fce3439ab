"""Extraction: the schema decides, one repair, no fetching, and values that stand where evidence says."""

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.engines.told_model import OneModelDesk, ToldModel, streamed, user_said

from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonValue
from conductor.serving.engines.data_extraction import DataExtraction, ExtractionOptions
from conductor.serving.json_schema import Schema, evidence, json_in

pytest.importorskip("jsonschema")

INVOICE = "Invoice 4711 of 3 May 2026: 12 bolts at 0.50 each, 1,250.00 euros in all. Billed to Müller & Co."
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "total": {"type": "number", "minimum": 0},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
    },
    "required": ["number", "total"],
    "additionalProperties": False,
    "$defs": {"item": {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}}}},
}
GOOD = {"number": "4711", "total": 1250.0, "items": [{"name": "bolts", "count": 12}]}


async def extracted(model: ToldModel, *, with_evidence: bool = False) -> dict[str, Any]:
    options = ExtractionOptions(schema=SCHEMA, evidence=with_evidence)
    told, answer, _ = await streamed(DataExtraction(OneModelDesk(model)), INVOICE, options)
    assert told == answer.text
    return {**answer.facts, "text": answer.text, "notes": answer.notes}


@pytest.mark.anyio
async def test_what_satisfies_the_schema_is_taken_at_once() -> None:
    model = ToldModel([f"Here it is:\n```json\n{json.dumps(GOOD)}\n```"])
    got = await extracted(model)
    assert (got["valid"], got["data"], got["rounds"], got["notes"]) == (True, GOOD, 1, ())
    assert json.loads(got["text"]) == GOOD


@pytest.mark.anyio
async def test_what_does_not_is_repaired_once_with_the_places_told() -> None:
    model = ToldModel([json.dumps({"total": -1, "items": [{"count": "12"}]}), json.dumps(GOOD)])
    got = await extracted(model)
    assert (got["valid"], got["rounds"]) == (True, 2)
    complaint = user_said(model.asked[1])
    assert "'number' is a required property" in complaint
    assert "/total: -1 is less than the minimum of 0" in complaint
    assert "/items/0/count: '12' is not of type 'integer'" in complaint


@pytest.mark.anyio
async def test_what_cannot_be_repaired_is_told_and_the_better_attempt_kept() -> None:
    got = await extracted(ToldModel([json.dumps({"number": "4711"}), "no"]))
    assert (got["valid"], got["data"]) == (False, {"number": "4711"})
    assert got["notes"] == ("it does not satisfy the schema: /: 'total' is a required property",)


@pytest.mark.anyio
async def test_a_model_without_json_gives_no_data_and_no_text() -> None:
    got = await extracted(ToldModel(["no", "never"]))
    assert (got["valid"], got["data"], got["text"]) == (False, None, "")


@pytest.mark.anyio
async def test_a_model_that_can_be_constrained_gets_the_schema_as_its_form() -> None:
    model = ToldModel([json.dumps(GOOD)], constrains=True)
    await extracted(model)
    assert model.asked[0].form == SCHEMA


@pytest.mark.anyio
async def test_evidence_tells_where_values_stand_and_which_stand_nowhere() -> None:
    made_up = {**GOOD, "items": [{"name": "nuts", "count": 13}]}
    got = await extracted(ToldModel([json.dumps(made_up)]), with_evidence=True)
    places = {path: at and INVOICE[at[0] : at[1]] for path, at in got["evidence"].items()}
    assert places == {"/number": "4711", "/total": "1,250.00", "/items/0/name": None, "/items/0/count": None}
    assert got["notes"] == ("values that do not stand in the text as they are: /items/0/name, /items/0/count",)


@pytest.mark.parametrize(
    ("value", "at"), [(50, None), (0.5, "0.50"), (125, None), (12, "12"), ("müller & co", "Müller & Co"), (True, "-")]
)
def test_a_number_stands_in_a_text_as_a_whole_number_only(value: JsonValue, at: str | None) -> None:
    found = evidence({"a/b": value}, INVOICE)
    assert {path: span and INVOICE[span.start : span.end] for path, span in found.items()} == (
        {} if at == "-" else {"/a~1b": at}
    )


def test_evidence_stands_at_its_place_behind_letters_that_have_no_single_small_form() -> None:
    [at] = evidence(["anna"], "İİİ: Anna").values()
    assert at is not None
    assert "İİİ: Anna"[at.start : at.end] == "Anna"


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "objekt"}, "schema/type"), ({"properties": {"a": {"minimum": "1"}}}, "schema/properties/a/minimum"),
        ({"$ref": "https://example.org/s.json"}, "schema/$ref"), ({"$ref": "file:///etc/passwd"}, "schema/$ref"),
        ({"pattern": "(a+)+$"}, "schema/pattern"), ({"pattern": "(a|a)*b"}, "schema/pattern"),
        ({"pattern": "x" * 301}, "schema/pattern"), ({"patternProperties": {"(a*)*": {}}}, "schema/patternProperties/"),
        ({"a": float("nan")}, "schema"), ({"pattern": "("}, "schema/pattern"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_used_is_refused_at_its_place(schema: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Schema(schema)
    assert (refused.value.field or "").startswith(field)


def test_a_schema_too_deep_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"items": deep}
    with pytest.raises(InvalidInput, match="levels deep"):
        Schema(deep)


def test_a_reference_to_nowhere_and_one_to_itself_end_in_an_error() -> None:
    with pytest.raises(InvalidInput, match="leads nowhere"):
        Schema({"$ref": "#/$defs/absent"}).problems(1)
    with pytest.raises(InvalidInput, match="without end"):
        Schema({"$ref": "#"}).problems(1)


def test_references_to_an_id_within_the_schema_are_followed_and_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    schema = Schema(
        {
            "$defs": {"n": {"$id": "https://example.org/n", "type": "integer"}},
            "items": {"$ref": "https://example.org/n"},
        }
    )
    assert [str(problem) for problem in schema.problems([1, "x"])] == ["/1: 'x' is not of type 'integer'"]


def test_a_property_may_be_called_pattern_or_ref() -> None:
    schema = Schema({"properties": {"pattern": {"type": "string"}, "id": {"const": "https://x.example"}}})
    assert schema.problems({"pattern": "(a+)+"}) == []


@pytest.mark.parametrize(
    ("written", "value"),
    [('{"a": 1}', {"a": 1}), ("Sure! [1, 2] is it.", [1, 2]), ("```\n[3]\n```", [3]),
     ('<think>perhaps {"a": 9}</think>{"a": 1}', {"a": 1}), ('{"a": "</think>"}', {"a": "</think>"}),
     ('x {"a": {"b": []}} y', {"a": {"b": []}}), ("{broken {\"a\": 2}", {"a": 2}), ("7", 7)],
)  # fmt: skip
def test_json_is_found_in_what_was_written(written: str, value: JsonValue) -> None:
    assert json_in(written) == value


@pytest.mark.parametrize(
    "written", ["", "no", "NaN", '{"a": NaN}', '{"a": 1e999}', '["\\ud800"]', "{" * 2000, "[" * 100_000]
)
def test_what_has_no_json_is_refused(written: str) -> None:
    with pytest.raises(InvalidInput):
        json_in(written)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.text(alphabet="ab.\n", max_size=10))
def test_any_json_is_found_behind_words(value: JsonValue, words: str) -> None:
    found = json_in(f"{words}\n```json\n{json.dumps(value)}\n```")
    assert found == value


@pytest.mark.anyio
@pytest.mark.parametrize(("prompt", "schema", "field"), [("", SCHEMA, "prompt"), ("text", {}, "schema")])
async def test_impossible_requests_name_their_field(prompt: str, schema: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await DataExtraction(OneModelDesk(ToldModel(["x"]))).generate(prompt, ExtractionOptions(schema=schema))
    assert refused.value.field == field
