"""A bare pass-through on Starlette and aiohttp, without key, limits, routing or books: what these libraries cost.

`python bare_gateway.py PORT UPSTREAM`.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

sessions: list[aiohttp.ClientSession] = []


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Keep one session."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        sessions.append(session)
        yield


async def relay(request: Request) -> Response:
    """Pass one request on."""
    body = await request.body()
    answer = await sessions[0].post(
        f"{sys.argv[2]}/v1/chat/completions", data=body, headers={"Content-Type": "application/json"}
    )
    if answer.content_type == "text/event-stream":
        return StreamingResponse(answer.content.iter_any(), media_type="text/event-stream")
    return Response(await answer.read(), answer.status, media_type=answer.content_type)


if __name__ == "__main__":
    app = Starlette(routes=[Route("/v1/chat/completions", relay, methods=["POST"])], lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
