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
from conductor.faces.mcp.sessions import Sessions

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


class Post:
    """One POST by hand: what is sent back is kept as it comes, and the client leaves when it is told to."""

    def __init__(self, endpoint: McpEndpoint, message: Any, **headers: str) -> None:
        self.head: Any = None
        self.body = b""
        self.leaves = asyncio.Event()
        self.heard = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self._said = [{"type": "http.request", "body": json.dumps(message).encode(), "more_body": False}]
        given = JSON | headers_for(message) | {name.replace("_", "-"): value for name, value in headers.items()}
        scope = {"type": "http", "method": "POST", "headers": [(a.encode(), b.encode()) for a, b in given.items()]}
        self.done = asyncio.ensure_future(endpoint(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        if self._said:
            return self._said.pop()
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.head is None:
            self.head = message
        else:
            self.body += message["body"]
            self.heard.set()
            await self.reads.wait()

    @property
    def header(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.head["headers"]}

    @property
    def events(self) -> list[Any]:
        lines = [line for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [json.loads(line.removeprefix("data: ")) for line in lines]


def a_call(name: str, request_id: Any = 1, *, stateless: bool = True, **meta: Any) -> dict[str, Any]:
    params = {"name": name, "_meta": (STATELESS if stateless else {}) | meta}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


@pytest.mark.parametrize("stateless", [True, False])
async def test_progress_comes_before_the_answer_where_a_token_asks_for_it(stateless: bool) -> None:
    post = Post(McpEndpoint(Shelf), a_call("count", stateless=stateless, progressToken="t"))
    await post.done

    *notices, answer = post.events
    assert (post.head["status"], post.header["content-type"]) == (200, "text/event-stream")
    assert [notice["method"] for notice in notices] == ["notifications/progress"] * 3
    assert [notice["params"] for notice in notices] == [
        {"progressToken": "t", "progress": number, "message": f"at {number}", "total": 2} for number in range(3)
    ]
    assert (answer["id"], answer["result"]["isError"]) == (1, False)


@pytest.mark.parametrize(
    ("meta", "accept"), [({}, "application/json, text/event-stream"), ({"progressToken": 1}, "application/json")]
)
async def test_an_answer_is_one_document_where_nobody_asks_or_a_stream_is_not_taken(
    meta: dict[str, Any], accept: str
) -> None:
    post = Post(McpEndpoint(Shelf), a_call("count", **meta), accept=accept)
    await post.done

    assert post.header["content-type"] == "application/json"
    assert json.loads(post.body)["id"] == 1


@pytest.mark.parametrize(("level", "told"), [("debug", [0, 1, 2]), ("info", [0, 2]), ("warning", [])])
async def test_log_messages_have_at_least_the_level_of_their_request_or_session(level: str, told: list[int]) -> None:
    endpoint = McpEndpoint(Shelf)
    handshake = Post(endpoint, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "x"}})
    await handshake.done
    session = handshake.header["mcp-session-id"]
    set_level = {"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": level}}
    await Post(endpoint, set_level, mcp_session_id=session).done

    by_session = Post(endpoint, a_call("count", stateless=False), mcp_session_id=session)
    by_request = Post(endpoint, a_call("count", **{"io.modelcontextprotocol/logLevel": level}))
    of_another = Post(endpoint, a_call("count", stateless=False), mcp_session_id="another")
    for post in (by_session, by_request, of_another):
        await post.done

    for post in (by_session, by_request):
        messages = [event["params"]["data"] for event in post.events if event.get("method") == "notifications/message"]
        assert messages == [f"at {number}" for number in told]
    assert json.loads(of_another.body)["id"] == 1


@pytest.mark.parametrize("meta", [{"progressToken": True}, {"progressToken": 1.5}, {"progressToken": []},
                                  {"io.modelcontextprotocol/logLevel": "loud"}])  # fmt: skip
async def test_a_token_or_level_that_is_none_is_refused(meta: dict[str, Any]) -> None:
    post = Post(McpEndpoint(Shelf), a_call("count", **meta))
    await post.done

    assert (post.head["status"], json.loads(post.body)["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("name", ["wait", "begin and wait"])
async def test_a_notification_cancels_a_request_of_its_own_session_only(name: str) -> None:
    shelf = Shelf()
    endpoint = McpEndpoint(lambda: shelf)
    post = Post(endpoint, a_call(name, stateless=False, progressToken=1), mcp_session_id="mine")
    await shelf.waiting.wait()
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}

    for session in ("yours", "mine"):
        assert not shelf.cancelled.is_set()
        notice = Post(endpoint, cancelled, mcp_session_id=session)
        await notice.done
        assert notice.head["status"] == 202
    await post.done

    assert shelf.cancelled.is_set()
    assert [event["method"] for event in post.events] == (["notifications/progress"] if name != "wait" else [])


async def test_a_subscription_needs_a_stream() -> None:
    params = {"notifications": {}, "_meta": STATELESS}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    post = Post(McpEndpoint(Shelf), message, accept="application/json")
    await post.done

    assert (post.head["status"], json.loads(post.body)["error"]["code"]) == (400, -32600)


async def test_a_silence_is_broken_so_that_nobody_gives_up() -> None:
    shelf = Shelf()
    post = Post(McpEndpoint(lambda: shelf, quiet_s=0.001), a_call("wait"))
    await post.heard.wait()
    post.leaves.set()
    await post.done

    assert post.header["content-type"] == "text/event-stream"
    assert post.body.startswith(b": ")
    assert shelf.cancelled.is_set()


async def test_a_client_that_leaves_amid_notices_ends_the_work() -> None:
    shelf = Shelf()
    post = Post(McpEndpoint(lambda: shelf), a_call("begin and wait", progressToken="t"))
    await post.heard.wait()
    post.leaves.set()
    await post.done

    assert shelf.cancelled.is_set()


async def test_a_client_that_does_not_read_its_stream_is_given_up_and_its_work_ends() -> None:
    shelf = Shelf()
    post = Post(McpEndpoint(lambda: shelf, stalled_s=0.001), a_call("begin and wait", progressToken="t"))
    post.reads.clear()
    await post.done

    assert shelf.cancelled.is_set()


async def test_a_tool_is_never_held_up_by_a_client_that_reads_slowly() -> None:
    shelf = Shelf()
    endpoint = McpEndpoint(lambda: shelf)
    post = Post(endpoint, a_call("chatter", progressToken="t"))
    post.reads.clear()
    await shelf.waiting.wait()
    post.reads.set()
    await post.done

    *notices, answer = post.events
    progress = [notice["params"]["progress"] for notice in notices]
    assert (progress[-1], answer["result"]["isError"]) == (9_999, False)
    assert len(progress) < 200
    assert progress == sorted(progress)


async def test_sessions_that_are_begun_and_left_take_no_more_than_their_bound() -> None:
    sessions = Sessions()
    for _ in range(3000):
        name = Sessions.new_name()
        sessions.set_level(name, "debug")
        work = asyncio.ensure_future(asyncio.sleep(0))
        sessions.follow(name, 1, work)
        await work
        sessions.cancel(name, 1)
    await asyncio.sleep(0)

    assert sessions.level(name) == "debug"
    assert len(sessions) == 1024


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
        await McpEndpoint(lambda: shelf)({"type": "http", "method": "POST", "headers": raw}, receive, send)
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
