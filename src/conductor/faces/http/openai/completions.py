"""`POST /v1/completions`: texts are gone on with, whole or as a stream; with `suffix`, filled in."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson
from fastapi import Request, Response

from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.calls import CallDecision
from conductor.app.serving.serve import Serving
from conductor.domain.generation import Generation, Piece, Usage
from conductor.faces.http.openai.answering import Conversation, cache_use, fingerprint, headers_of, heard, streamed
from conductor.faces.http.openai.chunks import DONE, ChunkWriter, finish_reason, text_scores, together, usage_view
from conductor.faces.http.openai.requests import CompletionIn
from conductor.faces.http.presence import while_connected


class Completions:
    """Answers completion requests."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def respond(self, body: CompletionIn, request: Request) -> Response:
        """The response; errors as `ConductorError`, `ClientGone`."""
        cache = cache_use(request)
        if body.stream:
            prompts = body.prompts()
            call = await self._call(body, prompts[0], cache)
            return await streamed(request, call, partial(self._chunks, call, body, prompts, cache), cache)
        document, decision = await while_connected(request.receive, self.document(body, cache))
        headers = headers_of(decision) | cache.headers()
        return Response(orjson.dumps(document), media_type="application/json", headers=headers)

    async def document(self, body: CompletionIn, cache: CacheUse | None = None) -> tuple[dict[str, Any], CallDecision]:
        """All answers to all prompts, prompt by prompt."""
        choices: list[dict[str, Any]] = []
        usages: list[Usage] = []
        first: CallDecision | None = None
        for prompt in body.prompts():
            call = await self._call(body, prompt, cache)
            first = first or call.decision
            answers = await heard(call, body.n or 1)
            echoed = prompt if body.echo else ""
            choices += [
                {
                    "index": len(choices) + place,
                    "text": echoed + one.text,
                    "logprobs": text_scores(one.scores, len(echoed)),
                    "finish_reason": finish_reason(one.last.finish, called=False),
                }
                for place, one in enumerate(answers)
            ]
            usages.append(together([one.last.usage for one in answers if one.last.usage is not None]))
        assert first is not None, "there is at least one prompt"
        document = {
            "id": f"cmpl-{first.call_id}",
            "object": "text_completion",
            "created": int(first.decided_at_unix_s),
            "model": first.model,
            "choices": choices,
            "usage": usage_view(_added(usages)),
            "system_fingerprint": fingerprint(self._serving),
        }
        return document, first

    async def _call(self, body: CompletionIn, prompt: str, cache: CacheUse | None) -> Conversation:
        body.check_heeded()
        asked = Generation(prompt=prompt, suffix=body.suffix or "")
        return await self._serving.converse(body.model, asked, said=body.said(), answers=body.n or 1, cache=cache)

    async def _chunks(
        self,
        call: Conversation,
        body: CompletionIn,
        prompts: list[str],
        cache: CacheUse,
        parts: AsyncGenerator[tuple[int, Piece], None],
    ) -> AsyncGenerator[bytes, None]:
        """One prompt after the other; `parts` are the first one's, and so are id and model of all chunks."""
        decision, answers = call.decision, body.n or 1
        write = ChunkWriter(
            call_id=f"cmpl-{decision.call_id}",
            kind="text_completion",
            created=int(decision.decided_at_unix_s),
            model=decision.model,
            fingerprint=fingerprint(self._serving),
            with_usage=body.includes_usage,
        )
        usages: list[Usage] = []
        for place, prompt in enumerate(prompts):
            if place:
                parts = (await self._call(body, prompt, cache)).parts
            told: list[Usage] = []
            async with aclosing(_continued(write, prompt, parts, body, place * answers, told)) as events:
                async for event in events:
                    yield event
            usages.append(together(told))
        if body.includes_usage:
            yield write.usage(usage_view(_added(usages)))
        yield DONE


async def _continued(
    write: ChunkWriter,
    prompt: str,
    parts: AsyncGenerator[tuple[int, Piece], None],
    body: CompletionIn,
    first: int,
    told: list[Usage],
) -> AsyncGenerator[bytes, None]:
    """The chunks of one prompt, whose answers are numbered from `first`; what they took is added to `told`."""
    offsets = [0] * (body.n or 1)
    async with aclosing(parts):
        if body.echo:
            for index in range(len(offsets)):
                yield write.choice(_piece(first + index, prompt))
                offsets[index] = len(prompt)
        async for index, piece in parts:
            if piece.text or piece.scores or piece.finish is not None:
                reason = None if piece.finish is None else finish_reason(piece.finish, called=False)
                yield write.choice(_piece(first + index, piece.text, text_scores(piece.scores, offsets[index]), reason))
                offsets[index] += len(piece.text)
            if piece.usage is not None:
                told.append(piece.usage)


def _piece(index: int, text: str, logprobs: Any = None, reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _added(usages: list[Usage]) -> Usage:
    """Of different prompts: everything counts."""
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
    )
