"""What cannot be answered is refused in the protocol's own form, and the server goes on."""

import asyncio
import json
from typing import Any

import pytest
from tests.openai.conftest import Live
from tests.openai.scripted import CHAT_NAME, ROWS, Script

import openai
from conductor.serving.settings_md.table import ModelTable
from openai import AsyncOpenAI

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "Say hello"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


async def refused(client: AsyncOpenAI, path: str = "/chat/completions", **body: Any) -> tuple[int, dict[str, Any]]:
    """Status and error of a request that must be refused; the error has all four keys."""
    said = {"model": CHAT_NAME, "messages": HELLO} | body if path == "/chat/completions" else body
    with pytest.raises(openai.APIStatusError) as caught:
        await client.post(path, body=said, cast_to=object)
    error = caught.value.response.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["message"]
    return caught.value.status_code, error


async def test_a_model_that_does_not_exist_is_not_found(live: Live) -> None:
    status, error = await refused(live.client, model="gpt-none")

    assert (status, error["code"], error["param"], error["type"]) == (
        404,
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    with pytest.raises(openai.NotFoundError):
        await live.client.chat.completions.create(model="legal_analysis", messages=HELLO)


@pytest.mark.parametrize(("body", "param", "code"), [
    ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    ({"max_tokens": 10**9}, "max_tokens", "context_length_exceeded"),
    ({"max_completion_tokens": 10**40}, "max_completion_tokens", "invalid_value"),
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": [{"role": "user", "content": "w " * 300}]}, "messages", "context_length_exceeded"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]},
     "messages[0].content[0].image_url.url", "invalid_image_url"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,%"}}]}]},
     "messages[0].content[0].image_url.url", "invalid_base64_image"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x/y.png"}]}]},
     "messages[0].content[0].image_url", "invalid_type"),
    ({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "very"}}]}]},
     "messages[0].content[0].image_url.detail", "invalid_value"),
    ({"messages": [{"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]},
     "messages[0].content[0]", "invalid_value"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]},
     "messages[0].content", "invalid_value"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}]},
     "messages[0].content[0]", "unsupported_parameter"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
    ({"messages": "hello"}, "messages", "invalid_type"),
    ({"temperature": 3}, "temperature", "invalid_value"),
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"n": 0}, "n", "invalid_value"),
    ({"n": 100}, "n", "invalid_value"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
    ({"stop": ""}, "stop", "invalid_value"),
    ({"stop": ["a", ""]}, "stop[1]", "invalid_value"),
    ({"stop": [5]}, "stop[0]", "invalid_type"),
    ({"stop": 5}, "stop", "invalid_type"),
    ({"stop": "x" * 1001}, "stop", "invalid_value"),
    ({"max_tokens": 68.5}, "max_tokens", "invalid_type"),
    ({"max_tokens": 0.0}, "max_tokens", "invalid_value"),
    ({"max_tokens": True}, "max_tokens", "invalid_type"),
    ({"seed": 1.5}, "seed", "invalid_type"),
    ({"seed": 2**63}, "seed", "invalid_value"),
    ({"logprobs": True, "top_logprobs": 0.5}, "top_logprobs", "invalid_type"),
    ({"temperature": "0.5"}, "temperature", "invalid_type"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "invalid_value"),
    ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]", "invalid_type"),
    ({"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, "messages[0].content",
     "missing_required_parameter"),
    ({"tools": [TOOL], "tool_choice": 5}, "tool_choice", "invalid_type"),
    ({"tools": [TOOL], "tool_choice": {"type": "king", "function": {"name": "weather"}}}, "tool_choice", "invalid_value"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
        {"type": "function", "function": {"name": "sun"}}]}}}, "tool_choice", "invalid_value"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
        {"type": "function", "function": {"name": ["weather"]}}]}}}, "tool_choice", "invalid_value"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
     "tools[0].function.parameters", "invalid_value"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format.json_schema.schema",
     "missing_required_parameter"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#/$defs/y"}}}},
     "response_format.json_schema.schema/$ref", "invalid_value"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {
        "properties": {f"p{number}": {"type": "string"} for number in range(20_000)}}}}},
     "response_format.json_schema.schema", "invalid_value"),
    ({"logit_bias": {"50256": -100}}, "logit_bias", "unsupported_parameter"),
    ({"presence_penalty": 3}, "presence_penalty", "invalid_value"),
    ({"logit_bias": {"1": 1}}, "logit_bias", "unsupported_parameter"),
    ({"functions": [{"name": "x"}]}, "functions", "unsupported_parameter"),
    ({"modalities": ["audio"]}, "modalities", "unsupported_parameter"),
    ({"top_logprobs": 3}, "top_logprobs", "invalid_value"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    ({"tools": [TOOL, TOOL]}, "tools", "invalid_value"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "sun"}}}, "tool_choice", "invalid_value"),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objct"}}}},
     "response_format.json_schema.schema/type", "invalid_value"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "http://x/y"}}}},
     "response_format.json_schema.schema/$ref", "invalid_value"),
])  # fmt: skip
async def test_a_wrong_field_is_named(live: Live, script: Script, body: dict[str, Any], param: str, code: str) -> None:
    status, error = await refused(live.client, **body)

    assert (status, error["param"], error["code"]) == (400, param, code)
    assert (script.leases, script.writing) == (0, 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"[" * 20_000, b"\xff\xfe", b'{"model": NaN}'])
async def test_a_body_that_is_no_request_is_refused(live: Live, body: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await live.client.post("/chat/completions", content=body, cast_to=object)

    assert sorted(caught.value.response.json()["error"]) == ["code", "message", "param", "type"]


@pytest.mark.parametrize(("body", "said"), [
    ({"stop": 5}, "stop is 5; it must be text or a list"),
    ({"stop": "x" * 1001}, "at most 1000 characters long"),
    ({"stop": [""]}, 'stop[0] is ""; it must be at least 1 characters long'),
    ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0] is 5; it must be an object"),
    ({"tools": [{"type": "web_search"}]}, 'tools[0].type is "web_search"; it must be function'),
    ({"temperature": "0.5"}, 'temperature is "0.5"; it must be a number'),
])  # fmt: skip
async def test_what_is_wrong_is_said_of_the_kind_that_was_meant(live: Live, body: dict[str, Any], said: str) -> None:
    _, error = await refused(live.client, **body)

    assert said in error["message"]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n", "seed", "top_logprobs"])
async def test_a_whole_number_may_have_a_fraction_of_nothing(live: Live, script: Script, field: str) -> None:
    body = {"model": CHAT_NAME, "messages": HELLO, "logprobs": True, field: 2.0}
    answer: Any = await live.client.post("/chat/completions", body=body, cast_to=object)

    assert answer["choices"]
    sampling = script.asked[0].sampling
    assert {type(number) for number in (sampling.max_tokens, sampling.seed, sampling.top_scores)} <= {int, type(None)}


@pytest.mark.parametrize(("body", "param"), [
    ({"stop": ["\ud800"]}, "stop[0]"),
    ({"model": "\ud800"}, "model"),
    ({"messages": [{"role": "user", "content": "x", "name": "\ud800"}]}, "messages[0].name"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"\ud800": 1}}}]},
     "tools[0].function.parameters"),
])  # fmt: skip
async def test_half_a_character_is_refused_where_it_stands(live: Live, body: dict[str, Any], param: str) -> None:
    said = json.dumps({"model": CHAT_NAME, "messages": HELLO} | body).encode()
    with pytest.raises(openai.BadRequestError) as caught:
        await live.client.post("/chat/completions", content=said, cast_to=object)

    assert (caught.value.type, caught.value.code, caught.value.param) == (
        "invalid_request_error",
        "invalid_value",
        param,
    )


async def test_a_number_of_thousands_of_digits_is_refused_as_no_json(live: Live) -> None:
    body = b'{"model": "%b", "messages": [], "seed": %b}' % (CHAT_NAME.encode(), b"9" * 5000)
    with pytest.raises(openai.BadRequestError) as caught:
        await live.client.post("/chat/completions", content=body, cast_to=object)

    assert (caught.value.code, caught.value.type) == ("invalid_json", "invalid_request_error")
    assert "thousands of digits" in caught.value.message


async def test_a_model_that_cannot_keep_to_a_form_says_so(live: Live, script: Script) -> None:
    script.constrains = False
    status, error = await refused(live.client, response_format={"type": "json_object"})

    assert (status, error["param"]) == (400, "response_format")


async def test_a_category_that_no_model_serves_is_told_from_one_that_does_not_exist(live: Live) -> None:
    live.table.table = ModelTable(rows=ROWS[:1])
    status, error = await refused(live.client, model="translation")

    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert error["message"].startswith("no model serves translation; give it one in SETTINGS.md")


async def test_where_no_model_is_for_embeddings_that_is_said(live: Live) -> None:
    live.table.table = ModelTable(rows=ROWS[:1])
    status, error = await refused(live.client, "/embeddings", model="auto", input="x")

    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "give SETTINGS.md a row Embeddings" in error["message"]


async def test_what_the_protocol_has_and_we_do_not_is_refused_in_its_form(live: Live) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await live.client.responses.create(model=CHAT_NAME, input="hello")

    assert caught.value.response.json()["error"]["message"] == (
        "nothing is at /v1/responses; /openapi.json lists what there is"
    )


async def test_a_model_that_fails_before_its_first_token_is_a_status(live: Live, script: Script) -> None:
    script.fail_after = 0
    for streaming in (False, True):
        status, error = await refused(live.client, stream=streaming)
        assert (status, error["type"], error["code"]) == (503, "server_error", "model")


async def test_a_model_that_fails_later_ends_the_stream_with_an_error(live: Live, script: Script) -> None:
    script.fail_after = 2
    stream = await live.client.chat.completions.create(model=CHAT_NAME, messages=HELLO, stream=True)
    heard = []

    async def listen() -> None:
        async for chunk in stream:
            heard.append(chunk.choices[0].delta.content)

    with pytest.raises(openai.APIError, match="gone"):
        await listen()

    assert heard == ["", "Hello", ", "]
    assert script.leases == 0


@pytest.mark.parametrize(("body", "param"), [
    ({"model": "embeddings", "input": ""}, "input[0]"),
    ({"model": "embeddings", "input": []}, "input"),
    ({"model": "embeddings", "input": [1, 2]}, "input[0]"),
    ({"model": "embeddings", "input": "x", "encoding_format": "hex"}, "encoding_format"),
    ({"model": "embeddings", "input": "x", "dimensions": 2}, "dimensions"),
    ({"model": CHAT_NAME, "input": "x"}, "model"),
])  # fmt: skip
async def test_embeddings_that_cannot_be_made_are_refused(live: Live, body: dict[str, Any], param: str) -> None:
    status, error = await refused(live.client, "/embeddings", **body)

    assert (status, error["param"]) == (400, param)


@pytest.mark.parametrize(("body", "param"), [
    ({"model": "tests/coder", "prompt": [[1, 2]]}, "prompt[0]"),
    ({"model": "tests/coder", "prompt": 5}, "prompt"),
    ({"model": CHAT_NAME, "prompt": "a", "suffix": "b"}, "suffix"),
    ({"model": "tests/coder", "prompt": "a", "best_of": 3}, "best_of"),
])  # fmt: skip
async def test_completions_that_cannot_be_made_are_refused(live: Live, body: dict[str, Any], param: str) -> None:
    status, error = await refused(live.client, "/completions", **body)

    assert (status, error["param"]) == (400, param)


async def test_a_client_that_stops_reading_holds_back_its_own_model_only(live: Live, script: Script) -> None:
    script.words = ("word " * 2000,) * 5000
    reader, writer = await asyncio.open_connection("127.0.0.1", int(live.url.rpartition(":")[2]), limit=1024)
    body = json.dumps({"model": CHAT_NAME, "messages": HELLO, "stream": True}).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    await reader.readline()
    before = -1
    while script.written != before:  # until nothing more fits between server and client
        before = script.written
        await asyncio.sleep(0.2)
    assert script.written < 5000

    script.words = ("Hello",)
    answer = await live.client.chat.completions.create(model=CHAT_NAME, messages=HELLO)
    assert answer.choices[0].message.content == "Hello"
    writer.transport.abort()
    async with asyncio.timeout(20):
        while script.leases:
            await asyncio.sleep(0.01)
