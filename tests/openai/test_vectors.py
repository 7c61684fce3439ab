"""What is answered satisfies the published schemas of the protocol, and the OpenAPI document says what is answered."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.openai.conftest import Live
from tests.openai.scripted import CHAT_NAME, Script

from conductor.domain.generation import ToolCall

pytestmark = pytest.mark.anyio
VECTORS = (
    Path(__file__).parents[3] / "shared" / "vectors" / "openai-compat" / "openai-chat-models-embeddings.schema.json"
)
CHAT = {"model": CHAT_NAME, "messages": [{"role": "user", "content": "hi"}]}
TOOL = {"type": "function", "function": {"name": "weather"}}


def check(name: str, document: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    if not VECTORS.exists():
        pytest.skip("the published schemas are not on this machine")
    schemas = nullable(json.loads(VECTORS.read_text())["components"])
    validator = jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": schemas})
    assert [error.message for error in validator.iter_errors(document)] == []


def nullable(schema: Any) -> Any:
    """The schemas say `nullable`, which is a word of OpenAPI 3.0 and none of JSON Schema."""
    if isinstance(schema, list):
        return [nullable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: nullable(part) for name, part in schema.items() if name != "nullable"}
    return {"anyOf": [parts, {"type": "null"}]} if schema.get("nullable") is True else parts


async def answered(live: Live, path: str, body: Any = None) -> Any:
    method = "GET" if body is None else "POST"
    async with aiohttp.ClientSession() as session, session.request(method, live.url + path, json=body) as answer:
        return json.loads(await answer.read())


@pytest.mark.parametrize("more", [
    {}, {"n": 2}, {"logprobs": True, "top_logprobs": 2}, {"tools": [TOOL]}, {"max_tokens": 1},
])  # fmt: skip
async def test_whole_answers(live: Live, script: Script, more: dict[str, Any]) -> None:
    script.tool_calls = (ToolCall(call_id="c", name="weather", arguments="{}"),)

    check("CreateChatCompletionResponse", await answered(live, "/v1/chat/completions", CHAT | more))


@pytest.mark.parametrize(
    "more", [{}, {"logprobs": True}, {"stream_options": {"include_usage": True}}, {"tools": [TOOL]}]
)
async def test_every_chunk_of_a_stream(live: Live, script: Script, more: dict[str, Any]) -> None:
    script.tool_calls = (ToolCall(call_id="c", name="weather", arguments="{}"),)
    asked = CHAT | {"stream": True} | more
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{live.url}/v1/chat/completions", json=asked) as answer,
    ):
        text = await answer.text()
    lines = text.split("\n\n")

    assert lines[-2:] == ["data: [DONE]", ""]
    assert len(lines) > 6
    for line in lines[:-2]:
        check("CreateChatCompletionStreamResponse", json.loads(line.removeprefix("data: ")))


async def test_the_other_documents(live: Live) -> None:
    check(
        "CreateCompletionResponse",
        await answered(live, "/v1/completions", {"model": "tests/coder", "prompt": "x", "logprobs": 1}),
    )
    check("CreateEmbeddingResponse", await answered(live, "/v1/embeddings", {"model": "embeddings", "input": "x"}))
    check("ListModelsResponse", await answered(live, "/v1/models"))
    check("Model", await answered(live, "/v1/models/auto"))
    check("ErrorResponse", await answered(live, "/v1/models/nothing"))
    check("ErrorResponse", await answered(live, "/v1/chat/completions", {}))


async def test_the_openapi_document_tells_the_protocols_own_errors(live: Live) -> None:
    paths = (await answered(live, "/openapi.json"))["paths"]

    errors = {
        path: sorted(paths[path]["post"]["responses"]["default"]["content"]) for path in ("/generate", "/v1/batches")
    }
    assert errors == {
        "/generate": ["application/problem+json"],
        "/v1/batches": ["application/json"],
    }
