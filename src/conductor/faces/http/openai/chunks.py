"""Write the documents of completions: whole answers, and the chunks of streams.

Of a stream's chunks everything but the text is the same, so it is written once for each stream; a piece of text costs one
JSON string and a few copies of bytes.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from conductor.domain.generation import Finish, TokenScore, ToolCall, Usage

DONE: Final = b"data: [DONE]\n\n"
_LEAST: Final = -9999.0  # JSON knows no minus infinity; the protocol's own stand-in


class ChunkWriter:
    """The chunks of one stream.

    Args:
        kind: `chat.completion.chunk` or `text_completion`.
        with_usage: chunks have `usage`, null until the last.
    """

    def __init__(
        self, *, call_id: str, kind: str, created: int, model: str, fingerprint: str, with_usage: bool
    ) -> None:
        same = {"id": call_id, "object": kind, "created": created, "model": model, "system_fingerprint": fingerprint}
        self._head = b"data: " + orjson.dumps(same)[:-1] + b',"choices":['
        self._tail = b'],"usage":null}\n\n' if with_usage else b"]}\n\n"
        self._starts: dict[int, bytes] = {}

    def delta(self, index: int, text: str) -> bytes:
        """A piece of text of a chat; the hot path."""
        start = self._starts.get(index)
        if start is None:
            start = self._starts[index] = self._head + b'{"index":%d,"delta":{"content":' % index
        return start + orjson.dumps(text) + b'},"logprobs":null,"finish_reason":null}' + self._tail

    def choice(self, choice: dict[str, Any]) -> bytes:
        """A chunk with one choice of any kind."""
        return self._head + orjson.dumps(choice) + self._tail

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The last chunk: no choice, and the usage."""
        return self._head + b'],"usage":' + orjson.dumps(usage) + b"}\n\n"


def error_event(document: dict[str, Any]) -> bytes:
    """An error within a stream; nothing follows it."""
    return b"data: " + orjson.dumps(document) + b"\n\n"


def usage_view(usage: Usage) -> dict[str, Any]:
    """Tokens, as the protocol counts them."""
    thought = {"completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens}}
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    } | (thought if usage.reasoning_tokens else {})


def together(usages: Sequence[Usage]) -> Usage:
    """Of several answers to one prompt: the prompt counts once."""
    return Usage(
        prompt_tokens=max((usage.prompt_tokens for usage in usages), default=0),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        cached_tokens=max((usage.cached_tokens for usage in usages), default=0),
        reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
    )


def finish_reason(finish: Finish | None, *, called: bool) -> str:
    """Why an answer ended; one that asks for a tool ends with that, whatever the backend says."""
    return Finish.TOOL_CALLS.value if called and finish is not Finish.LENGTH else (finish or Finish.STOP).value


def tool_call_view(call: ToolCall, index: int | None = None) -> dict[str, Any]:
    """A wish to have a tool called; `index` in deltas only."""
    view: dict[str, Any] = {} if index is None else {"index": index}
    return view | {
        "id": call.call_id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def chat_scores(scores: Sequence[TokenScore]) -> dict[str, Any] | None:
    """`logprobs` of a chat's choice; None where the model told none."""
    if not scores:
        return None
    return {
        "content": [
            _scored(score.token, score.logprob) | {"top_logprobs": [_scored(*one) for one in score.top]}
            for score in scores
        ],
        "refusal": None,
    }


def text_scores(scores: Sequence[TokenScore], offset: int) -> dict[str, Any] | None:
    """`logprobs` of a completion's choice; `offset` is where its text begins."""
    if not scores:
        return None
    offsets = []
    for score in scores:
        offsets.append(offset)
        offset += len(score.token)
    return {
        "tokens": [score.token for score in scores],
        "token_logprobs": [max(score.logprob, _LEAST) for score in scores],
        "top_logprobs": [{token: max(logprob, _LEAST) for token, logprob in score.top} for score in scores],
        "text_offset": offsets,
    }


def _scored(token: str, logprob: float) -> dict[str, Any]:
    # Of a token that is part of a character its bytes are not known here; the protocol has null for that.
    return {
        "token": token,
        "logprob": max(logprob, _LEAST),
        "bytes": None if "\ufffd" in token else list(token.encode()),
    }
