"""The official `mcp` client against a live server that has models: over HTTP, and over standard input by `conductor mcp`.

What the protocol demands is tested in `tests/mcp`; here, what an assistant does with it.
"""

from typing import Any

import anyio
import pytest
from tests.clients.stand import LOCAL, PERSONA, RUNS_MODELS, WHY_NOT, Upstream, at_rest, statistics, under_way
from tests.mcp.test_live import MODES, WAYS
from tests.server.serving import Server

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("mode", "revision"), MODES)
@pytest.mark.parametrize("way", WAYS)
async def test_an_assistant_looks_around_runs_a_task_and_has_a_model_write(
    way: Any, mode: str, revision: str, served: Server
) -> None:
    async with way(served, mode) as client:
        assert client.protocol_version == revision
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == sorted(names)
        assert {"status", "run_task", "generate_text", "generate_conversational_chat", "list_models"} <= set(names)

        status = await client.call_tool("status", {})
        models = await client.call_tool("list_models", {})
        ran = await client.call_tool(
            "run_task", {"description": "say hello", "command": ["echo", "hello"], "wait_s": 60}
        )
        written = await client.call_tool("generate_conversational_chat", {"prompt": "good morning"})
        chosen = await client.call_tool(
            "generate_text", {"prompt": "good morning", "category": "general_reasoning", "max_tokens": 3}
        )

    assert (status.is_error, status.structured_content["status"]) == (False, "ok")
    assert "#steady" in str(models.structured_content)
    assert (ran.is_error, ran.structured_content["outcome"]["stdout_tail"]) == (False, "hello\n")
    assert written.structured_content["text"] == f"({PERSONA}) I heard: good morning"
    assert written.structured_content["category"] == "conversational_chat"
    assert written.content[0].text == written.structured_content["text"]
    assert (chosen.structured_content["finish"], chosen.structured_content["completion_tokens"]) == ("length", 3)


@pytest.mark.parametrize(("mode", "_revision"), MODES)
@pytest.mark.parametrize("way", WAYS)
async def test_whoever_waits_for_a_text_hears_who_writes_and_how_much_and_giving_up_ends_it(
    way: Any, mode: str, _revision: str, served: Server, upstream: Upstream
) -> None:
    told: list[str] = []

    async with way(served, mode) as client, anyio.create_task_group() as work:

        async def hear(progress: float, _total: float | None, message: str | None) -> None:
            told.append(str(message))
            if progress > 0:
                work.cancel_scope.cancel()

        arguments = {"prompt": "fail slow", "category": "general_reasoning"}
        await client.call_tool("generate_text", arguments, progress_callback=hear)

    assert told[0].startswith("Other was asked (general_reasoning: ")
    assert told[1].startswith("Other has written ")
    at_rest(served, upstream)


@pytest.mark.parametrize(("arguments", "code"), [
    ({"prompt": "x", "category": "nonsense"}, "not_found"),
    ({"prompt": "x", "category": "translation"}, "not_found"),
    ({"prompt": "fail 500", "category": "legal_analysis"}, "model.endpoint"),
    ({"prompt": ""}, "input"),
])  # fmt: skip
async def test_what_cannot_be_written_is_told_by_the_tool(served: Server, arguments: Any, code: str) -> None:
    async with WAYS[0](served, "auto") as client:
        told = await client.call_tool("generate_text", arguments)

    assert told.is_error
    assert told.structured_content["code"] == code
    assert under_way(served) == 0


@pytest.mark.skipif(not RUNS_MODELS, reason=WHY_NOT)
async def test_a_model_here_writes_for_an_assistant(served: Server, upstream: Upstream) -> None:
    before = upstream.state()["asked"]
    async with WAYS[0](served, "auto") as client:
        written = await client.call_tool("generate_creative_writing", {"prompt": "The river", "max_tokens": 8})

    assert (written.is_error, written.structured_content["completion_tokens"]) == (False, 8)
    assert upstream.state()["asked"] == before
    backends = {one["backend"] for one in statistics(served)["memory"] if one["state"] == "loaded"}
    assert "transformers" in backends, f"{LOCAL} is loaded"
