"""The official client against a live server, over HTTP and over standard input, in both eras; and what else may call."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ResourceUpdated
from tests.mcp.conftest import STATELESS
from tests.server.serving import Server, environment, eventually, processes_with

from conductor.app.installation import Installation
from conductor.faces.mcp.headers import headers_for
from conductor.faces.mcp.relay import Relay
from mcp import Client, StdioServerParameters

pytestmark = pytest.mark.anyio

#: How the client begins, and what it then speaks.
MODES = [("auto", "2026-07-28"), ("legacy", "2025-11-25")]


@asynccontextmanager
async def over_http(server: Server, mode: str) -> AsyncIterator[Client]:
    key = {"Authorization": f"Bearer {server.client.key}"}
    async with (
        httpx2.AsyncClient(headers=key, timeout=60) as http,
        Client(streamable_http_client(f"{server.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio(server: Server, mode: str) -> AsyncIterator[Client]:
    arguments = ["-m", "conductor.faces.cli.main", "--data-dir", str(server.data_dir), "mcp"]
    home = server.data_dir.parent
    parameters = StdioServerParameters(command=sys.executable, args=arguments, env=environment(home), cwd=home)
    async with Client(parameters, mode=mode, read_timeout_seconds=60) as client:
        yield client


WAYS = [over_http, over_stdio]


@pytest.mark.parametrize(("mode", "revision"), MODES)
@pytest.mark.parametrize("way", WAYS)
async def test_the_official_client_uses_everything(way: Any, mode: str, revision: str, served: Server) -> None:
    async with way(served, mode) as client:
        assert client.protocol_version == revision
        assert client.server_info.name == "conductor"

        tools = {tool.name for tool in (await client.list_tools()).tools}
        ran = await client.call_tool(
            "run_task", {"description": "say hello", "command": ["echo", "hello"], "wait_s": 60}
        )
        task_id = ran.structured_content["task_id"]
        refused = await client.call_tool("get_task", {"task_id": "nobody"})
        templates = (await client.list_resource_templates()).resource_templates
        task = await client.read_resource(f"conductor://tasks/{task_id}")
        prompt = await client.get_prompt("explain_task", {"task_id": task_id})

    assert {"run_task", "decide", "generate_text"} <= tools
    assert (ran.is_error, ran.structured_content["outcome"]["stdout_tail"]) == (False, "hello\n")
    assert (refused.is_error, refused.structured_content["code"]) == (True, "not_found")
    assert len(templates) == 4
    assert json.loads(task.contents[0].text)["state"] == "succeeded"
    assert task_id in prompt.messages[0].content.text


@pytest.mark.parametrize(("mode", "revision"), MODES)
@pytest.mark.parametrize("way", WAYS)
async def test_whoever_waits_for_a_task_hears_how_it_stands(way: Any, mode: str, revision: str, served: Server) -> None:
    told: list[tuple[float, str | None]] = []

    async def hear(progress: float, _total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with way(served, mode) as client:
        ran = await client.call_tool(
            "run_task",
            {"description": "count sheep", "command": ["sleep", "1.5"], "wait_s": 60},
            progress_callback=hear,
        )

    assert ran.structured_content["state"] == "succeeded"
    assert len(told) >= 2
    assert [progress for progress, _ in told] == sorted({progress for progress, _ in told})
    assert all(ran.structured_content["task_id"] in str(message) for _, message in told)


@pytest.mark.parametrize("way", WAYS)
async def test_whoever_follows_a_task_hears_of_its_end(way: Any, served: Server) -> None:
    async with way(served, "auto") as client:
        work = {"description": "wait a little", "command": ["sleep", "1"]}
        task_id = (await client.call_tool("run_task", work)).structured_content["task_id"]
        uri, states = f"conductor://tasks/{task_id}", []
        async with client.listen(resource_subscriptions=[uri, "conductor://tasks/nobody"]) as followed:
            honored = followed.honored
            async for event in followed:
                assert event == ResourceUpdated(uri=uri)
                states.append(json.loads((await client.read_resource(uri)).contents[0].text)["state"])

    assert honored.resource_subscriptions == [uri]
    assert states[-1] == "succeeded"


def post(server: Server, message: Any, *, key: bool = True, **headers: str) -> Any:
    client = server.client if key else server.stranger
    given = {"Accept": "application/json, text/event-stream"} | headers_for(message)
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/mcp", message, headers=given)


def a_request(method: str = "tools/call", **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 4, "method": method, "params": {"_meta": STATELESS} | params}


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        (a_request(name="status"), 200, None),
        (a_request("ping"), 404, -32601),
        (a_request(name="nobody"), 400, -32602),
        (a_request("resources/read", uri="conductor://none"), 400, -32602),
        ({"jsonrpc": "2.0", "id": 4, "method": "nothing"}, 200, -32601),
        ([a_request()], 400, -32600),
        ({"jsonrpc": "2.0", "method": "notifications/initialized"}, 202, None),
    ],
)
async def test_the_status_of_an_answer_is_that_of_its_error(
    message: Any, status: int, code: int | None, served: Server
) -> None:
    answer = post(served, message)

    assert answer.status == status
    assert "mcp-session-id" not in answer.headers
    if status == 202:
        assert answer.body == b""
    else:
        assert answer.json.get("error", {}).get("code") == code


async def test_a_revision_that_is_not_served_is_refused_with_those_that_are(served: Server) -> None:
    answer = post(served, a_message("ping"), mcp_protocol_version="1999-01-01")

    assert (answer.status, answer.json["error"]["code"]) == (400, -32022)
    assert {"2026-07-28", "2025-11-25"} <= set(answer.json["error"]["data"]["supported"])


async def test_what_stands_before_it_refuses_in_the_words_of_the_protocol(served: Server) -> None:
    large = served.client.request("POST", "/mcp", body=b" " * 9_000_000, headers={"Content-Type": "application/json"})
    stranger = post(served, a_request(name="status"), key=False)
    host = post(served, a_request(name="status"), Host="elsewhere.example")

    assert [answer.status for answer in (large, stranger, host)] == [413, 401, 421]
    assert "www-authenticate" in stranger.headers
    for answer in (large, stranger, host):
        assert (answer.json["jsonrpc"], answer.json["error"]["code"], "id" in answer.json) == ("2.0", -32600, False)


async def test_two_hundred_sessions_that_are_begun_and_left_take_nothing(served: Server) -> None:
    key = {"Authorization": f"Bearer {served.client.key}", "Accept": "application/json, text/event-stream"}
    handshake = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    work = {"description": "sleep", "command": ["sleep", "0.1"], "wait_s": 30}
    call = {"name": "run_task", "arguments": work, "_meta": {"progressToken": 1}}

    async def begin_and_leave(*, amid_a_call: bool) -> None:
        async with httpx2.AsyncClient(headers=key, timeout=60, base_url=served.url) as http:
            begun = await http.post("/mcp", json=a_message("initialize", **handshake))
            session = {"Mcp-Session-Id": begun.headers["mcp-session-id"]}
            await http.post("/mcp", json=a_message("logging/setLevel", level="debug"), headers=session)
            if amid_a_call:
                async with http.stream("POST", "/mcp", json=a_message("tools/call", **call), headers=session) as told:
                    async for _ in told.aiter_lines():
                        break

    await begin_and_leave(amid_a_call=True)
    before = _open_files(served)
    for number in range(200):
        await begin_and_leave(amid_a_call=number % 20 == 0)

    eventually(lambda: _open_files(served) <= before + 2, "connections are closed")


def a_message(method: str, **params: Any) -> dict[str, Any]:
    """A request of the handshake era."""
    return {"jsonrpc": "2.0", "id": 4, "method": method, "params": params}


def _open_files(server: Server) -> int:
    assert server.process is not None
    return psutil.Process(server.process.pid).num_fds()


async def test_headers_must_say_what_the_body_says(served: Server) -> None:
    answer = post(served, a_request(name="status"), mcp_name="other")

    assert (answer.status, answer.json["error"]["code"], answer.json["id"]) == (400, -32020, 4)


async def test_the_gate_stands_before_it(served: Server) -> None:
    assert post(served, a_request(name="status"), key=False).status == 401
    assert post(served, a_request(name="status"), Origin="https://elsewhere.example").status == 403
    assert post(served, a_request(name="status"), Host="elsewhere.example").status == 421


async def test_there_is_nothing_to_get_or_delete(served: Server) -> None:
    for method in ("GET", "DELETE"):
        answer = served.client.request(method, "/mcp")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_a_session_id_from_elsewhere_is_ignored(served: Server) -> None:
    assert post(served, a_request(name="status"), mcp_session_id="abc").status == 200


async def test_two_thousand_calls_leave_nothing_in_the_server(served: Server) -> None:
    key = {"Authorization": f"Bearer {served.client.key}", "Accept": "application/json, text/event-stream"}
    message = a_request("tools/call", name="status", arguments={})
    async with httpx2.AsyncClient(headers=key | headers_for(message), timeout=60) as http:

        async def calls(count: int) -> None:
            for _ in range(count):
                assert (await http.post(f"{served.url}/mcp", json=message)).status_code == 200

        async def burst(count: int) -> int:
            async with asyncio.TaskGroup() as clients:
                for _ in range(10):
                    clients.create_task(calls(count // 10))
            return _resident_kib(served)

        await burst(500)
        before = await burst(500)
        grown = await burst(2000) - before

    assert grown < 4096, f"{grown} KiB more after 2,000 calls"


async def unheard(_notice: bytes) -> None:
    """For those who ask for no notices."""


def _resident_kib(server: Server) -> int:
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


async def test_without_a_server_one_is_started_and_ends_with_the_relay(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    installation = Installation.find(data_dir=tmp_path / "data", environ=environ)
    relay = Relay(installation)
    message = a_request(name="status")
    try:
        answered = await relay.answer(message, json.dumps(message).encode(), unheard)
        running = installation.running_server()
    finally:
        await relay.close()

    assert answered is not None
    assert json.loads(answered)["result"]["structuredContent"]["status"] == "ok"
    assert running is not None
    assert processes_with(str(tmp_path / "data")) == []


async def test_a_server_that_was_replaced_meanwhile_is_found_again(tmp_path: Path) -> None:
    first = Server(tmp_path / "data").start()
    relay = Relay(Installation.find(data_dir=tmp_path / "data", environ={}))
    message = a_request(name="status")
    raw = json.dumps(message).encode()
    try:
        before = await relay.answer(message, raw, unheard)
        first.kill()
        first.start()
        after = await relay.answer(message, raw, unheard)
    finally:
        await relay.close()
        first.kill()

    assert before is not None
    assert after is not None
    assert "result" in json.loads(after)


async def test_nothing_but_protocol_is_printed(served: Server) -> None:
    command = [sys.executable, "-m", "conductor.faces.mcp", "--data-dir", str(served.data_dir)]
    said = [
        a_request(name="status"),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        a_request("none") | {"id": 5},
    ]
    lines = b"".join(json.dumps(message).encode() + b"\n" for message in said) + b"garbage\n"

    ended = subprocess.run(
        command, input=lines, capture_output=True, env=environment(served.data_dir.parent), timeout=60
    )

    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0
    assert sorted(str(answer.get("id")) for answer in answers) == ["4", "5", "None"]
    assert ended.stderr == b""
