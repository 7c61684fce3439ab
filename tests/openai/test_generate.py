"""`/generate` and what belongs to it: engines, streams, models, statistics, and the journal of calls."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from tests.openai.conftest import Live
from tests.openai.scripted import Script

from conductor.app.serving.calls import CallRecord, Ending
from conductor.domain.model import Category, ModelName, ModelState, Precision
from conductor.serving.ports import RunnerFacts
from conductor.serving.registry import ModelKey

pytestmark = pytest.mark.anyio


async def post(live: Live, path: str = "/generate", **body: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(live.url + path, data=json.dumps(body)) as answer:
        return answer.status, await answer.json(content_type=None)


async def events(live: Live, **body: Any) -> list[tuple[str, Any]]:
    async with aiohttp.ClientSession() as session, session.post(f"{live.url}/generate/stream", json=body) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        blocks = (await answer.text()).split("\n\n")[:-1]
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in (block.split("\n", 1) for block in blocks if not block.startswith(":"))
    ]


async def test_the_example_of_the_page_is_answered_even_as_curl_sends_it(live: Live, script: Script) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = '{"prompt":"Explain quantum computing","category":"general_reasoning","max_tokens":100}'
    script.words = ("Answer: 42\n", "Reasoning: 1. so it is")
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{live.url}/generate", data=body, headers=headers) as answer,
    ):
        document = await answer.json()

    assert document["category"] == "general_reasoning"
    assert document["facts"]["answer"] == "42"
    assert document["usage"]["completion_tokens"] == 2
    assert script.asked[0].sampling.max_tokens == 100
    assert script.asked[0].sampling.temperature == 0.3, "what the caller leaves open is the engine's"


async def test_a_stream_tells_who_answers_the_pieces_and_the_checked_answer(live: Live) -> None:
    heard = await events(live, prompt="Hello", category="conversational_chat")

    assert [name for name, _ in heard] == ["decision", "piece", "piece", "piece", "piece", "answer"]
    assert heard[0][1]["model"] == "tests/chat-1b"
    assert heard[-1][1]["text"] == "".join(data["text"] for name, data in heard if name == "piece")


async def test_a_category_may_be_written_as_in_the_table(live: Live) -> None:
    status, document = await post(live, prompt="Hello", category="Conversational  chat")
    assert (status, document["category"]) == (200, "conversational_chat")


async def test_what_was_chosen_but_needs_more_is_answered_by_a_general_engine(live: Live) -> None:
    status, document = await post(live, prompt="Translate this: good morning")

    assert (status, document["category"]) == (200, "general_reasoning")
    assert "translation would need more" in document["why"]


@pytest.mark.parametrize(("options", "field"), [
    ({"target": "Klingon"}, "options.target"),
    ({"target": "German", "source": "Klingon"}, "options.source"),
    ({"target": "German", "register": "rude"}, "options.register"),
    ({"target": 5}, "options.target"),
    ({"targt": "German"}, "options.targt"),
    ({}, "options.target"),
])  # fmt: skip
async def test_an_option_has_one_name_whoever_refuses_it(live: Live, options: dict[str, Any], field: str) -> None:
    status, problem = await post(live, prompt="Good morning", category="translation", options=options)

    assert (status, problem["field"]) == (422, field)
    assert field.removeprefix("options.") in problem["detail"]


@pytest.mark.parametrize("body", ['{"prompt": "x", "seed": %s}' % ("9" * 5000), "[" * 20_000])
async def test_a_body_that_no_parser_takes_is_told_as_a_problem(live: Live, body: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{live.url}/generate", data=body) as answer:
        problem = await answer.json(content_type=None)

    assert (answer.status, problem["status"]) in [(400, 400), (422, 422)]
    assert "JSON" in problem["detail"]


async def test_whole_numbers_may_have_a_fraction_of_nothing_and_no_other(live: Live, script: Script) -> None:
    status, _ = await post(live, prompt="Hello", category="conversational_chat", max_tokens=3.0, seed=7.0)
    refused, problem = await post(live, prompt="Hello", category="conversational_chat", max_tokens=3.5)

    assert (status, script.asked[0].sampling.max_tokens, script.asked[0].sampling.seed) == (200, 3, 7)
    assert (refused, problem["field"], problem["detail"]) == (
        422,
        "max_tokens",
        "max_tokens is 3.5; it must be a whole number",
    )


async def test_a_translation_with_its_target_is_a_translation(live: Live, script: Script) -> None:
    script.words = ("Guten Morgen",)
    options = {"target": "German", "source": "English"}
    status, document = await post(live, prompt="Translate good morning", options=options)

    assert (status, document["category"], document["text"]) == (200, "translation", "Guten Morgen")


@pytest.mark.parametrize(("body", "status", "field"), [
    ({"prompt": "x", "category": "nothing"}, 404, "category"),
    ({"prompt": "x", "category": "embeddings"}, 404, "category"),
    ({"prompt": "x", "category": "a", "model": "b"}, 422, "model"),
    ({"prompt": "", "category": "conversational_chat"}, 422, "prompt"),
    ({"prompt": "x", "max_tokens": 0}, 422, "max_tokens"),
    ({"prompt": "x", "surprise": 1}, 422, "surprise"),
    ({"prompt": "x", "category": "general_reasoning", "options": {"depht": "brief"}}, 422, "options.depht"),
    ({"prompt": "x", "category": "general_reasoning", "options": {"depth": "deep"}}, 422, "options.depth"),
    ({"prompt": "x", "category": "conversational_chat", "options": {"owner": "root"}}, 422, "options.owner"),
])  # fmt: skip
@pytest.mark.parametrize("path", ["/generate", "/generate/stream"])
async def test_bad_input_is_a_problem_before_anything_is_written(
    live: Live, path: str, body: dict[str, Any], status: int, field: str
) -> None:
    answered, document = await post(live, path, **body)

    assert (answered, document["field"]) == (status, field)


async def test_the_models_are_shown_with_what_they_can_be_told(live: Live) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{live.url}/models") as answer:
        shown = {one["category"]: one for one in (await answer.json())["models"]}

    assert shown["translation"]["options"] == ["target", "source", "register", "texts"]
    assert shown["conversational_chat"]["state"] == "absent"


async def test_a_model_is_shown_with_what_differs_from_its_row(live: Live) -> None:
    key = ModelKey(ModelName("tests/coder"), Precision.FP16)
    facts = RunnerFacts(
        backend="transformers", device="cpu", precision=Precision.FP32, context_tokens=512, memory_bytes=2000,
        constrains=True, embeds=True, fills_in=True, notes=("FP16 is computed as FP32",),
    )  # fmt: skip
    live.registry.enter(key, [Category("code_completion")])
    live.registry.move(key, ModelState.WAITING)
    live.registry.move(key, ModelState.LOADING)
    live.registry.expect(key, backend="transformers", estimated_bytes=1900)
    live.registry.measure(key, facts, load_s=1.5)
    live.registry.move(key, ModelState.LOADED)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{live.url}/models/tests/coder") as answer:
            by_name = await answer.json()
        async with session.get(f"{live.url}/models/Coder") as answer:
            by_title = await answer.json()
        async with session.get(f"{live.url}/models/nobody") as answer:
            missing = answer.status

    assert by_name == by_title
    assert missing == 404
    assert (by_name["state"], by_name["healthy"], by_name["load_s"]) == ("loaded", True, 1.5)
    assert (by_name["estimated_bytes"], by_name["memory_bytes"]) == (1900, 2000)
    assert (by_name["precision"], by_name["computed_precision"]) == ("FP16", "FP32")
    assert by_name["notes"] == ["FP16 is computed as FP32"]


async def test_statistics_tell_engines_and_models_apart(live: Live, script: Script) -> None:
    await post(live, prompt="Hello", category="conversational_chat")
    script.fail_after = 1
    assert (await post(live, prompt="Hello", category="conversational_chat"))[0] == 503
    await post(live, prompt="Hello", category="nobody")
    async with aiohttp.ClientSession() as session, session.get(f"{live.url}/stats") as answer:
        stats = await answer.json()

    chat = stats["engines"]["conversational_chat"]
    assert (chat["count"], chat["errors"], chat["error_rate"], chat["completion_tokens"]) == (2, 1, 0.5, 4)
    assert chat["latency"]["p50_ms"] > 0
    assert stats["models"]["tests/chat-1b"]["count"] == 2
    assert stats["unserved"] == 1


async def test_decision_and_outcome_are_told_behind_the_answer(live: Live, script: Script) -> None:
    told: list[CallRecord] = []
    arrived = asyncio.Event()

    async def listen(records: Sequence[CallRecord]) -> None:
        told.extend(records)
        arrived.set()
        raise ZeroDivisionError("a listener of somebody's")

    live.journal.listen(listen)
    _, document = await post(live, prompt="why?")
    assert told == []
    async with asyncio.timeout(20):
        await arrived.wait()

    record = told[0]
    assert (record.decision.call_id, record.decision.category) == (document["call_id"], "general_reasoning")
    assert (record.outcome.ending, record.outcome.completion_tokens) == (Ending.SUCCEEDED, 4)
    assert record.decision.table_digest == live.serving.digest
    assert record.outcome.first_token_s is not None
