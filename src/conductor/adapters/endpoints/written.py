"""Put together what an endpoint streams in parts: characters that were cut in two, tool calls that come in pieces."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conductor.domain.generation import ToolCall


class WholeCharacters:
    """Text of which no half characters are given on.

    Some servers escape a character beyond U+FFFF as two surrogates and send them in two events. The first half is held
    back; halves that stay alone become U+FFFD.
    """

    def __init__(self) -> None:
        self._held = ""

    def add(self, text: str) -> str:
        """What is whole by now."""
        text = self._held + text
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return _joined(text)

    def rest(self) -> str:
        """What is left at the end."""
        text, self._held = self._held, ""
        return _joined(text)


def _joined(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@dataclass(slots=True)
class _Call:
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class CallsInPieces:
    """Tool calls whose names and arguments come in pieces, told apart by their index."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}

    def add(self, deltas: object) -> None:
        """One event's `tool_calls`; what has not their form is left out."""
        for position, delta in enumerate(deltas if isinstance(deltas, list) else ()):
            if not isinstance(delta, Mapping):
                continue
            index = delta.get("index")
            call = self._calls.setdefault(index if isinstance(index, int) else position, _Call())
            function: Any = delta.get("function")
            function = function if isinstance(function, Mapping) else {}
            call.call_id = call.call_id or _text(delta.get("id"))
            call.name = call.name or _text(function.get("name"))
            call.arguments += _text(function.get("arguments"))

    def whole(self) -> Iterator[ToolCall]:
        """All calls, in order; one that has no id gets one."""
        for index, call in sorted(self._calls.items()):
            if call.name:
                yield ToolCall(
                    call_id=call.call_id or f"call_{index}", name=call.name, arguments=call.arguments or "{}"
                )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
