"""The gateway's path from client to upstream and back, over real sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from tests.endpoints.server import (
    COMPLETION,
    DONE,
    LAST,
    Upstream,
    answers,
    chunk,
    endless,
    in_turn,
    says,
    streams,
)

from conductor.adapters.clock import SystemClock
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError
from conductor.adapters.endpoints.relay import Relay, Target, read_asked, usage_in, with_model
from conductor.adapters.endpoints.wire import Server
from conductor.app.serving.gateway import Gateway, Place
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Usage
from conductor.faces.http.one_write import OneWrite
from conductor.faces.http.relay_routes import Relaying
from conductor.serving.traffic.accounting import Accounting
from conductor.serving.traffic.limits import Allowance, Limits

CHAT = "/v1/chat/completions"
EXAMPLES = Path(__file__).parents[3] / "shared" / "vectors" / "openai-compat" / "openai-examples.json"
BODY = b'{"messages":[{"role":"user","content":"hi"}],  "model":"m", "temperature":0.10}'


class Ours:
    """A gateway that listens."""

    def __init__(self, gateway: Gateway, url: str) -> None:
        self.gateway, self.url = gateway, url

    def account(self) -> Any:
        return self.gateway.stats()["total"]


@contextlib.asynccontextmanager
async def serving(
    client: EndpointClient,
    upstreams: Sequence[Upstream],
    *,
    name: str = "m",
    allowance: Allowance | None = None,
    most_stall_s: float = 30.0,
) -> AsyncIterator[Ours]:
    places = [Place(target=Target(origin=one.origin, base=one.base, model=name)) for one in upstreams]
    gateway = Gateway(
        Relay(client),
        models={"m": places},
        limits=Limits(allowance or Allowance()),
        accounting=Accounting(),
        clock=SystemClock(),
    )
    app = Relaying(gateway, otherwise=elsewhere, most_stall_s=most_stall_s)
    config = uvicorn.Config(app, port=0, http=OneWrite, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Ours(gateway, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = server.force_exit = True
        await running


async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
    """What answers for models that no upstream serves: says what it was sent."""
    message = await receive()
    await JSONResponse({"sent": message["body"].decode()})(scope, receive, send)


async def ask(ours: Ours, body: bytes = BODY) -> tuple[int, dict[str, str], bytes]:
    async with aiohttp.ClientSession() as session, session.post(f"{ours.url}{CHAT}", data=body) as response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()


@pytest.mark.anyio
async def test_bytes_go_through_unchanged_in_both_directions(client: EndpointClient, upstream: Upstream) -> None:
    answer = json.dumps(COMPLETION, indent=3).encode() + b"  \n"
    upstream.handlers[CHAT] = says(answer, "application/json", headers={"X-Request-Id": "r1", "Set-Cookie": "a=b"})

    async with serving(client, [upstream]) as ours:
        status, headers, body = await ask(ours)

        assert (status, body, headers["x-request-id"]) == (200, answer, "r1")
        assert "set-cookie" not in headers
        assert upstream.asked[0][3] == BODY
        assert upstream.asked[0][2]["Authorization"] == "Bearer sk-secret-key"
        account = ours.account()
        assert (account["requests"], account["prompt_tokens"], account["completion_tokens"]) == (1, 7, 3)


@pytest.mark.anyio
async def test_what_is_of_one_connection_only_is_not_passed_on(client: EndpointClient, upstream: Upstream) -> None:
    headers = {
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "Server": "theirs",
        "Traceparent": "00-0",
        "X-Kept": "2",
    }
    upstream.handlers[CHAT] = answers(COMPLETION, headers=headers)

    async with serving(client, [upstream]) as ours:
        _, answered, _ = await ask(ours)

    assert answered["x-kept"] == "2"
    assert answered.keys().isdisjoint({"x-hop", "traceparent"})
    assert answered["server"] != "theirs"
    asked = {name.lower() for name in upstream.asked[0][2]}
    assert asked == {
        "host", "user-agent", "accept", "accept-encoding", "content-type", "content-length", "authorization"
    }  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["sk\r\nX-Smuggled: 1", "sk\x00", "schlüssel"])
async def test_a_key_that_no_header_can_hold_is_not_sent(upstream: Upstream, key: str) -> None:
    client = EndpointClient(keys=lambda _origin: key)

    async with serving(client, [upstream]) as ours:
        status, _, body = await ask(ours)

    assert (status, upstream.asked) == (503, [])
    assert "the key of" in json.loads(body)["error"]["message"]
    assert key not in body.decode()


@pytest.mark.parametrize(
    ("base", "line", "host", "server"),
    [
        ("http://[::1]:8001/v1", "/v1/x", "[::1]:8001", Server("::1", 8001, is_encrypted=False)),
        ("https://api.example.com/v1", "/v1/x", "api.example.com", Server("api.example.com", 443, is_encrypted=True)),
        ("http://h:80/a b/ü", "/a%20b/%C3%BC/x", "h", Server("h", 80, is_encrypted=False)),
    ],
)
def test_the_way_to_an_address_is_written_as_http_wants_it(base: str, line: str, host: str, server: Server) -> None:
    way = Target(origin=base, base=base, model="m").way("/x")

    assert way.server == server
    assert way.head.startswith(f"POST {line} HTTP/1.1\r\nHost: {host}\r\n".encode())


@pytest.mark.parametrize("base", ["http://", "http://h:99999/v1", "nowhere"])
def test_an_address_that_is_none_is_told(base: str) -> None:
    with pytest.raises(EndpointError, match="check the address"):
        Target(origin=base, base=base, model="m").way("/x")


@pytest.mark.anyio
async def test_only_the_models_name_is_exchanged(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = answers(COMPLETION)

    async with serving(client, [upstream], name="org/other") as ours:
        await ask(ours)

    assert upstream.asked[0][3] == BODY.replace(b'"m"', b'"org/other"')


@pytest.mark.anyio
async def test_a_stream_goes_through_and_its_usage_is_booked(client: EndpointClient, upstream: Upstream) -> None:
    events = (chunk("a"), chunk("b"), chunk(finish="stop"), LAST, DONE)
    upstream.handlers[CHAT] = streams(*events)

    async with serving(client, [upstream]) as ours:
        status, headers, body = await ask(ours)

        assert (status, headers["content-type"], body) == (200, "text/event-stream", b"".join(events))
        assert ours.account()["completion_tokens"] == 3


@pytest.mark.anyio
async def test_a_chunk_is_passed_on_before_the_next_one_comes(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = streams(chunk("a"), ending="hang")

    async with (
        serving(client, [upstream]) as ours,
        aiohttp.ClientSession() as session,
        session.post(f"{ours.url}{CHAT}", data=BODY) as response,
    ):
        assert await response.content.readany() == chunk("a")


@pytest.mark.anyio
async def test_a_client_that_leaves_ends_the_work_upstream(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = endless(upstream, chunk("a"))

    async with serving(client, [upstream]) as ours:
        async with aiohttp.ClientSession() as session, session.post(f"{ours.url}{CHAT}", data=BODY) as response:
            await response.content.readany()
            response.close()
        async with asyncio.timeout(10):
            await upstream.gone.wait()
            while not ours.account()["requests"]:
                await asyncio.sleep(0.01)

        assert (ours.account()["abandoned"], ours.account()["errors"]) == (1, 0)


@pytest.mark.anyio
async def test_a_client_that_stops_reading_ends_the_work_upstream(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = endless(upstream, b": " + b"x" * 1_000_000 + b"\n\n")

    async with serving(client, [upstream], most_stall_s=0.2) as ours:
        _reader, writer = await asyncio.open_connection("127.0.0.1", int(ours.url.rpartition(":")[2]), limit=1024)
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
        writer.write(head + BODY)
        async with asyncio.timeout(20):
            await upstream.gone.wait()
        writer.close()


@pytest.mark.anyio
async def test_half_a_stream_ends_with_an_event_that_says_so(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = streams(chunk("a"), ending="cut")

    async with serving(client, [upstream]) as ours:
        status, _, body = await ask(ours)
        first, second, rest = body.split(b"\n\n")

        assert (status, first + b"\n\n", rest) == (200, chunk("a"), b"")
        assert set(json.loads(second.removeprefix(b"data: "))["error"]) == {"message", "type", "param", "code"}
        assert ours.account()["errors"] == 1


@pytest.mark.anyio
async def test_half_a_document_breaks_the_connection(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = streams(b'{"half":', content_type="application/json", ending="cut")

    async with serving(client, [upstream]) as ours:
        with pytest.raises(aiohttp.ClientError):
            await ask(ours)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("handler", "status", "word"),
    [
        (answers({"error": {"message": "boom"}}, 500), 503, "boom"),
        (says(b"<html>", "text/html"), 503, "no completion"),
        (says(b"", status=307, headers={"Location": "http://127.0.0.1:1/steal"}), 503, "points elsewhere"),
        (answers({"error": {"message": "bad key sk-secret-key"}}, 401), 503, "set the key"),
        (answers({"error": {"message": "slow"}}, 429, {"Retry-After": "7"}), 429, "slow"),
        (streams(content_type="text/event-stream", ending="cut"), 200, "broke off"),
    ],
)
async def test_what_upstreams_do_wrong_is_told_in_the_protocols_form(
    client: EndpointClient, upstream: Upstream, handler: Any, status: int, word: str
) -> None:
    upstream.handlers[CHAT] = handler

    async with serving(client, [upstream]) as ours:
        answered, headers, body = await ask(ours)

        assert answered == status
        error = json.loads(body.removeprefix(b"data: "))["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert word in error["message"]
        assert b"sk-secret-key" not in body
        assert ours.account()["errors"] == 1
        if status == 429:
            assert headers["retry-after"] == "7"


@pytest.mark.anyio
async def test_what_the_client_did_wrong_is_told_in_the_upstreams_words(
    client: EndpointClient, upstream: Upstream
) -> None:
    upstream.handlers[CHAT] = answers({"error": {"message": "max_tokens is 0"}}, 400)

    async with serving(client, [upstream]) as ours:
        status, _, body = await ask(ours)

    assert (status, json.loads(body)) == (400, {"error": {"message": "max_tokens is 0"}})


@pytest.mark.anyio
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_another_upstream_takes_over_what_one_refuses(
    client: EndpointClient, upstream: Upstream, status: int
) -> None:
    upstream.handlers[CHAT] = answers({"error": {"message": "no"}}, status)

    async with Upstream() as other:
        other.handlers[CHAT] = answers(COMPLETION)
        async with serving(client, [upstream, other]) as ours:
            statuses = [(await ask(ours))[0] for _ in range(4)]

            assert statuses == [200] * 4
            assert len(other.asked) == 4
            assert ours.account()["errors"] == 0


@pytest.mark.anyio
async def test_an_upstream_that_is_gone_is_soon_not_asked_any_more(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = answers({"error": {"message": "boom"}}, 500)

    async with serving(client, [upstream]) as ours:
        statuses = [(await ask(ours))[0] for _ in range(4)]

    assert (statuses, len(upstream.asked)) == ([503, 503, 503, 429], 3)


@pytest.mark.anyio
async def test_a_connection_that_was_closed_while_idle_is_not_the_clients_trouble(
    client: EndpointClient, upstream: Upstream
) -> None:
    async def hang_up(request: Any) -> Any:
        request.transport.close()
        return answers(COMPLETION)

    upstream.handlers[CHAT] = in_turn(answers(COMPLETION), hang_up, answers(COMPLETION))

    async with serving(client, [upstream]) as ours:
        assert [(await ask(ours))[0], (await ask(ours))[0]] == [200, 200]


@pytest.mark.anyio
async def test_limits_hold_and_say_when_to_come_back(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = answers(COMPLETION)

    async with serving(client, [upstream], allowance=Allowance(requests_per_s=0.01, burst=2)) as ours:
        answered = [await ask(ours) for _ in range(3)]

    assert [status for status, _, _ in answered] == [200, 200, 429]
    assert json.loads(answered[2][2])["error"]["code"] == "access.rate"
    assert int(answered[2][1]["retry-after"]) >= 99


@pytest.mark.anyio
async def test_models_that_no_upstream_serves_are_answered_by_the_application(
    client: EndpointClient, upstream: Upstream
) -> None:
    async with serving(client, [upstream]) as ours:
        _, _, body = await ask(ours, b'{"model": "local"}')

    assert json.loads(body) == {"sent": '{"model": "local"}'}


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"model": 1}', b'{"model": "m", "model": "m"}'])
async def test_bodies_that_name_no_model_are_answered_by_the_application(
    client: EndpointClient, upstream: Upstream, body: bytes
) -> None:
    async with serving(client, [upstream]) as ours:
        _, _, answer = await ask(ours, body)

    assert json.loads(answer) == {"sent": body.decode()}
    assert upstream.asked == []


def test_the_specifications_own_answer_tells_its_usage() -> None:
    if not EXAMPLES.exists():
        pytest.skip("the examples of OpenAI's specification are not beside this repository")
    answer = json.loads(EXAMPLES.read_text())["CreateChatCompletionResponse"]
    told = json.loads(answer)["usage"]

    assert usage_in(answer.encode()) == Usage(
        prompt_tokens=told["prompt_tokens"], completion_tokens=told["completion_tokens"]
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(blacklist_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "a", '"model":"x"', "\\"]) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
NAMES = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1)


@given(
    more=st.dictionaries(st.text(max_size=5).filter(lambda name: name != "model"), JSON, max_size=4),
    model=NAMES,
    other=NAMES,
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_exchanging_the_model_changes_nothing_else(
    more: dict[str, Any], model: str, other: str, indent: int | None, ascii_only: bool
) -> None:
    def valid(text: str) -> str:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    document = json.loads(valid(json.dumps({**more, "model": model, "last": more}, ensure_ascii=False)))
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()

    exchanged = with_model(body, read_asked(body), other)

    assert json.loads(exchanged) == document | {"model": other}
    start, end = read_asked(body).value
    assert (exchanged[:start], exchanged[len(exchanged) - len(body) + end :]) == (body[:start], body[end:])


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"cheap","mod\\u0065l":"dear"}',
        b'{"model":"cheap","model":"dear"}',
        b'{"mod\\u0065l":"dear"}',
        b'{"a":{"model":"dear"},"mod\\u0065l":"cheap"}',
        b'{"a":{"model":"dear"},"mod\\u0065l":"dear"}',
    ],
)
def test_a_model_that_two_readers_may_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_asked(body)


@pytest.mark.parametrize(
    ("tail", "usage"),
    [
        (LAST + DONE, Usage(prompt_tokens=7, completion_tokens=3)),
        (json.dumps(COMPLETION, indent=2).encode(), Usage(prompt_tokens=7, completion_tokens=3)),
        (b'x"usage":null}\n\ndata: [DONE]\n\n', None),
        (b'{"content":"\\"usage\\":{\\"prompt_tokens\\":9}"}', None),
        (b"", None),
        (
            b'"usage":{"prompt_tokens":5,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":2}}}',
            Usage(prompt_tokens=5, completion_tokens=0, cached_tokens=2),
        ),
    ],
)
def test_usage_is_read_from_the_end(tail: bytes, usage: Usage | None) -> None:
    assert usage_in(tail) == usage
