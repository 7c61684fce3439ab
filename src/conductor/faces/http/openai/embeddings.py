"""`POST /v1/embeddings`: texts as unit vectors, as numbers or as little-endian float32 in base64."""

import base64
import sys
from array import array
from typing import Any

import orjson
from fastapi import Request, Response

from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.calls import CallDecision
from conductor.app.serving.serve import Serving
from conductor.faces.http.openai.answering import cache_use, headers_of
from conductor.faces.http.openai.errors import Refused
from conductor.faces.http.openai.requests import EmbeddingsIn
from conductor.faces.http.presence import while_connected


class Embeddings:
    """Answers embedding requests."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def respond(self, body: EmbeddingsIn, request: Request) -> Response:
        """The response; errors as `ConductorError`, `ClientGone`."""
        cache = cache_use(request)
        document, decision = await while_connected(request.receive, self.document(body, cache))
        headers = headers_of(decision) | cache.headers()
        return Response(orjson.dumps(document), media_type="application/json", headers=headers)

    async def document(self, body: EmbeddingsIn, cache: CacheUse | None = None) -> tuple[dict[str, Any], CallDecision]:
        """The vectors in the order of their texts, and who made them."""
        decision, vectors, usage = await self._serving.embed(body.model, body.texts(), cache=cache)
        width = len(vectors[0])
        if body.dimensions not in (None, width):
            raise Refused(
                f"{decision.title} makes vectors of {width} numbers, and they cannot be shortened; leave dimensions out",
                param="dimensions",
            )
        as_base64 = body.encoding_format == "base64"
        document = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _base64(vector) if as_base64 else vector}
                for index, vector in enumerate(vectors)
            ],
            "model": decision.model,
            "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens},
        }
        return document, decision


def _base64(vector: list[float]) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode("ascii")
