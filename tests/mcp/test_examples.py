"""What we send and take against the published schemas and examples of the protocol."""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from tests.mcp.conftest import STATELESS
from tests.mcp.shelf import Shelf, answered

from conductor.faces.mcp.embedded import ConductorServer
from conductor.faces.mcp.headers import era_of_headers, headers_for
from conductor.faces.mcp.protocol import Dispatcher
from conductor.faces.mcp.revision import Era

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "mcp"
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not VECTORS.is_dir(), reason=f"the published schemas and examples are not in {VECTORS}"),
]

#: What a client may send to a server of the stateless era, and the codes an answer may have besides a result.
EXAMPLES = (
    json.loads((VECTORS / "examples-2026-07-28.json").read_text()) if VECTORS.is_dir() else {"Request/absent": {}}
)
REQUESTS = [key for key in EXAMPLES if key.split("/")[0].endswith("Request") and EXAMPLES[key].get("id") is not None]
ERRORS = [key for key in EXAMPLES if key.split("/")[0].endswith("Error")]


@functools.cache
def validator(revision: str, kind: str) -> jsonschema_rs.Validator:
    schema = json.loads((VECTORS / f"schema-{revision}.json").read_text())
    return jsonschema_rs.validator_for({**schema, "$ref": f"#/$defs/{kind}"})


def check(kind: str, value: Any, revision: str = "2026-07-28") -> None:
    validator(revision, kind).validate(value)


@pytest.mark.parametrize("key", REQUESTS)
async def test_every_example_of_a_request_is_understood(key: str) -> None:
    request = EXAMPLES[key]
    check(key.split("/")[0], request)
    if "_meta" not in request.get("params", {}):
        pytest.skip("a request from server to client")

    assert era_of_headers(headers_for(request).items(), request) is Era.STATELESS
    told: list[Any] = []
    answer = await Dispatcher(Shelf()).answer(request, tell=told.append)

    assert answer is not None
    assert answer["id"] == request["id"]
    if "error" in answer:  # the shelf has other tools than the examples
        check("JSONRPCErrorResponse", answer)
        assert answer["error"]["code"] == -32602
    else:
        check("JSONRPCResultResponse", answer)
    assert bool(told) == (request["method"] == "subscriptions/listen")


NOTIFIED = [key for key in EXAMPLES if key.split("/")[0].endswith("Notification")]


@pytest.mark.parametrize("key", NOTIFIED)
async def test_every_example_of_a_notification_is_owed_no_answer(key: str) -> None:
    check(key.split("/")[0], EXAMPLES[key])

    assert await Dispatcher(Shelf()).answer(EXAMPLES[key]) is None


NOTICES = {
    "notifications/progress": "ProgressNotification",
    "notifications/message": "LoggingMessageNotification",
    "notifications/resources/updated": "ResourceUpdatedNotification",
    "notifications/subscriptions/acknowledged": "SubscriptionsAcknowledgedNotification",
}


async def test_what_is_told_amid_a_request_has_the_published_form() -> None:
    told: list[Any] = []
    wanted = {"progressToken": "t", "io.modelcontextprotocol/logLevel": "debug"}
    call = {"name": "count", "_meta": STATELESS | wanted}
    filtered = {"resourceSubscriptions": ["shelf://one", "shelf://none"], "toolsListChanged": True}
    listen = {"notifications": filtered, "_meta": STATELESS}

    for method, params in (("tools/call", call), ("subscriptions/listen", listen)):
        message = {"jsonrpc": "2.0", "id": "a", "method": method, "params": params}
        answer = await Dispatcher(Shelf()).answer(message, tell=told.append)

    for notice in told:
        check(NOTICES[notice["method"]], notice)
        if notice["method"] in ("notifications/progress", "notifications/message"):
            check(NOTICES[notice["method"]], notice, "2025-11-25")
    assert {notice["method"] for notice in told} == set(NOTICES)
    acknowledged = next(notice for notice in told if notice["method"].endswith("acknowledged"))
    assert acknowledged["params"]["notifications"] == {"resourceSubscriptions": ["shelf://one"]}
    assert answer is not None
    check("SubscriptionsListenResultResponse", answer)


@pytest.mark.parametrize("key", ERRORS)
def test_our_errors_have_the_code_and_form_of_the_examples(key: str) -> None:
    example = EXAMPLES[key]
    error = example.get("error", example)
    provoked = {
        "ParseError/invalid-json.json": b"{",
        "MethodNotFoundError/prompts-not-supported.json": _request("nothing/here"),
        "InvalidParamsError/unknown-tool.json": _request("tools/call", name="nobody"),
        "InvalidParamsError/invalid-cursor.json": _request("tools/list", cursor="nonsense"),
        "InvalidParamsError/invalid-tool-arguments.json": _request("tools/call", name="tool_0001", arguments=[]),
        "InternalError/unexpected-error.json": _request("tools/call", name="fail"),
        "UnsupportedProtocolVersionError/unsupported-version.json": _request("tools/list", version="1900-01-01"),
    }.get(key)
    if provoked is None:
        pytest.skip("not an answer that this dispatcher gives by itself")

    told = answered(provoked)

    assert told is not None
    ours = json.loads(told)
    assert ours["error"]["code"] == error["code"]
    check("JSONRPCErrorResponse", ours)
    kind = key.split("/")[0]
    check(kind, ours if "error" in example else ours["error"])


def _request(method: str, *, version: str = "2026-07-28", **params: Any) -> bytes:
    meta = STATELESS | {"io.modelcontextprotocol/protocolVersion": version}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta} | params}).encode()


RESULTS = [
    ("DiscoverResult", "server/discover", {}),
    ("ListToolsResult", "tools/list", {}),
    ("CallToolResult", "tools/call", {"name": "status"}),
    ("CallToolResult", "tools/call", {"name": "get_task"}),
    ("CallToolResult", "tools/call", {"name": "list_nodes"}),
    ("ListResourcesResult", "resources/list", {}),
    ("ListResourceTemplatesResult", "resources/templates/list", {}),
    ("ReadResourceResult", "resources/read", {"uri": "conductor://nodes"}),
    ("ListPromptsResult", "prompts/list", {}),
    ("GetPromptResult", "prompts/get", {"name": "plan_work", "arguments": {"work": "x"}}),
    ("CompleteResult", "completion/complete",
     {"ref": {"type": "ref/prompt", "name": "explain_task"}, "argument": {"name": "task_id", "value": ""}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "method", "params"), RESULTS)
async def test_our_results_have_the_published_form_in_both_eras(
    kind: str, method: str, params: dict[str, Any], embedded: ConductorServer
) -> None:
    for revision, meta in (("2026-07-28", {"_meta": STATELESS}), ("2025-11-25", {})):
        if method == "server/discover" and not meta:
            continue
        message = {"jsonrpc": "2.0", "id": "a", "method": method, "params": meta | params}
        answered = await embedded.handle_mcp_request(json.dumps(message))
        assert answered is not None
        answer = json.loads(answered)
        check("JSONRPCResultResponse", answer, revision)
        check(kind, answer["result"], revision)


async def test_the_handshake_has_the_published_form(embedded: ConductorServer) -> None:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    check("InitializeRequest", request, "2025-11-25")

    answered = await embedded.handle_mcp_request(json.dumps(request))

    assert answered is not None
    check("InitializeResult", json.loads(answered)["result"], "2025-11-25")
