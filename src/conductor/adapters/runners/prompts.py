"""Put a request into a model's own form, as tokens: its chat template, its marks for filling in, or the text as it is.

What strangers write cannot become control tokens: where a message contains the letters of one (`</s>`), messages are
tokenised apart from the template around them. (Always doing that was tried in thought: joints would be tokenised
differently from how the model was trained.) Templates run in transformers' sandbox.

Not covered: pictures and sound in messages.
"""

import json
import secrets
from collections.abc import Sequence
from typing import Any, Final

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Generation, Message, Role

#: Marks before, between and behind what is filled in: Qwen and StarCoder 2, StarCoder, DeepSeek, Code Llama.
_FILLING_IN: Final = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
)


class Prompts:
    """Prompts of one model.

    Args:
        tokenizer: of transformers, a fast one.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._control = sorted({str(token) for token in tokenizer.get_added_vocab()}, key=len, reverse=True)
        first = tokenizer.bos_token_id
        self._start = [first] if first is not None and list(tokenizer("a").input_ids)[:1] == [first] else []
        known = tokenizer.get_vocab()
        marks = next((marks for marks in _FILLING_IN if all(mark in known for mark in marks)), None)
        self._filling_in = None if marks is None else [known[mark] for mark in marks]

    @property
    def fills_in(self) -> bool:
        """Whether the model knows how to fill in."""
        return self._filling_in is not None

    def tokens(self, asked: Generation) -> list[int]:
        """The request as token ids, at least one.

        Raises:
            InvalidInput: the model cannot be asked like that; the field is named.
        """
        if asked.languages is not None:
            raise InvalidInput("this model is not told languages by codes; take an NLLB model", field="languages")
        if asked.messages:
            found = self._of_messages(asked)
        elif asked.suffix:
            found = self._of_gap(asked)
        else:
            found = self._of_text(asked.prompt)
        if not found:
            raise InvalidInput("the prompt is empty; write something to go on with", field="prompt")
        return found

    def of_embedded(self, text: str) -> list[int]:
        """A text to be embedded."""
        return self._of_text(text) or [self._tokenizer.eos_token_id or 0]

    def _of_text(self, text: str) -> list[int]:
        """As the model wants a text to begin; a stranger's control tokens are letters."""
        return [*self._start, *self._plain(text)]

    def _of_gap(self, asked: Generation) -> list[int]:
        if self._filling_in is None:
            raise InvalidInput("this model cannot fill in; leave the suffix out", field="suffix")
        before, between, behind = self._filling_in
        gap = [before, *self._plain(asked.prompt), between, *self._plain(asked.suffix), behind]
        return [*self._start, *gap]

    def _of_messages(self, asked: Generation) -> list[int]:
        contents = [message.content for message in asked.messages]
        if not any(control in content for control in self._control for content in contents):
            return self._with_control(self._written(asked.messages, asked))
        marks = [secrets.token_hex(16) for _ in contents]
        messages = [
            {**_as_template_has_it(message), "content": mark if message.content else ""}
            for message, mark in zip(asked.messages, marks, strict=True)
        ]
        written = self._rendered(messages, asked)
        found: list[int] = []
        for mark, content in zip(marks, contents, strict=True):
            before, known, behind = written.partition(mark)
            if known:
                found += [*self._with_control(before), *self._plain(content)]
                written = behind
        return [*found, *self._with_control(written)]

    def _written(self, messages: Sequence[Message], asked: Generation) -> str:
        return self._rendered([_as_template_has_it(message) for message in messages], asked)

    def _rendered(self, messages: list[dict[str, Any]], asked: Generation) -> str:
        """The conversation as text, up to where the model's turn begins."""
        if not self._tokenizer.chat_template:
            turns = [f"{message['role'].capitalize()}: {message['content']}\n" for message in messages]
            return f"{self._tokenizer.bos_token or ''}{''.join(turns)}Assistant:"
        tools = [
            {
                "type": "function",
                "function": {"name": each.name, "description": each.description, "parameters": dict(each.parameters)},
            }
            for each in (asked.tools if asked.tool_choice != "none" else ())
        ]
        import jinja2

        try:
            try:
                return self._apply(messages, tools)
            except jinja2.TemplateError:
                return self._apply(_without_system(messages), tools)  # some models know no system turn
        except (jinja2.TemplateError, ValueError, TypeError, KeyError) as refused:
            raise InvalidInput(
                f"this model's chat template refuses the conversation: {str(refused)[:300]}", field="messages"
            ) from refused

    def _apply(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                messages, tools=tools or None, add_generation_prompt=True, tokenize=False
            )
        )

    def _with_control(self, text: str) -> list[int]:
        return self._encoded(text, control=True)

    def _plain(self, text: str) -> list[int]:
        return self._encoded(text, control=False)

    def _encoded(self, text: str, *, control: bool) -> list[int]:
        backend = self._tokenizer.backend_tokenizer
        backend.encode_special_tokens = not control
        return list(backend.encode(text, add_special_tokens=False).ids)


def _as_template_has_it(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role.value, "content": message.content}
    if message.name:
        found["name"] = message.name
    if message.tool_call_id:
        found["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        found["tool_calls"] = [
            {
                "type": "function",
                "id": call.call_id,
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return found


def _arguments(written: str) -> Any:
    try:
        return json.loads(written)
    except ValueError:
        return written


def _without_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """System turns put in front of the first turn of the user."""
    told = "\n\n".join(message["content"] for message in messages if message["role"] == Role.SYSTEM)
    rest = [dict(message) for message in messages if message["role"] != Role.SYSTEM]
    first = next((message for message in rest if message["role"] == Role.USER), None)
    if first is not None and told:
        first["content"] = f"{told}\n\n{first['content']}"
    return rest
