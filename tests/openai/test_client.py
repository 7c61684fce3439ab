"""The official client against a live server: what it sends is understood, what it reads it can use."""

import asyncio
import json
import struct

import pytest
from tests.openai.conftest import Live
from tests.openai.scripted import CHAT_NAME, Script

from conductor.domain.generation import Message, Picture, Role, ToolCall
from openai import AsyncOpenAI

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "Say hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}
CALL = ToolCall(call_id="call_1", name="weather", arguments='{"town":"Ulm"}')


@pytest.fixture
async def client(live: Live) -> AsyncOpenAI:
    return live.client


async def test_what_a_model_thought_stands_beside_its_answer_and_never_in_it(
    client: AsyncOpenAI, script: Script
) -> None:
    script.thoughts = ("The user ", "greets; ", "I greet back.")
    whole = await client.chat.completions.create(model=CHAT_NAME, messages=HELLO)
    stream = await client.chat.completions.create(
        model=CHAT_NAME, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    message = whole.choices[0].message
    assert (message.content, message.reasoning_content) == ("Hello, world!", "The user greets; I greet back.")  # type: ignore[attr-defined]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert [delta.reasoning_content for delta in deltas if hasattr(delta, "reasoning_content")] == [*script.thoughts]
    assert "".join(delta.content or "" for delta in deltas) == "Hello, world!"
    for usage in (whole.usage, chunks[-1].usage):
        assert usage is not None
        assert usage.completion_tokens == 7
        assert usage.completion_tokens_details is not None
        assert usage.completion_tokens_details.reasoning_tokens == 3


async def test_models_that_tell_no_thoughts_have_no_empty_ones(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=CHAT_NAME, messages=HELLO)

    assert "reasoning_content" not in answer.choices[0].message.model_dump()


async def test_a_chat_is_answered_whole(client: AsyncOpenAI, script: Script) -> None:
    answer = await client.chat.completions.create(model="conversational_chat", messages=HELLO, temperature=0.5)

    assert answer.choices[0].message.content == "Hello, world!"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.model, answer.object) == (CHAT_NAME, "chat.completion")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 4, 6)
    assert script.asked[0].sampling.temperature == 0.5
    assert answer._request_id


async def test_a_stream_tells_the_role_first_and_its_usage_last(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=CHAT_NAME, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert [chunk.choices[0].delta.role for chunk in chunks[:1]] == ["assistant"]
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-2]] == ["Hello", ", ", "world", "!"]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 6
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_stream_without_the_wish_has_no_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model=CHAT_NAME, messages=HELLO, stream=True)

    assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "stop"


async def test_pictures_reach_a_model_that_sees_in_their_place(client: AsyncOpenAI, script: Script) -> None:
    script.sees = True
    data = "data:image/png;base64,iVBORw0KGgo="
    await client.chat.completions.create(
        model=CHAT_NAME,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Compare"},
                    {"type": "image_url", "image_url": {"url": data, "detail": "low"}},
                    {"type": "text", "text": "with"},
                    {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                ],
            }
        ],
    )

    pictures = Picture(url=data, detail="low"), Picture(url="https://example.org/a.png")
    asked = Message(role=Role.USER, content="Compare\nwith", parts=("Compare", pictures[0], "with", pictures[1]))
    assert script.asked[0].messages == (asked,)


async def test_penalties_reach_the_model(client: AsyncOpenAI, script: Script) -> None:
    await client.chat.completions.create(model=CHAT_NAME, messages=HELLO, frequency_penalty=0.5, presence_penalty=-1)

    sampling = script.asked[0].sampling
    assert (sampling.frequency_penalty, sampling.presence_penalty) == (0.5, -1)


async def test_parts_of_nothing_but_text_are_text(client: AsyncOpenAI, script: Script) -> None:
    parts = [{"type": "text", "text": "Say"}, {"type": "text", "text": "hello"}]
    await client.chat.completions.create(model=CHAT_NAME, messages=[{"role": "user", "content": parts}])

    assert script.asked[0].messages == (Message(role=Role.USER, content="Say\nhello"),)


async def test_tools_are_asked_for_and_their_answers_are_heard(client: AsyncOpenAI, script: Script) -> None:
    script.words, script.tool_calls = (), (CALL,)
    answer = await client.chat.completions.create(
        model=CHAT_NAME, messages=HELLO, tools=[WEATHER], tool_choice="required"
    )
    message = answer.choices[0].message
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert (call.id, call.type, answer.choices[0].finish_reason) == ("call_1", "function", "tool_calls")
    assert message.content is None

    script.words, script.tool_calls = ("Rain",), ()
    said = [*HELLO, message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "it rains"}]
    answer = await client.chat.completions.create(model=CHAT_NAME, messages=said, tools=[WEATHER])

    assert answer.choices[0].message.content == "Rain"
    roles = [turn.role for turn in script.asked[1].messages]
    assert roles == [Role.USER, Role.ASSISTANT, Role.TOOL]
    assert script.asked[1].messages[1].tool_calls == (CALL,)
    assert script.asked[0].tool_choice == "required"


async def test_streamed_tool_calls_add_up(client: AsyncOpenAI, script: Script) -> None:
    script.tool_calls = (CALL, ToolCall(call_id="call_2", name="weather", arguments='{"town":"Bern"}'))
    async with client.chat.completions.stream(model=CHAT_NAME, messages=HELLO, tools=[WEATHER]) as stream:
        message = (await stream.get_final_completion()).choices[0]

    assert message.finish_reason == "tool_calls"
    assert [call.function.arguments for call in message.message.tool_calls or ()] == [
        '{"town":"Ulm"}',
        '{"town":"Bern"}',
    ]


async def test_one_call_at_a_time_where_the_client_takes_no_more(client: AsyncOpenAI, script: Script) -> None:
    script.tool_calls = (CALL, CALL)
    answer = await client.chat.completions.create(
        model=CHAT_NAME, messages=HELLO, tools=[WEATHER], parallel_tool_calls=False
    )

    assert len(answer.choices[0].message.tool_calls or ()) == 1


async def test_an_answer_keeps_to_a_schema(client: AsyncOpenAI, script: Script) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    answer = await client.chat.completions.create(
        model=CHAT_NAME,
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}},
    )

    assert json.loads(answer.choices[0].message.content or "") == {"name": "Ada"}
    assert script.asked[0].form == schema


async def test_json_mode_asks_for_an_object(client: AsyncOpenAI, script: Script) -> None:
    await client.chat.completions.create(model=CHAT_NAME, messages=HELLO, response_format={"type": "json_object"})

    assert script.asked[0].form == {"type": "object"}


@pytest.mark.parametrize("streaming", [False, True])
async def test_several_answers_have_seeds_of_their_own(client: AsyncOpenAI, streaming: bool) -> None:
    texts = {}
    if streaming:
        stream = await client.chat.completions.create(model=CHAT_NAME, messages=HELLO, n=3, seed=7, stream=True)
        async for chunk in stream:
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    else:
        answer = await client.chat.completions.create(model=CHAT_NAME, messages=HELLO, n=3, seed=7)
        texts = {choice.index: choice.message.content for choice in answer.choices}
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 3)

    assert texts == {0: "seed 7", 1: "seed 8", 2: "seed 9"}


async def test_log_probabilities_are_told_with_their_alternatives(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=CHAT_NAME, messages=HELLO, logprobs=True, top_logprobs=2)
    told = answer.choices[0].logprobs
    assert told is not None
    first = (told.content or [])[0]

    assert (first.token, first.logprob, first.bytes) == ("Hello", -0.5, list(b"Hello"))
    assert [one.logprob for one in first.top_logprobs] == [-0.5, -9999.0]


async def test_the_bytes_of_half_a_character_are_not_made_up(client: AsyncOpenAI, script: Script) -> None:
    script.words = ("\ufffd",)
    answer = await client.chat.completions.create(model=CHAT_NAME, messages=HELLO, logprobs=True)
    assert answer.choices[0].logprobs is not None
    assert [one.bytes for one in answer.choices[0].logprobs.content or []] == [None]


@pytest.mark.parametrize(("limits", "text", "reason"), [
    ({"max_tokens": 2}, "Hello, ", "length"),
    ({"max_completion_tokens": 1}, "Hello", "length"),
    ({"stop": "world"}, "Hello, ", "stop"),
    ({"stop": ["x", "!"]}, "Hello, world", "stop"),
])  # fmt: skip
async def test_an_answer_ends_where_the_client_wants(
    client: AsyncOpenAI, limits: dict[str, object], text: str, reason: str
) -> None:
    answer = await client.chat.completions.create(model=CHAT_NAME, messages=HELLO, **limits)  # type: ignore[call-overload]

    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (text, reason)


async def test_auto_says_which_model_and_why(client: AsyncOpenAI) -> None:
    words = [{"role": "user", "content": "Translate this"}]
    raw = await client.chat.completions.with_raw_response.create(model="auto", messages=words)

    assert raw.headers["X-Conductor-Model"] == "tests/translator"
    assert raw.headers["X-Conductor-Category"] == "translation"
    assert raw.headers["X-Conductor-Why"] == "%C3%9Cbersetzer for translation: the request reads like translation."
    assert raw.parse().model == "tests/translator"


async def test_who_names_a_model_is_not_told_why(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model=CHAT_NAME, messages=HELLO)

    assert raw.headers["X-Conductor-Model"] == CHAT_NAME
    assert "X-Conductor-Why" not in raw.headers


async def test_completions_go_on_with_several_texts_and_fill_in(client: AsyncOpenAI, script: Script) -> None:
    answer = await client.completions.create(
        model="code_completion", prompt=["a b", "c"], suffix="end", echo=True, logprobs=1
    )

    assert [choice.text for choice in answer.choices] == ["a bHello, world!", "cHello, world!"]
    assert answer.choices[1].logprobs is not None
    assert answer.choices[1].logprobs.text_offset == [1, 6, 8, 13]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 8)
    assert script.asked[0].suffix == "end"


async def test_several_prompts_stream_one_after_the_other(client: AsyncOpenAI, script: Script) -> None:
    stream = await client.completions.create(
        model="tests/coder", prompt=["a b", "c"], n=2, echo=True, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    texts = ["", "", "", ""]
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] += choice.text

    assert texts == ["a bHello, world!", "a bHello, world!", "cHello, world!", "cHello, world!"]
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (3, 16)
    assert (script.leases, script.writing) == (0, 0)


async def test_completions_stream(client: AsyncOpenAI) -> None:
    stream = await client.completions.create(
        model="tests/coder", prompt="x", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "Hello, world!"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None


async def test_embeddings_are_the_same_as_numbers_and_as_base64(client: AsyncOpenAI) -> None:
    by_default = await client.embeddings.create(model="embeddings", input=["a", "bb"])
    plain = await client.embeddings.create(model="tests/embedder", input=["a", "bb"], encoding_format="float")

    assert [one.embedding for one in by_default.data] == [[1.0, 0.0, -0.25], [0.0, 1.0, 0.5]]
    assert [one.embedding for one in plain.data] == [one.embedding for one in by_default.data]
    assert (by_default.usage.prompt_tokens, [one.index for one in by_default.data]) == (2, [0, 1])
    assert struct.calcsize("<3f") == 12


async def test_models_are_listed_and_shown_one_by_one(client: AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]

    assert names[:3] == ["auto", "conversational_chat", "general_reasoning"]
    assert CHAT_NAME in names
    assert (await client.models.retrieve(CHAT_NAME)).owned_by == "conductor"
    assert (await client.models.retrieve("Chat 1B")).id == "Chat 1B"  # what requests may name can be looked up


async def test_what_clients_say_besides_is_let_pass(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=CHAT_NAME,
        messages=[{"role": "developer", "content": [{"type": "text", "text": "Be kind"}]}, *HELLO],
        user="me",
        metadata={"a": "b"},
        store=False,
        frequency_penalty=0,
        extra_body={"something_new": 1},
    )

    assert answer.choices[0].message.content == "Hello, world!"


async def test_fifty_clients_leave_and_nothing_is_held(live: Live, script: Script) -> None:
    script.wait_after = 2

    async def leave(number: int) -> None:
        stream = await live.client.chat.completions.create(
            model=CHAT_NAME, messages=HELLO, stream=True, n=1 + number % 3
        )
        read = 0
        async for _ in stream:
            read += 1
            if read > number % 3:
                break
        await stream.close()

    async def leave_a_whole_answer(number: int) -> None:
        with pytest.raises((asyncio.TimeoutError, TimeoutError)):
            async with asyncio.timeout(0.05 + number % 7 / 100):
                await live.client.chat.completions.create(model=CHAT_NAME, messages=HELLO)

    await asyncio.gather(*(leave(number) for number in range(30)), *(leave_a_whole_answer(n) for n in range(20)))
    async with asyncio.timeout(20):
        while script.writing or script.leases:
            await asyncio.sleep(0.01)

    script.wait_after = None
    answer = await live.client.chat.completions.create(model=CHAT_NAME, messages=HELLO)
    assert answer.choices[0].message.content == "Hello, world!"
    engines = live.serving.statistics()["engines"]["conversational_chat"]  # type: ignore[index,call-overload]
    assert (engines["running"], engines["errors"], engines["cancelled"]) == (0, 0, engines["count"] - 1)
    assert engines["cancelled"] >= 30, "who left before being heard is not counted"
