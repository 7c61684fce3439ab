"""`POST /v1/chat/completions`: a conversation goes on, whole or as a stream of chunks."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson
from fastapi import Request, Response

from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.calls import CallDecision
from conductor.app.serving.serve import Serving
from conductor.domain.generation import Finish, Generation, Piece, Usage
from conductor.faces.http.openai.answering import (
    Conversation,
    Heard,
    cache_use,
    fingerprint,
    headers_of,
    heard,
    streamed,
)
from conductor.faces.http.openai.chunks import (
    DONE,
    ChunkWriter,
    chat_scores,
    finish_reason,
    together,
    tool_call_view,
    usage_view,
)
from conductor.faces.http.openai.requests import ChatIn
from conductor.faces.http.presence import while_connected


class Chat:
    """Answers chat requests."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def respond(self, body: ChatIn, request: Request) -> Response:
        """The response; errors as `ConductorError`, `ClientGone`."""
        cache = cache_use(request)
        if body.stream:
            call = await self._call(body, cache)
            return await streamed(request, call, partial(self._chunks, call, body), cache)
        document, decision = await while_connected(request.receive, self.document(body, cache))
        headers = headers_of(decision) | cache.headers()
        return Response(orjson.dumps(document), media_type="application/json", headers=headers)

    async def document(self, body: ChatIn, cache: CacheUse | None = None) -> tuple[dict[str, Any], CallDecision]:
        """The whole answer, and who gave it."""
        call = await self._call(body, cache)
        answers = await heard(call, body.n or 1)
        usage = together([one.last.usage for one in answers if one.last.usage is not None])
        document = {
            "id": _id(call),
            "object": "chat.completion",
            "created": int(call.decision.decided_at_unix_s),
            "model": call.decision.model,
            "choices": [_choice(index, one, body) for index, one in enumerate(answers)],
            "usage": usage_view(usage),
            "system_fingerprint": fingerprint(self._serving),
        }
        return document, call.decision

    async def _call(self, body: ChatIn, cache: CacheUse | None) -> Conversation:
        body.check_heeded()
        tools, choice = body.offered_tools()
        asked = Generation(messages=body.conversation(), form=body.form(), tools=tools, tool_choice=choice)
        return await self._serving.converse(body.model, asked, said=body.said(), answers=body.n or 1, cache=cache)

    async def _chunks(
        self, call: Conversation, body: ChatIn, parts: AsyncGenerator[tuple[int, Piece], None]
    ) -> AsyncGenerator[bytes, None]:
        """The role first; then text, calls and log probabilities as they come; then why it ended, and the usage."""
        write = ChunkWriter(
            call_id=_id(call),
            kind="chat.completion.chunk",
            created=int(call.decision.decided_at_unix_s),
            model=call.decision.model,
            fingerprint=fingerprint(self._serving),
            with_usage=body.includes_usage,
        )
        answers = [_Streamed() for _ in range(body.n or 1)]
        for index in range(len(answers)):
            yield write.choice(_delta(index, {"role": "assistant", "content": "", "refusal": None}))
        async with aclosing(parts):
            async for index, piece in parts:
                if piece.reasoning:
                    yield write.choice(_delta(index, {"reasoning_content": piece.reasoning}))
                if piece.text and not piece.scores:
                    yield write.delta(index, piece.text)
                elif piece.text or piece.scores:
                    yield write.choice(_delta(index, {"content": piece.text}) | {"logprobs": chat_scores(piece.scores)})
                answer = answers[index]
                for tool_call in piece.tool_calls:
                    if answer.calls == 0 or body.parallel_tool_calls is not False:
                        yield write.choice(_delta(index, {"tool_calls": [tool_call_view(tool_call, answer.calls)]}))
                        answer.calls += 1
                answer.finish, answer.usage = piece.finish or answer.finish, piece.usage or answer.usage
                if piece.finish is not None:
                    yield write.choice(_delta(index, {}, finish_reason(piece.finish, called=answer.calls > 0)))
        if body.includes_usage:
            yield write.usage(usage_view(together([one.usage for one in answers if one.usage is not None])))
        yield DONE


class _Streamed:
    """How far one answer of a stream is."""

    __slots__ = ("calls", "finish", "usage")

    def __init__(self) -> None:
        self.calls = 0
        self.finish: Finish | None = None
        self.usage: Usage | None = None


def _delta(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _choice(index: int, answer: Heard, body: ChatIn) -> dict[str, Any]:
    calls = answer.tool_calls[:1] if body.parallel_tool_calls is False else answer.tool_calls
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if calls:
        message |= {"content": answer.text or None, "tool_calls": [tool_call_view(call) for call in calls]}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    return {
        "index": index,
        "message": message,
        "logprobs": chat_scores(answer.scores),
        "finish_reason": finish_reason(answer.last.finish, called=bool(calls)),
    }


def _id(call: Conversation) -> str:
    return f"chatcmpl-{call.decision.call_id}"
