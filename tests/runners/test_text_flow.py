"""Tokens become text in whole characters, and stop texts and wishes for tools never show."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.adapters.runners.text_flow import StopTexts, TextFlow
from conductor.adapters.runners.tool_calls import ToolSieve, tool_form
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Generation, Tool, ToolCall
from conductor.domain.json import JsonObject

TOOLS = (Tool(name="look_up"), Tool(name="add"))


def bytes_as_text(tokens: Sequence[int]) -> str:
    return bytes(tokens).decode("utf-8", "replace")


@given(st.text())
def test_a_text_in_single_bytes_comes_out_whole_and_in_whole_characters(text: str) -> None:
    flow = TextFlow(bytes_as_text)
    shown = [flow.add(byte) for byte in text.encode()]

    assert "".join(shown) + flow.rest() == text.rstrip("�")
    if "�" not in text:
        assert not any("�" in part for part in shown)


@given(st.lists(st.sampled_from([b"\xe2\x82\xac", b"a", b"\xff", b"\xe2", b"\x82", "ß".encode()]), max_size=30))
def test_characters_among_bytes_that_are_no_text_are_not_lost(parts: list[bytes]) -> None:
    whole, flow = b"".join(parts), TextFlow(bytes_as_text)
    shown = "".join(flow.add(byte) for byte in whole) + flow.rest()

    assert shown.replace("�", "") == bytes_as_text(whole).replace("�", "")


@given(st.binary(max_size=200))
def test_bytes_that_are_no_text_are_not_held_for_ever(junk: bytes) -> None:
    flow, waiting = TextFlow(bytes_as_text), 0
    for byte in junk:
        waiting = 0 if flow.add(byte) else waiting + 1
        assert waiting < 8


@given(st.lists(st.text("abc", max_size=4), max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=4))
def test_what_is_shown_ends_before_the_first_stop_text_however_it_is_cut(parts: list[str], stop: list[str]) -> None:
    guard, shown, ended = StopTexts(stop), "", False
    for part in parts:
        told, ended = guard.add(part)
        shown += told
        if ended:
            break
    shown += "" if ended else guard.rest()
    whole = "".join(parts)
    ends = [
        (at + len(each), at) for each in stop for at in range(len(whole)) if whole.startswith(each, at)
    ]  # where each is complete, and where it began

    if not ends:
        assert shown == whole
    else:
        assert ended
        assert not any(each in shown for each in stop)
        assert whole.startswith(shown)
        assert len(shown) in {at for _, at in ends}


def sieved(parts: Sequence[str], *, must_call: bool = False) -> tuple[str, tuple[ToolCall, ...]]:
    sieve = ToolSieve(TOOLS, must_call=must_call, new_id=lambda: "c")
    shown = "".join(sieve.add(part) for part in parts)
    rest, calls = sieve.rest()
    return shown + rest, calls


CALL = ToolCall(call_id="c", name="add", arguments='{"a": 1}')


@pytest.mark.parametrize(
    ("text", "shown", "calls"),
    [
        ('<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>', "", (CALL,)),
        ('Well. <tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>', "Well. ", (CALL,)),
        ('[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}]', "", (CALL,)),
        ('{"name": "add", "parameters": {"a": 1}}', "", (CALL,)),
        ('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>' * 2, "", (CALL, CALL)),
        ('{"name": "unknown", "parameters": {}}', '{"name": "unknown", "parameters": {}}', ()),
        ('{"a": 1}', '{"a": 1}', ()),
        ("<tool_call>half a wish", "<tool_call>half a wish", ()),
        ("1 < 2 <tool", "1 < 2 <tool", ()),
        ("plain", "plain", ()),
    ],
)
def test_wishes_for_tools_are_told_apart_from_text(text: str, shown: str, calls: tuple[ToolCall, ...]) -> None:
    assert sieved([text]) == (shown, calls)
    assert sieved(list(text)) == (shown, calls)


def test_a_tool_that_must_be_called_has_a_form() -> None:
    asked = Generation(prompt="a", tools=TOOLS, tool_choice="add")
    form = tool_form(asked)

    assert form is not None
    assert form["properties"]["name"] == {"const": "add"}  # type: ignore[index,call-overload]
    assert tool_form(Generation(prompt="a", tools=TOOLS)) is None
    with pytest.raises(InvalidInput, match="look_up, add"):
        tool_form(Generation(prompt="a", tools=TOOLS, tool_choice="subtract"))


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        ({}, {"type": "object", "additionalProperties": False}),
        (
            {"type": "object", "properties": {"town": {"type": "string"}}},
            {"type": "object", "properties": {"town": {"type": "string"}}, "additionalProperties": False},
        ),
        ({"type": "object", "additionalProperties": True}, {"type": "object", "additionalProperties": True}),
        ({"anyOf": [{"type": "object"}]}, {"anyOf": [{"type": "object"}]}),
    ],
)
def test_a_tool_gets_no_arguments_that_it_does_not_name(parameters: JsonObject, arguments: JsonObject) -> None:
    form = tool_form(Generation(prompt="a", tools=(Tool(name="add", parameters=parameters),), tool_choice="required"))

    assert form is not None
    assert form["properties"]["arguments"] == arguments  # type: ignore[index,call-overload]
