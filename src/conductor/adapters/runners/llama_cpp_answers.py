"""Make pieces of what llama.cpp's server streams, in its two forms: chat completions, and its own completions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from conductor.adapters.runners.writing import Emit
from conductor.domain.errors import ModelError
from conductor.domain.generation import Finish, Piece, TokenScore, ToolCall, Usage


@dataclass(slots=True)
class _Calls:
    """Tool calls as they come, in parts."""

    parts: dict[int, dict[str, str]] = field(default_factory=dict)

    def add(self, said: Mapping[str, Any]) -> None:
        part = self.parts.setdefault(int(said.get("index", 0)), {"id": "", "name": "", "arguments": ""})
        part["id"] = str(said.get("id") or part["id"])
        function = said.get("function") or {}
        part["name"] += str(function.get("name") or "")
        part["arguments"] += str(function.get("arguments") or "")

    def made(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(call_id=part["id"] or f"call_{index}", name=part["name"], arguments=part["arguments"])
            for index, part in sorted(self.parts.items())
        )


def answer_of_chat(events: Iterator[Mapping[str, Any]], emit: Emit) -> None:
    """Tell the pieces of a chat completion.

    Raises:
        ModelError: it broke off.
    """
    calls, finish, usage = _Calls(), None, None
    for event in events:
        _check(event)
        usage = _usage_of_chat(event["usage"]) if event.get("usage") else usage
        for choice in event.get("choices", ()):
            delta = choice.get("delta") or {}
            for call in delta.get("tool_calls") or ():
                calls.add(call)
            finish = choice.get("finish_reason") or finish
            scores = _scores((choice.get("logprobs") or {}).get("content") or ())
            text, thought = delta.get("content") or "", delta.get("reasoning_content") or ""
            if text or thought or scores:
                emit(Piece(text=text, reasoning=thought, scores=scores))
    if finish is None:
        raise ModelError("llama.cpp broke off in the middle of an answer; ask again")
    made = calls.made()
    emit(Piece(tool_calls=made, finish=Finish.TOOL_CALLS if made else Finish(finish), usage=usage))


def answer_of_text(events: Iterator[Mapping[str, Any]], emit: Emit) -> None:
    """Tell the pieces of a completion; errors as `answer_of_chat`."""
    for event in events:
        _check(event)
        scores = _scores(event.get("completion_probabilities") or ())
        if event.get("stop"):
            finish = Finish.LENGTH if event.get("stop_type") == "limit" else Finish.STOP
            usage = Usage(
                prompt_tokens=int(event["tokens_evaluated"]),
                completion_tokens=int(event["tokens_predicted"]),
                cached_tokens=int((event.get("timings") or {}).get("cache_n", 0)),
            )
            emit(Piece(text=event.get("content") or "", finish=finish, usage=usage))
            return
        if event.get("content") or scores:
            emit(Piece(text=event.get("content") or "", scores=scores))
    raise ModelError("llama.cpp broke off in the middle of an answer; ask again")


def _check(event: Mapping[str, Any]) -> None:
    if "error" in event:
        told = event["error"].get("message") if isinstance(event["error"], dict) else event["error"]
        raise ModelError(f"llama.cpp failed in the middle of an answer: {str(told)[:300]}")


def _usage_of_chat(usage: Mapping[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=int(usage["prompt_tokens"]),
        completion_tokens=int(usage["completion_tokens"]),
        cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)),
    )


def _scores(told: Any) -> tuple[TokenScore, ...]:
    return tuple(
        TokenScore(
            str(each["token"]),
            float(each["logprob"]),
            tuple((str(other["token"]), float(other["logprob"])) for other in each.get("top_logprobs", ())),
        )
        for each in told
    )
