"""Find out whether a model answered or asked for tools, in the forms in which open models write their wishes.

Known forms: `<tool_call>{…}</tool_call>` (Qwen, Hermes), `[TOOL_CALLS][…]` (Mistral), `<|python_tag|>{…}` and a bare
`{"name", "parameters"}` (Llama 3). Where a tool must be called, the form is enforced by a grammar instead (`tool_form`).
Not covered: calls behind ordinary text, except those in `<tool_call>`; forms that are not JSON.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Generation, Tool, ToolCall
from conductor.domain.json import JsonObject

_TAG, _TAG_END = "<tool_call>", "</tool_call>"
#: Where a schema names properties beside `properties`.
_ELSEWHERE: Final = frozenset({"$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties"})
_MARKS: Final = (_TAG, "[TOOL_CALLS]", "<|python_tag|>", "{", "[{")


def tool_form(asked: Generation) -> JsonObject | None:
    """JSON Schema of the call that must be made; None where the model may choose.

    Raises:
        InvalidInput: a tool is named that is not offered, or one is required where none is.
    """
    if asked.tool_choice in ("auto", "none"):
        return None
    wanted = [tool for tool in asked.tools if asked.tool_choice in ("required", tool.name)]
    if not wanted:
        raise InvalidInput(
            f"tool_choice is {asked.tool_choice!r}, which is none of the tools that are offered: "
            f"{', '.join(tool.name for tool in asked.tools) or 'none'}",
            field="tool_choice",
        )
    forms = [_call_form(tool) for tool in wanted]
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _call_form(tool: Tool) -> JsonObject:
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": _arguments(tool)},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _arguments(tool: Tool) -> JsonObject:
    """The tool's own form, without arguments that it does not name: no function takes them, and small models add them."""
    if _ELSEWHERE.intersection(tool.parameters):
        return tool.parameters
    return {"type": "object", "additionalProperties": False, **tool.parameters}


class ToolSieve:
    """Lets an answer's text through, and keeps what may be a wish for tools until it is clear what it is.

    Args:
        tools: that the model may ask for; with none, everything is text.
        must_call: the whole answer is a call.
        new_id: makes up a call's id.
    """

    def __init__(self, tools: Sequence[Tool], *, must_call: bool, new_id: Callable[[], str]) -> None:
        self._names = {tool.name for tool in tools}
        self._new_id = new_id
        self._kept = ""
        self._keeps = must_call
        self._begun = False

    def add(self, text: str) -> str:
        """What is certainly text."""
        if not self._names:
            return text
        self._kept += text
        if self._keeps:
            return ""
        start = self._kept.find(_TAG)
        if start >= 0:
            self._keeps = True
            told, self._kept = self._kept[:start], self._kept[start:]
            return told
        if not self._begun:
            return self._beginning()
        held = next((size for size in range(len(_TAG) - 1, 0, -1) if self._kept.endswith(_TAG[:size])), 0)
        told, self._kept = self._kept[: len(self._kept) - held], self._kept[len(self._kept) - held :]
        return told

    def _beginning(self) -> str:
        start = self._kept.lstrip()
        if any(start.startswith(mark) for mark in _MARKS):
            self._keeps = True
            return ""
        if any(mark.startswith(start) for mark in _MARKS):
            return ""
        self._begun = True
        told, self._kept = self._kept, ""
        return told

    def rest(self) -> tuple[str, tuple[ToolCall, ...]]:
        """What was kept: text, or the calls that it is."""
        kept, self._kept = self._kept, ""
        calls = self._calls(kept) if self._keeps else ()
        return ("", calls) if calls else (kept, ())

    def _calls(self, text: str) -> tuple[ToolCall, ...]:
        wishes: list[Any] = []
        for part in text.replace(_TAG_END, _TAG).split(_TAG):
            for mark in ("[TOOL_CALLS]", "<|python_tag|>"):
                part = part.strip().removeprefix(mark)
            if not part.strip():
                continue
            try:
                found = json.loads(part)
            except (ValueError, RecursionError):
                return ()
            wishes += found if isinstance(found, list) else [found]
        calls = [self._call(wish) for wish in wishes]
        return tuple(call for call in calls if call is not None) if all(calls) else ()

    def _call(self, wish: Any) -> ToolCall | None:
        if not isinstance(wish, dict) or wish.get("name") not in self._names:
            return None
        arguments = wish.get("arguments", wish.get("parameters", {}))
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return ToolCall(call_id=self._new_id(), name=wish["name"], arguments=written)
