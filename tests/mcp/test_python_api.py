"""`ConductorServer`: MCP as a function of JSON text."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conductor import ConductorServer
from conductor.domain.errors import Conflict

pytestmark = pytest.mark.anyio


async def test_a_request_without_version_or_handshake_is_answered(tmp_path: Path) -> None:
    server = ConductorServer(tmp_path / "data")
    await server.initialize()
    await server.initialize()
    arguments = {"prompt": "Hello world", "category": "conversational_chat"}
    request = {"id": "1", "method": "tools/call", "params": {"name": "generate_text", "arguments": arguments}}
    try:
        answered = await server.handle_mcp_request(json.dumps(request))
        nothing = await server.handle_mcp_request('{"method": "notifications/initialized"}')
    finally:
        await server.close()

    assert answered is not None
    assert json.loads(answered)["id"] == "1"
    assert json.loads(answered)["result"]["structuredContent"]["code"] == "not_found"
    assert nothing is None


async def test_what_a_request_asks_to_hear_comes_before_its_answer(tmp_path: Path) -> None:
    heard: list[str] = []
    arguments = {"description": "say hello", "command": ["echo", "hello"], "wait_s": 60}
    params = {"name": "run_task", "arguments": arguments, "_meta": {"progressToken": "p"}}
    async with ConductorServer(tmp_path / "data") as server:
        await server.handle_mcp_request('{"id": 1, "method": "logging/setLevel", "params": {"level": "info"}}')
        request = {"id": 2, "method": "tools/call", "params": params}
        answered = await server.handle_mcp_request(json.dumps(request), hear=heard.append)

    assert answered is not None
    assert json.loads(answered)["result"]["structuredContent"]["state"] == "succeeded"
    notices = [json.loads(notice) for notice in heard]
    assert {notice["method"] for notice in notices} == {"notifications/progress", "notifications/message"}


async def test_a_server_that_was_not_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="initialize"):
        await ConductorServer(tmp_path / "data").handle_mcp_request("{}")


def test_importing_the_package_loads_nothing_of_it() -> None:
    looked = "import sys, conductor; print([name for name in sys.modules if name.startswith('conductor.')])"

    said = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, check=True, timeout=60)

    assert said.stdout == "[]\n"
