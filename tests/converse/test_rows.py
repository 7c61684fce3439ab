"""Rows of a file of utterances: what can be used is used, what cannot is named."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.decisions.converse.rows import Utterance, read_utterances


def test_a_bad_row_costs_no_other() -> None:
    lines = [
        '\ufeff{"id": "a", "text": "hi"}',
        "",
        "no json",
        '{"id": 7, "text": ""}',
        '{"id": "a", "text": "again"}',
        "[]",
    ]

    rows, faults = read_utterances(lines)

    assert rows == [Utterance("a", "hi"), Utterance("7", "")]
    assert [fault.field for fault in faults] == ["line 3", "line 5.id", "line 6"]


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        ({"id": "a"}, "line 1.text", "text is missing; it must be a string"),
        ({"id": "a", "text": 5}, "line 1.text", "text is 5; it must be a string"),
        ({"text": "x"}, "line 1.id", "id is missing"),
        ({"id": True, "text": "x"}, "line 1.id", "id is true"),
        ({"id": "", "text": "x"}, "line 1.id", 'id is ""'),
        ({"id": "\ud800", "text": "x"}, "line 1.id", "half a character"),
    ],
)
def test_a_fault_names_line_field_and_remedy(row: dict[str, Any], field: str, said: str) -> None:
    rows, (fault,) = read_utterances([json.dumps(row)])

    assert rows == []
    assert fault.field == field
    assert said in fault.message


@given(st.lists(st.text(), max_size=5))
def test_any_lines_give_rows_and_faults(lines: list[str]) -> None:
    rows, faults = read_utterances(lines)

    assert len(rows) + len(faults) <= len(lines)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), st.text(), max_size=5))
def test_every_string_is_a_text(said: dict[str, str]) -> None:
    rows, faults = read_utterances(json.dumps({"id": row_id, "text": text}) for row_id, text in said.items())

    assert faults == []
    assert {row.row_id: row.text for row in rows} == said
