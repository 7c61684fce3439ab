"""A runner over Ollama's own protocol."""

import json
from contextlib import aclosing
from typing import Any

import pytest
from tests.endpoints.server import Upstream, answers, says, streams

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError
from conductor.adapters.endpoints.ollama import OllamaRunner, ollama_models, ollama_shown
from conductor.domain.errors import ConductorError, InvalidInput, Overloaded
from conductor.domain.generation import Finish, Generation, Message, Piece, Role, Sampling, Tool, ToolCall, Usage
from conductor.serving.ports import RunnerFacts

pytestmark = pytest.mark.anyio

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
END = {
    "message": {"role": "assistant", "content": ""},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 7,
    "eval_count": 3,
}


def line(document: Any) -> bytes:
    return json.dumps({"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False} | document).encode() + b"\n"


def said(text: str) -> bytes:
    return line({"message": {"role": "assistant", "content": text}})


def ndjson(*lines: bytes, ending: str = "whole") -> Any:
    return streams(*lines, content_type="application/x-ndjson", ending=ending)


async def pieces(client: EndpointClient, upstream: Upstream, asked: Generation = ASKED) -> list[Piece]:
    runner = OllamaRunner(client, origin=upstream.origin, model="m", facts=FACTS)
    async with aclosing(runner.generate(asked)) as written:
        return [piece async for piece in written]


async def test_lines_become_pieces_ending_with_usage(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers["/api/chat"] = ndjson(said("hel"), said("lo"), line(END))

    assert await pieces(client, upstream) == [
        Piece(text="hel"),
        Piece(text="lo"),
        Piece(finish=Finish.STOP, usage=Usage(prompt_tokens=7, completion_tokens=3)),
    ]


async def test_thoughts_come_apart_from_the_answer(client: EndpointClient, upstream: Upstream) -> None:
    thinks = line({"message": {"role": "assistant", "content": "", "thinking": "so be it"}})
    upstream.handlers["/api/chat"] = ndjson(thinks, said("yes"), line(END))

    written = await pieces(client, upstream)

    assert written[:2] == [Piece(reasoning="so be it"), Piece(text="yes")]
    assert written[-1].reasoning == ""


async def test_options_have_ollamas_names(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers["/api/chat"] = ndjson(line(END))
    sampling = Sampling(max_tokens=5, temperature=0.0, repetition_penalty=1.2, seed=4, stop=("x",))

    await pieces(client, upstream, Generation(messages=ASKED.messages, sampling=sampling, form={"type": "object"}))

    sent = upstream.document()
    assert sent["options"] == {
        "temperature": 0.0, "top_p": 1.0, "repeat_penalty": 1.2, "num_predict": 5, "seed": 4, "stop": ["x"],
    }  # fmt: skip
    assert sent["format"] == {"type": "object"}


async def test_arguments_of_tools_are_objects_there_and_text_here(client: EndpointClient, upstream: Upstream) -> None:
    call = {"function": {"name": "look", "arguments": {"a": "ü"}}}
    upstream.handlers["/api/chat"] = ndjson(line({"message": {"content": "", "tool_calls": [call]}}), line(END))
    earlier = Message(role=Role.ASSISTANT, tool_calls=(ToolCall(call_id="c", name="look", arguments='{"b": 1}'),))

    last = (
        await pieces(client, upstream, Generation(messages=(*ASKED.messages, earlier), tools=(Tool(name="look"),)))
    )[-1]

    assert last.finish is Finish.TOOL_CALLS
    assert [json.loads(made.arguments) for made in last.tool_calls] == [{"a": "ü"}]
    assert upstream.document()["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"b": 1}


async def test_plain_text_is_sent_raw(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers["/api/generate"] = ndjson(line({"response": "b"}), line({"response": "", "done": True}))

    assert (await pieces(client, upstream, Generation(prompt="a")))[0].text == "b"
    assert (upstream.document()["prompt"], upstream.document()["raw"]) == ("a", True)


@pytest.mark.parametrize(
    ("handler", "word"),
    [
        (ndjson(said("half")), "broke off"),
        (ndjson(said("half"), ending="cut"), "broke off"),
        (ndjson(said("half"), ending="hang"), "fell silent"),
        (ndjson(said("half"), b'{"mess'), "no JSON"),
        (ndjson(b"[]\n"), "no answer of Ollama"),
        (ndjson(line({"error": "out of memory"})), "out of memory"),
        (says(b"<html>"), "no JSON"),
        (answers({"error": "boom"}, 500), "boom"),
        (answers({"error": "model 'm' not found"}, 404), "not found"),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(
    client: EndpointClient, upstream: Upstream, handler: Any, word: str
) -> None:
    upstream.handlers["/api/chat"] = handler

    with pytest.raises(EndpointError, match=word):
        await pieces(client, upstream)


@pytest.mark.parametrize(("status", "kind"), [(400, InvalidInput), (503, Overloaded), (429, Overloaded)])
async def test_refusals_are_told_apart(
    client: EndpointClient, upstream: Upstream, status: int, kind: type[ConductorError]
) -> None:
    upstream.handlers["/api/chat"] = answers({"error": "no"}, status)

    with pytest.raises(kind):
        await pieces(client, upstream)


async def test_log_probabilities_are_refused_before_anything_is_sent(
    client: EndpointClient, upstream: Upstream
) -> None:
    with pytest.raises(InvalidInput):
        await pieces(client, upstream, Generation(messages=ASKED.messages, sampling=Sampling(top_scores=2)))

    assert upstream.asked == []


async def test_embeddings_have_length_one(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers["/api/embed"] = answers({"embeddings": [[3.0, 4.0]], "prompt_eval_count": 2})
    runner = OllamaRunner(client, origin=upstream.origin, model="m", facts=FACTS)

    assert await runner.embed(["a"]) == ([[0.6, 0.8]], Usage(prompt_tokens=2, completion_tokens=0))
    with pytest.raises(EndpointError, match="1 vectors for 2 texts"):
        await runner.embed(["a", "b"])


async def test_what_is_loaded_is_known_from_its_process_list(client: EndpointClient, upstream: Upstream) -> None:
    rows = [{"name": name, "size": 9, "details": {"quantization_level": "Q4_0"}} for name in ("a:latest", "b:1b")]
    upstream.handlers |= {
        "/api/tags": answers({"models": rows}),
        "/api/ps": answers({"models": [{"name": "b:1b", "size": 12}]}),
        "/api/show": answers({"model_info": {"llama.context_length": 4096}, "capabilities": ["embedding"]}),
    }

    listed = await ollama_models(client, upstream.origin)

    assert [(one.name, one.loaded_bytes, one.quantization) for one in listed] == [
        ("a:latest", 0, "Q4_0"),
        ("b:1b", 12, "Q4_0"),
    ]
    shown = await ollama_shown(client, upstream.origin, "a")
    assert (shown.context_tokens, shown.capabilities) == (4096, {"embedding"})
