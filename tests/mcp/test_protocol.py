"""The protocol without transport and without an installation: eras, errors, ids, cursors."""

import gc
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mcp.conftest import STATELESS
from tests.mcp.shelf import Shelf, answered

from conductor.faces.mcp.protocol import Dispatcher

pytestmark = pytest.mark.anyio

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=8), part, max_size=4),
    max_leaves=12,
)
METHODS = st.sampled_from(
    [
        *("initialize", "ping", "server/discover", "tools/list", "tools/call", "resources/list", "resources/read"),
        *("resources/templates/list", "prompts/list", "prompts/get", "completion/complete", "subscriptions/listen"),
        "notifications/cancelled",
    ]
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "_meta": st.just(STATELESS) | JSON,
        "name": st.sampled_from(["tool_0001", "fail", "greet"]) | JSON,
        "arguments": JSON,
        "cursor": JSON,
        "uri": st.just("shelf://one") | JSON,
        "protocolVersion": st.just("2025-11-25") | JSON,
        "ref": JSON,
        "argument": st.fixed_dictionaries({"name": JSON, "value": JSON}) | JSON,
    },
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.integers(0, 9) | st.text() | JSON,
        "method": METHODS | JSON,
        "params": PARAMS | JSON,
        "result": JSON,
    },
)


async def ask(method: str, *, stateless: bool = True, shelf: Shelf | None = None, **params: Any) -> Any:
    """The answer of a shelf to one request."""
    given_params = {"_meta": STATELESS} | params if stateless else params
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": given_params}
    return await Dispatcher(shelf or Shelf()).answer(message)


async def error_of(method: str, **params: Any) -> Any:
    return (await ask(method, **params))["error"]


async def test_a_stateless_result_says_that_it_is_complete_and_who_answers() -> None:
    assert await ask("tools/call", name="tool_0001", arguments={"a": 1}) == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {
            "resultType": "complete",
            "content": [{"type": "text", "text": "{'a': 1}"}],
            "isError": False,
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "shelf", "version": "1"}},
        },
    }


async def test_a_result_after_a_handshake_has_none_of_the_later_members() -> None:
    assert (await ask("resources/read", stateless=False, uri="shelf://one"))["result"] == {
        "contents": [{"uri": "shelf://one", "text": "one"}]
    }


async def test_what_may_be_kept_says_how_long_and_by_whom() -> None:
    for method in ("server/discover", "tools/list", "resources/list", "resources/templates/list", "prompts/list"):
        result = (await ask(method))["result"]
        assert (result["cacheScope"], type(result["ttlMs"])) == ("private", int)
    assert (await ask("resources/read", uri="shelf://one"))["result"]["ttlMs"] == 7


@pytest.mark.parametrize(
    ("asked", "agreed"), [("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25")]
)
async def test_a_handshake_agrees_on_the_revision_asked_for_or_the_newest_with_a_handshake(
    asked: str, agreed: str
) -> None:
    answer = await ask("initialize", stateless=False, protocolVersion=asked, capabilities={}, clientInfo={})

    assert answer["result"]["protocolVersion"] == agreed


async def test_a_handshake_is_no_method_of_the_stateless_era_and_discovery_none_of_the_other() -> None:
    assert (await ask("ping"))["error"]["code"] == -32601
    assert (await ask("ping", stateless=False))["result"] == {}
    assert (await ask("server/discover", stateless=False))["error"]["code"] == -32602


@pytest.mark.parametrize(
    "missing", ["io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"]
)
async def test_a_stateless_request_without_what_each_must_say_has_invalid_parameters(missing: str) -> None:
    meta = {name: value for name, value in STATELESS.items() if name != missing}

    assert (await error_of("server/discover", _meta=meta))["code"] == -32602


async def test_a_revision_that_is_not_served_is_refused_with_those_that_are() -> None:
    error = await error_of("tools/list", _meta=STATELESS | {"io.modelcontextprotocol/protocolVersion": "1900-01-01"})

    assert error["code"] == -32022
    assert error["data"]["requested"] == "1900-01-01"
    assert {"2026-07-28", "2025-11-25"} <= set(error["data"]["supported"])


async def test_an_unknown_resource_has_the_code_of_the_era() -> None:
    assert (await error_of("resources/read", uri="shelf://two"))["code"] == -32602
    assert (await ask("resources/read", stateless=False, uri="shelf://two"))["error"]["code"] == -32002


async def test_an_error_that_nobody_foresaw_tells_nothing_of_its_inside() -> None:
    error = await error_of("tools/call", name="fail")

    assert error["code"] == -32603
    assert "secret" not in json.dumps(error)


async def test_pages_of_tools_together_are_the_whole_list_in_order() -> None:
    shelf, names, cursor = Shelf(tools=250), [], {}
    for _ in range(3):
        result = (await ask("tools/list", shelf=shelf, **cursor))["result"]
        names += [tool["name"] for tool in result["tools"]]
        cursor = {"cursor": result.get("nextCursor")}

    assert names == [f"tool_{index:04}" for index in range(250)]
    assert cursor == {"cursor": None}


@pytest.mark.parametrize("cursor", ["", "nonsense", "!", 5, "dG9vbHMKbm9uZQ==", "cHJvbXB0cwpncmVldA==", "\ud800", "é"])
async def test_a_cursor_that_was_never_given_out_is_invalid(cursor: Any) -> None:
    assert (await error_of("tools/list", cursor=cursor))["code"] == -32602


async def test_completions_are_at_most_a_hundred_and_say_that_there_are_more() -> None:
    ref, argument = {"type": "ref/prompt", "name": "greet"}, {"name": "who", "value": "x"}

    found = (await ask("completion/complete", ref=ref, argument=argument))["result"]["completion"]

    assert (len(found["values"]), found["total"], found["hasMore"]) == (100, 150, True)


@pytest.mark.parametrize("message", [[], 5, None, "text", {}, {"jsonrpc": "2.0"}, {"jsonrpc": "1.0", "method": "ping"},
                                     {"jsonrpc": "2.0", "id": None, "method": "ping"},
                                     {"jsonrpc": "2.0", "id": True, "method": "ping"},
                                     {"jsonrpc": "2.0", "id": 1.5, "method": "ping"}])  # fmt: skip
async def test_what_is_no_request_is_refused_without_an_id(message: Any) -> None:
    answer = await Dispatcher(Shelf()).answer(message)

    assert answer is not None
    assert (answer["error"]["code"], "id" in answer) == (-32600, False)


async def test_notifications_and_answers_are_owed_no_answer() -> None:
    dispatcher = Dispatcher(Shelf())

    assert await dispatcher.answer({"jsonrpc": "2.0", "method": "notifications/initialized"}) is None
    assert await dispatcher.answer({"jsonrpc": "2.0", "id": 3, "result": {}}) is None


@given(message=MESSAGES | JSON)
def test_whatever_is_sent_is_answered_as_the_protocol_says_and_never_with_an_id_of_null(message: Any) -> None:
    _check_answered(json.dumps(message))


@given(
    text=st.binary(max_size=200) | st.text(max_size=200) | st.sampled_from(["[" * 5000, '{"a":' * 5000, "1e999", "NaN"])
)
def test_whatever_bytes_are_sent_are_answered_as_the_protocol_says(text: bytes | str) -> None:
    _check_answered(text)


def _check_answered(text: bytes | str) -> None:
    told = answered(text)
    if told is None:
        return
    answer = json.loads(told)
    assert b"\n" not in told
    assert answer["jsonrpc"] == "2.0"
    assert ("result" in answer) != ("error" in answer)
    assert answer.get("id", 0) is not None
    if "error" in answer:
        assert answer["error"]["code"] in {-32700, -32600, -32601, -32602, -32603, -32002, -32022}


async def test_thousands_of_calls_leave_nothing_behind() -> None:
    dispatcher = Dispatcher(Shelf())

    async def burst() -> int:
        for number in range(1000):
            message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "tool_0001"}}
            await dispatcher.answer(message | {"params": {"name": "tool_0001", "_meta": STATELESS}})
            await dispatcher.answer(message | {"params": {"name": "nobody"}})
        gc.collect()
        return len(gc.get_objects())

    await burst()
    before = await burst()

    assert await burst() - before < 50
