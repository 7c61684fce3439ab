"""A generation as a request of the OpenAI API (2.3.0): a conversation for `/chat/completions`, text for `/completions`.

What the API has no word for is sent under the name that vLLM, llama.cpp and LM Studio share (`repetition_penalty`), and only
where it is asked for. Languages by code cannot be told at all, and are refused.
"""

from typing import Any, Final

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Generation, Message, Picture, Tool

_CHOICES: Final = frozenset({"auto", "none", "required"})


def request_of(asked: Generation, model: str) -> tuple[str, dict[str, Any]]:
    """Path below the base, and the document.

    Raises:
        InvalidInput: it asks for what an endpoint cannot be told.
    """
    if asked.languages is not None:
        raise InvalidInput("an endpoint cannot be told languages by code; name them in the prompt", field="languages")
    document: dict[str, Any] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    document |= _sampling(asked)
    if asked.form is not None:
        schema = {"name": "form", "strict": True, "schema": asked.form}
        document["response_format"] = {"type": "json_schema", "json_schema": schema}
    if not asked.messages:
        document["prompt"] = asked.prompt
        if asked.suffix:
            document["suffix"] = asked.suffix
        if asked.sampling.top_scores is not None:
            document["logprobs"] = asked.sampling.top_scores
        return "/completions", document
    document["messages"] = [message_of(message) for message in asked.messages]
    if asked.sampling.top_scores is not None:
        document |= {"logprobs": True, "top_logprobs": asked.sampling.top_scores}
    if asked.tools:
        document["tools"] = [tool_of(tool) for tool in asked.tools]
        document["tool_choice"] = (
            asked.tool_choice
            if asked.tool_choice in _CHOICES
            else {"type": "function", "function": {"name": asked.tool_choice}}
        )
    return "/chat/completions", document


def _sampling(asked: Generation) -> dict[str, Any]:
    sampling = asked.sampling
    document: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    if sampling.max_tokens is not None:
        document["max_tokens"] = sampling.max_tokens
    if sampling.repetition_penalty != 1.0:
        document["repetition_penalty"] = sampling.repetition_penalty
    for name in ("frequency_penalty", "presence_penalty"):
        if value := getattr(sampling, name):
            document[name] = value
    if sampling.seed is not None:
        document["seed"] = sampling.seed
    if sampling.stop:
        document["stop"] = list(sampling.stop)
    return document


def message_of(message: Message) -> dict[str, Any]:
    """One turn."""
    content: Any = [_part(part) for part in message.parts] if message.parts else message.content
    document: dict[str, Any] = {"role": message.role.value, "content": content}
    if message.name:
        document["name"] = message.name
    if message.tool_calls:
        document["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        document["tool_call_id"] = message.tool_call_id
    return document


def _part(part: str | Picture) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": part.url} | ({"detail": part.detail} if part.detail else {})}


def tool_of(tool: Tool) -> dict[str, Any]:
    """One tool that may be called."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters or {"type": "object"}}
    return {"type": "function", "function": function}
