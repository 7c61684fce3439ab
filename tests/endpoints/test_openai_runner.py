"""A runner over an OpenAI-compatible endpoint, and everything such an endpoint may do instead of answering."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.endpoints.server import (
    DONE,
    LAST,
    Upstream,
    answers,
    chunk,
    endless,
    event,
    in_turn,
    says,
    streams,
)

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError
from conductor.adapters.endpoints.openai_runner import OpenAIRunner
from conductor.adapters.endpoints.stream_lines import events
from conductor.domain.errors import ConductorError, InvalidInput, Overloaded
from conductor.domain.generation import Finish, Generation, Message, Piece, Role, Sampling, Tool, Usage
from conductor.serving.ports import RunnerFacts

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
EXAMPLES = Path(__file__).parents[3] / "shared" / "vectors" / "openai-compat" / "openai-examples.json"
FACTS = RunnerFacts(
    backend="endpoint",
    device="",
    precision=None,
    context_tokens=8,
    memory_bytes=0,
    constrains=True,
    embeds=True,
    fills_in=True,
)
ASKED = Generation(messages=(Message(role=Role.USER, content="hi"),))


def runner(client: EndpointClient, upstream: Upstream) -> OpenAIRunner:
    return OpenAIRunner(client, origin=upstream.origin, base=upstream.base, model="m", facts=FACTS)


async def pieces(client: EndpointClient, upstream: Upstream, asked: Generation = ASKED) -> list[Piece]:
    async with aclosing(runner(client, upstream).generate(asked)) as written:
        return [piece async for piece in written]


async def failure(client: EndpointClient, upstream: Upstream) -> ConductorError:
    with pytest.raises(ConductorError) as raised:
        await pieces(client, upstream)
    return raised.value


async def test_a_stream_becomes_pieces_ending_with_finish_and_usage(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = streams(chunk("hel"), b": comment\n\n", chunk("lo"), chunk(finish="length"), LAST, DONE)

    written = await pieces(client, upstream)

    assert "".join(piece.text for piece in written) == "hello"
    assert (written[-1].finish, written[-1].usage) == (Finish.LENGTH, Usage(prompt_tokens=7, completion_tokens=3))
    assert all(piece.finish is None for piece in written[:-1])


async def test_the_specifications_own_stream_is_read(client: EndpointClient, upstream: Upstream) -> None:
    if not EXAMPLES.exists():
        pytest.skip("the examples of OpenAI's specification are not beside this repository")
    told = json.loads(EXAMPLES.read_text())["CreateChatCompletionStreamResponse"]
    documents = [line for line in told.splitlines() if line.startswith("{")]
    upstream.handlers[CHAT] = streams(*(b"data: " + line.encode() + b"\n\n" for line in documents), DONE)

    assert await pieces(client, upstream) == [Piece(text="Hello"), Piece(finish=Finish.STOP)]


async def test_all_that_is_asked_for_is_sent_in_the_protocols_words(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = streams(chunk("x", finish="stop"), DONE)
    tool = Tool(name="look", description="looks", parameters={"type": "object"})
    sampling = Sampling(max_tokens=5, temperature=0.5, top_p=0.9, repetition_penalty=1.1, seed=3, stop=("a", "b"))

    await pieces(
        client,
        upstream,
        Generation(
            messages=ASKED.messages, sampling=sampling, form={"type": "object"}, tools=(tool,), tool_choice="look"
        ),
    )

    sent = upstream.document()
    assert upstream.asked[0][2]["Authorization"] == "Bearer sk-secret-key"
    assert sent["messages"] == [{"role": "user", "content": "hi"}]
    wanted = {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "seed": 3,
        "stop": ["a", "b"],
    }
    assert {name: sent[name] for name in wanted} == wanted
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert sent["tools"][0]["function"]["name"] == "look"
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "look"}}


async def test_a_tool_call_in_pieces_is_put_together(client: EndpointClient, upstream: Upstream) -> None:
    def delta(**call: Any) -> bytes:
        return chunk(tool_calls=[{"index": 0} | call])

    upstream.handlers[CHAT] = streams(
        delta(id="call_9", function={"name": "look", "arguments": '{"a"'}),
        delta(function={"arguments": ":1}"}),
        chunk(finish="tool_calls"),
        DONE,
    )

    last = (await pieces(client, upstream))[-1]

    assert last.finish is Finish.TOOL_CALLS
    assert [(call.call_id, call.name, call.arguments) for call in last.tool_calls] == [("call_9", "look", '{"a":1}')]


async def test_two_halves_of_a_character_come_out_as_one(client: EndpointClient, upstream: Upstream) -> None:
    def raw(text: bytes) -> bytes:
        return b'data: {"choices":[{"delta":{"content":"' + text + b'"},"finish_reason":null}]}\n\n'

    upstream.handlers[CHAT] = streams(raw(b"\\ud83d"), raw(b"\\ude00!"), chunk(finish="stop"), DONE)

    assert [piece.text for piece in await pieces(client, upstream)][:-1] == ["😀!"]


@pytest.mark.parametrize(
    "chunks",
    [
        (chunk("half"),),
        (chunk("half"), DONE),
        (chunk("half"), b'data: {"choices":[{"del'),
        (),
    ],
)
@pytest.mark.parametrize("ending", ["whole", "cut"])
async def test_half_a_stream_is_an_error_that_may_be_asked_again(
    client: EndpointClient, upstream: Upstream, chunks: tuple[bytes, ...], ending: str
) -> None:
    upstream.handlers[CHAT] = streams(*chunks, ending=ending)

    error = await failure(client, upstream)

    assert isinstance(error, EndpointError)
    assert error.again
    assert "broke off" in error.message


@pytest.mark.parametrize(
    "handler",
    [
        streams(b"data: not json\n\n"),
        streams(b"data: [1,2]\n\n"),
        streams(b"data: " + b"[" * 100_000 + b"\n\n"),
        says(b"<html>hello</html>"),
        says(b'{"no": "stream"}', "application/json"),
        says(b"", status=302, headers={"Location": "http://127.0.0.1:1/steal"}),
        says(b"no", status=404),
    ],
)
async def test_garbage_is_an_error_that_names_the_address(
    client: EndpointClient, upstream: Upstream, handler: Any
) -> None:
    upstream.handlers[CHAT] = handler

    error = await failure(client, upstream)

    assert isinstance(error, EndpointError)
    assert not error.again
    assert upstream.origin in error.message
    assert len(upstream.asked) == 1


async def test_an_endpoint_that_falls_silent_is_given_up(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = streams(chunk("x"), ending="hang")

    assert "fell silent" in (await failure(client, upstream)).message


async def test_nobody_at_the_address_is_told_as_that(client: EndpointClient) -> None:
    nobody = OpenAIRunner(client, origin="http://127.0.0.1:1", base="http://127.0.0.1:1/v1", model="m", facts=FACTS)

    with pytest.raises(EndpointError, match="cannot be reached"):
        await anext(nobody.generate(ASKED))


async def test_a_busy_endpoint_is_asked_again_after_the_time_it_asks_for(
    client: EndpointClient, upstream: Upstream
) -> None:
    busy = answers({"error": {"message": "slow down"}}, 429, {"Retry-After": "0"})
    upstream.handlers[CHAT] = in_turn(busy, busy, streams(chunk("x", finish="stop"), DONE))

    assert (await pieces(client, upstream))[0].text == "x"
    assert len(upstream.asked) == 3


async def test_an_endpoint_that_asks_for_a_long_rest_is_not_waited_for(
    client: EndpointClient, upstream: Upstream
) -> None:
    upstream.handlers[CHAT] = answers({"error": {"message": "slow down"}}, 429, {"Retry-After": "3600"})

    error = await failure(client, upstream)

    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 3600
    assert len(upstream.asked) == 1


async def test_an_endpoint_that_fails_every_time_is_asked_three_times(
    client: EndpointClient, upstream: Upstream
) -> None:
    upstream.handlers[CHAT] = answers({"error": {"message": "boom"}}, 500, {"Retry-After": "0"})

    error = await failure(client, upstream)

    assert (error.details["status"], len(upstream.asked)) == (500, 3)
    assert "boom" in error.message


async def test_an_error_inside_the_stream_is_raised_and_never_asked_again(
    client: EndpointClient, upstream: Upstream
) -> None:
    upstream.handlers[CHAT] = streams(chunk("x"), event({"error": {"message": "out of memory"}}))

    error = await failure(client, upstream)

    assert "out of memory" in error.message
    assert len(upstream.asked) == 1


async def test_what_the_endpoint_calls_our_fault_is_invalid_input(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = answers({"error": {"message": "context too long"}}, 400)

    error = await failure(client, upstream)

    assert isinstance(error, InvalidInput)
    assert "context too long" in error.message


async def test_a_key_that_the_endpoint_repeats_is_not_shown(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = answers({"error": {"message": "Incorrect key sk-secret-key"}}, 401)

    error = await failure(client, upstream)

    assert "sk-secret-key" not in str(error)
    assert "refused the key" in error.message


async def test_closing_a_generation_closes_the_connection(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers[CHAT] = endless(upstream, chunk("x"))

    async with aclosing(runner(client, upstream).generate(ASKED)) as written:
        await anext(written)

    async with asyncio.timeout(10):
        await upstream.gone.wait()


async def test_plain_text_with_a_suffix_goes_to_completions(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers["/v1/completions"] = streams(
        event({"choices": [{"index": 0, "text": "mid", "finish_reason": "stop"}]}), DONE
    )

    written = await pieces(client, upstream, Generation(prompt="a", suffix="b"))

    assert written[0].text == "mid"
    assert (upstream.document()["prompt"], upstream.document()["suffix"]) == ("a", "b")


async def test_languages_by_code_are_refused_before_anything_is_sent(
    client: EndpointClient, upstream: Upstream
) -> None:
    with pytest.raises(InvalidInput):
        await pieces(client, upstream, Generation(prompt="a", languages=("eng_Latn", "deu_Latn")))

    assert upstream.asked == []


async def test_embeddings_come_in_order_and_have_length_one(client: EndpointClient, upstream: Upstream) -> None:
    rows = [{"index": 1, "embedding": [0.0, 2.0]}, {"index": 0, "embedding": [3.0, 4.0]}]
    upstream.handlers["/v1/embeddings"] = answers({"data": rows, "usage": {"prompt_tokens": 4, "total_tokens": 4}})

    assert await runner(client, upstream).embed(["a", "b"]) == (
        [[0.6, 0.8], [0.0, 1.0]],
        Usage(prompt_tokens=4, completion_tokens=0),
    )


@pytest.mark.parametrize(
    "data", [None, [], [{"index": 0}], [{"index": 0, "embedding": [0.0]}], [{"index": 0, "embedding": "x"}]]
)
async def test_what_is_no_embedding_is_an_error(client: EndpointClient, upstream: Upstream, data: Any) -> None:
    upstream.handlers["/v1/embeddings"] = answers({"data": data})

    with pytest.raises(EndpointError):
        await runner(client, upstream).embed(["a"])


@given(
    data=st.lists(st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)), min_size=1)),
    cuts=st.data(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_events_are_the_same_however_the_stream_was_chopped(data: list[str], cuts: st.DataObject) -> None:
    raw = b"".join(b"data: " + text.encode() + cuts.draw(st.sampled_from([b"\n\n", b"\r\n\r\n"])) for text in data)
    at = sorted(cuts.draw(st.lists(st.integers(0, len(raw)))))
    parts = [raw[start:end] for start, end in zip([0, *at], [*at, len(raw)], strict=True)]

    async def read() -> list[bytes]:
        async def chunks() -> Any:
            for part in parts:
                yield part

        return [found async for found in events(chunks(), "test")]

    assert asyncio.run(read()) == [text.encode() for text in data]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_thoughts_come_apart_from_the_answer(client: EndpointClient, upstream: Upstream, name: str) -> None:
    def thinks(text: str | None) -> bytes:
        return event({"choices": [{"index": 0, "delta": {name: text, "content": None}, "finish_reason": None}]})

    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 9,
        "completion_tokens_details": {"reasoning_tokens": 7},
        "prompt_tokens_details": None,
    }
    told = (thinks("So "), thinks("be \ud83d"), thinks("\ude00 it"), thinks(None), chunk("Yes"), chunk(finish="stop"))
    upstream.handlers[CHAT] = streams(*told, event({"choices": [], "usage": usage}), DONE)
    written = await pieces(client, upstream)

    assert "".join(piece.reasoning for piece in written) == "So be \U0001f600 it"
    assert "".join(piece.text for piece in written) == "Yes"
    assert written[-1].usage == Usage(prompt_tokens=3, completion_tokens=9, reasoning_tokens=7)
