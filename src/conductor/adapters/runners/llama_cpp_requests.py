"""Put a request into the words of llama.cpp's server: its chat completions, and its own completions."""

import json
import secrets
from dataclasses import replace
from typing import Any, Final

from conductor.adapters.runners.tool_calls import ToolSieve, tool_form
from conductor.adapters.runners.writing import Emit
from conductor.domain.errors import ConductorError
from conductor.domain.generation import Finish, Generation, Message, Piece, Sampling, Tool

#: Tokens that a repetition penalty looks back on: all there are.
_LOOK_BACK: Final = 1 << 20


def wishes_of(sampling: Sampling) -> dict[str, Any]:
    """As our own order of choosing has it: penalty, temperature, nucleus, and nothing that was not asked for."""
    penalised = sampling.repetition_penalty != 1.0 or sampling.frequency_penalty or sampling.presence_penalty
    wishes: dict[str, Any] = {
        "temperature": max(0.0, sampling.temperature),
        "top_p": sampling.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "repeat_penalty": sampling.repetition_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "repeat_last_n": _LOOK_BACK if penalised else 0,
        "samplers": ["penalties", "temperature", "top_p"],
        "stop": list(sampling.stop),
    }
    if sampling.temperature <= 0:
        wishes |= {"samplers": ["penalties", "top_k"], "top_k": 1}
    if sampling.seed is not None:
        wishes["seed"] = sampling.seed % (1 << 32)
    return wishes


def score_count(sampling: Sampling) -> int:
    """How many alternatives are told for each token."""
    return 0 if sampling.top_scores is None else max(1, sampling.top_scores)


def scores_of_chat(sampling: Sampling) -> dict[str, Any]:
    """The same wish in the words of chat completions."""
    return {} if sampling.top_scores is None else {"logprobs": True, "top_logprobs": score_count(sampling)}


def conversation(asked: Generation) -> dict[str, Any]:
    """Messages, form and tools.

    A call that must be made is asked for as a form: llama.cpp's own way was seen to enforce nothing before the model has
    begun a call by itself (b11549).

    Raises:
        InvalidInput: a tool is named that is not offered.
    """
    call = tool_form(asked) if asked.tools else None
    form = call or asked.form
    found: dict[str, Any] = {
        "messages": [_turn(message) for message in asked.messages],
        "reasoning_format": "none",  # thoughts stay in the text, as with every other backend
    }
    if form is not None:
        found["response_format"] = {"type": "json_schema", "json_schema": {"schema": form}}
    if call is not None:
        offered = json.dumps([_tool(tool)["function"] for tool in asked.tools], ensure_ascii=False)
        found["messages"][-1]["content"] += f"\n\nAnswer by calling one of these functions: {offered}"
    elif asked.tools and asked.tool_choice != "none":
        found["tools"] = [_tool(tool) for tool in asked.tools]
    return found


def as_call(asked: Generation, emit: Emit) -> Emit:
    """Where a call must be made, keep what is written until it is one."""
    if not asked.tools or asked.tool_choice in ("auto", "none"):
        return emit
    sieve = ToolSieve(asked.tools, must_call=True, new_id=lambda: f"call_{secrets.token_hex(12)}")

    def kept(said: Piece | ConductorError) -> None:
        if isinstance(said, ConductorError):
            emit(said)
            return
        sieve.add(said.text)
        if said.finish is not None:
            text, calls = sieve.rest()
            emit(replace(said, text=text, tool_calls=calls, finish=Finish.TOOL_CALLS if calls else said.finish))

    return kept


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _turn(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role.value, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = [
            {"type": "function", "id": call.call_id, "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        found["tool_call_id"] = message.tool_call_id
    return found
