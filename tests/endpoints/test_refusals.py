"""What endpoints say when they refuse or fail: heard to its end, told without our key, and never trusted in its form."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web
from tests.endpoints.server import DONE, LAST, Upstream, answers, event, streams

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError
from conductor.adapters.endpoints.ollama import OllamaRunner
from conductor.adapters.endpoints.openai_runner import OpenAIRunner
from conductor.adapters.endpoints.stream_lines import events
from conductor.domain.errors import ConductorError, InvalidInput, Overloaded
from conductor.domain.generation import Finish, Generation, Message, Piece, Role, Sampling
from conductor.serving.ports import Runner, RunnerFacts

pytestmark = pytest.mark.anyio

CHAT, OLLAMA_CHAT, COMPLETIONS = "/v1/chat/completions", "/api/chat", "/v1/completions"
FACTS = RunnerFacts(
    backend="endpoint", device="", precision=None, context_tokens=8, memory_bytes=0, constrains=True, embeds=True,
    fills_in=True,
)  # fmt: skip
ASKED = Generation(messages=(Message(role=Role.USER, content="hi"),))
KEY = "sk-secret-key"

Kind = Callable[[EndpointClient, Upstream], Runner]


def openai(client: EndpointClient, upstream: Upstream) -> Runner:
    return OpenAIRunner(client, origin=upstream.origin, base=upstream.base, model="m", facts=FACTS)


def ollama(client: EndpointClient, upstream: Upstream) -> Runner:
    return OllamaRunner(client, origin=upstream.origin, model="m", facts=FACTS)


BOTH = pytest.mark.parametrize(("kind", "path"), [(openai, CHAT), (ollama, OLLAMA_CHAT)])


async def pieces(runner: Runner, asked: Generation = ASKED) -> list[Piece]:
    written: AsyncGenerator[Piece, None] = runner.generate(asked)
    async with aclosing(written):
        return [piece async for piece in written]


async def failure(runner: Runner) -> ConductorError:
    with pytest.raises(ConductorError) as raised:
        await pieces(runner)
    return raised.value


def in_two_parts(first: bytes, second: bytes, status: int) -> Any:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(first)
        await asyncio.sleep(0.05)
        await response.write(second)
        return response

    return handle


@BOTH
async def test_a_refusal_that_comes_in_two_parts_is_heard_to_its_end(
    client: EndpointClient, upstream: Upstream, kind: Kind, path: str
) -> None:
    upstream.handlers[path] = in_two_parts(b'{"error": {"mess', b'age": "context too long"}}', 400)

    error = await failure(kind(client, upstream))

    assert isinstance(error, InvalidInput)
    assert error.message.endswith("refuses this: context too long")


@BOTH
@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "60"}), (503, {"Retry-After": "60"}), (500, {})])
async def test_a_key_that_a_busy_endpoint_repeats_is_not_shown(
    client: EndpointClient, upstream: Upstream, kind: Kind, path: str, status: int, headers: dict[str, str]
) -> None:
    upstream.handlers[path] = answers({"error": f"{KEY} asks too much"}, status, headers)

    assert KEY not in (await failure(kind(client, upstream))).message


@BOTH
async def test_a_key_that_is_repeated_inside_a_stream_is_not_shown(
    client: EndpointClient, upstream: Upstream, kind: Kind, path: str
) -> None:
    told = {"error": f"{KEY} is out of credit"}
    body = event(told) if kind is openai else event(told).removeprefix(b"data: ")
    upstream.handlers[path] = streams(body)

    error = await failure(kind(client, upstream))

    assert KEY not in error.message
    assert "is out of credit" in error.message


async def test_a_busy_endpoint_says_so_of_embeddings_too(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers["/v1/embeddings"] = answers({"error": "later"}, 429, {"Retry-After": "60"})

    with pytest.raises(Overloaded) as raised:
        await openai(client, upstream).embed(["a"])

    assert raised.value.retry_after_s == 60


async def test_an_embedding_of_numbers_beyond_measure_is_none(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers["/v1/embeddings"] = answers({"data": [{"index": 0, "embedding": [10**400]}]})

    with pytest.raises(EndpointError):
        await openai(client, upstream).embed(["a"])


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [{"token": 5, "logprob": -1.0}]},
        {"content": [{"token": "x", "logprob": 10**400}]},
        {"tokens": ["x"], "token_logprobs": [-1.0], "top_logprobs": [["x"]]},
        {"content": [5]},
    ],
)
async def test_scores_and_endings_of_no_known_form_do_not_cost_the_answer(
    client: EndpointClient, upstream: Upstream, logprobs: Any
) -> None:
    odd = {"index": 0, "delta": {"content": "x"}, "logprobs": logprobs, "finish_reason": None}
    ending = {"index": 0, "delta": {}, "finish_reason": ["stop"]}
    upstream.handlers[CHAT] = streams(event({"choices": [odd]}), event({"choices": [ending]}), LAST, DONE)

    written = await pieces(openai(client, upstream))

    assert "".join(piece.text for piece in written) == "x"
    assert all(piece.scores == () for piece in written)
    assert written[-1].finish is Finish.STOP


async def test_scores_without_alternatives_are_scores(client: EndpointClient, upstream: Upstream) -> None:
    told = {"tokens": ["a", "b"], "token_logprobs": [-0.5, -1], "top_logprobs": None, "text_offset": [0, 1]}
    choice = {"index": 0, "text": "ab", "logprobs": told, "finish_reason": "stop"}
    upstream.handlers[COMPLETIONS] = streams(event({"choices": [choice]}), DONE)

    written = await pieces(openai(client, upstream), Generation(prompt="x", sampling=Sampling(top_scores=0)))

    assert [(score.token, score.logprob, score.top) for score in written[0].scores] == [
        ("a", -0.5, ()),
        ("b", -1.0, ()),
    ]


async def test_an_event_that_never_ends_is_not_collected() -> None:
    taken = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 1_000:
            taken += 1
            yield b"data: more\n"

    with pytest.raises(EndpointError, match="an event of more than"):
        await anext(events(chunks(), "test", most_bytes=1_000))
    assert taken < 200
