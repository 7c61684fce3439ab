"""The HTTP application by itself: what it refuses before a message is looked at, and a client that goes away."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.mcp.conftest import STATELESS
from tests.mcp.shelf import Shelf

from conductor.faces.mcp.endpoint import McpEndpoint
from conductor.faces.mcp.headers import headers_for

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


async def post(
    body: bytes, headers: Mapping[str, str] = JSON, *, shelf: Shelf | None = None, leaves: bool = False
) -> tuple[int, Any]:
    """Status and document of one POST; with `leaves` the client goes away once its tool waits."""
    shelf, sent, said = shelf or Shelf(), [], [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if said:
            return said.pop()
        await (shelf.waiting if leaves else asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    async with asyncio.timeout(60):
        await McpEndpoint(shelf)({"type": "http", "method": "POST", "headers": raw}, receive, send)
    text = sent[1]["body"]
    return sent[0]["status"], json.loads(text) if text else None


async def test_what_a_client_asked_for_ends_when_it_goes_away() -> None:
    shelf = Shelf()
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "wait", "_meta": STATELESS}}

    await post(json.dumps(message).encode(), JSON | headers_for(message), shelf=shelf, leaves=True)

    assert shelf.cancelled.is_set()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"", JSON, 400),
        (b"\xff", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b"{}", JSON | {"content-type": "text/plain"}, 415),
        (b"{}", {"accept": "application/json"}, 415),
        (b"{}", JSON | {"accept": "text/html"}, 406),
        (b" " * (8 * 1024 * 1024 + 1), JSON, 413),
    ],
)
async def test_what_is_no_message_is_refused_with_a_status_and_an_error_without_id(
    body: bytes, headers: dict[str, str], status: int
) -> None:
    answered, document = await post(body, headers)

    assert answered == status
    assert (document["jsonrpc"], "id" in document) == ("2.0", False)
