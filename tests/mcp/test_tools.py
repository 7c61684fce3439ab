"""Tools over an installation: their forms, what they answer, and how they refuse."""

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mcp.conftest import Ask

from conductor.app.serving.calls import CallDecision
from conductor.app.serving.open_call import Call
from conductor.app.tool_list import ToolList
from conductor.app.tools.confirmation import Confirmations
from conductor.app.tools.generation import generation_tools
from conductor.app.tools.offered import NoArguments, OfferedTool
from conductor.domain.errors import Conflict, InvalidInput, NotFound
from conductor.domain.generation import Finish, Piece, Usage
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelName, ModelState, Precision, ServedModel
from conductor.faces.mcp.catalogue import ConductorCatalogue
from conductor.serving.engine import Answer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def tools(ask: Ask) -> dict[str, Any]:
    return {tool["name"]: tool for tool in (await ask("tools/list"))["result"]["tools"]}


@pytest.fixture
async def task(call: Ask) -> Any:
    """A task that ran to its end."""
    result = await call("run_task", description="print a word", command=["echo", "hello"], wait_s=60)
    assert not result["isError"], result
    return result["structuredContent"]


async def test_tools_stand_in_the_order_of_their_names_and_describe_themselves(tools: dict[str, Any]) -> None:
    assert list(tools) == sorted(tools)
    for name, tool in tools.items():
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name)
        assert len(tool["description"]) > 5
        for schema in (tool["inputSchema"], tool["outputSchema"]):
            assert schema["type"] == "object"
            jsonschema_rs.meta.validate(schema)


async def test_only_what_changes_something_is_said_to(tools: dict[str, Any]) -> None:
    changing = {name for name, tool in tools.items() if not tool["annotations"]["readOnlyHint"]}

    assert changing == {"ask", "cancel_task", "run_task"}


async def test_a_task_runs_and_its_answer_holds_what_it_printed(task: Any) -> None:
    assert (task["state"], task["outcome"]["stdout_tail"]) == ("succeeded", "hello\n")


CALLS: Sequence[tuple[str, Mapping[str, Any]]] = [
    ("decide", {"description": "transcode a video to h264", "priority": 2}),
    ("explain_decision", {"task_id": "last"}),
    ("generate_text", {"prompt": "hello"}),
    ("get_task", {"task_id": "last"}),
    ("ledger_entries", {"limit": 3}),
    ("ledger_head", {}),
    ("list_models", {}),
    ("list_nodes", {"limit": 1}),
    ("list_tasks", {"state": ["succeeded"], "text": "word", "limit": 1}),
    ("status", {}),
    ("task_receipt", {"task_id": "last", "kind": "decision"}),
    ("verify_ledger", {}),
]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
async def test_an_answer_has_the_form_that_its_tool_promises(
    name: str, arguments: Mapping[str, Any], task: Any, tools: dict[str, Any], call: Ask
) -> None:
    jsonschema_rs.validate(tools[name]["inputSchema"], dict(arguments))

    result = await call(name, **arguments)

    if name == "generate_text":
        assert (result["isError"], result["structuredContent"]["code"]) == (True, "not_found")
        return
    assert not result["isError"], result
    jsonschema_rs.validate(tools[name]["outputSchema"], result["structuredContent"])
    spoken = result["content"][0]["text"]
    if name != "explain_decision":
        assert json.loads(spoken) == result["structuredContent"]


async def test_a_whole_number_may_have_a_fraction_of_nothing(call: Ask) -> None:
    assert not (await call("list_tasks", limit=2.0))["isError"]


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("get_task", {}, "task_id"),
        ("get_task", {"task_id": 5}, "task_id"),
        ("get_task", {"task_id": "no such task"}, "task_id"),
        ("list_tasks", {"limit": 0}, "limit"),
        ("list_tasks", {"limit": 2.5}, "limit"),
        ("list_tasks", {"state": ["asleep"]}, "state.0"),
        ("list_tasks", {"cursor": "\0"}, "cursor"),
        ("run_task", {"description": "x", "command": []}, "command"),
        ("run_task", {"description": "", "command": ["true"]}, "description"),
        ("run_task", {"description": "x", "command": ["true"], "shell": True}, "shell"),
        ("decide", {"description": "x", "priority": 9}, "priority"),
        ("list_nodes", {"cursor": "nobody"}, "cursor"),
        ("ledger_entries", {"start": 10**15}, "start"),
        ("generate_text", {"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ("generate_translation", {"prompt": "x"}, "category"),
    ],
)
async def test_a_refusal_is_a_result_that_names_the_argument(
    name: str, arguments: dict[str, Any], field: str, call: Ask
) -> None:
    result = await call(name, **arguments)

    assert result["isError"]
    assert result["structuredContent"]["field"] == field
    assert result["content"] == [{"type": "text", "text": result["structuredContent"]["message"]}]


async def test_an_unknown_tool_is_an_error_of_the_protocol_that_names_the_nearest(ask: Ask) -> None:
    error = (await ask("tools/call", name="get_tasks", arguments={}))["error"]

    assert error["code"] == -32602
    assert "'get_task'" in error["data"]["message"]


async def test_a_task_is_cancelled_only_with_the_token_of_its_preview(call: Ask) -> None:
    running = await call("run_task", description="sleep for long", command=["sleep", "600"])
    task_id = running["structuredContent"]["task_id"]
    other = await call("run_task", description="sleep for long", command=["sleep", "600"])
    other_id = other["structuredContent"]["task_id"]

    shown = (await call("cancel_task", task_id=task_id))["structuredContent"]
    wrong = await call("cancel_task", task_id=other_id, confirm_token=shown["confirm_token"])
    state = (await call("get_task", task_id=task_id))["structuredContent"]["state"]
    done = (await call("cancel_task", task_id=task_id, confirm_token=shown["confirm_token"]))["structuredContent"]
    again = await call("cancel_task", task_id=task_id, confirm_token=shown["confirm_token"])

    assert (shown["done"], shown["task"]["task_id"]) == (False, task_id)
    assert (wrong["isError"], wrong["structuredContent"]["code"]) == (True, "conflict")
    assert state != "cancelled"
    assert (done["done"], done["task"]["state"]) == (True, "cancelled")
    assert again["isError"]
    token = (await call("cancel_task", task_id=other_id))["structuredContent"]["confirm_token"]
    await call("cancel_task", task_id=other_id, confirm_token=token)


async def test_pages_of_tasks_together_are_all_of_them_newest_first(call: Ask) -> None:
    for number in range(5):
        await call("run_task", description=f"page {number}", command=["true"], wait_s=60)

    seen, cursor = [], {}
    for _ in range(3):
        page = (await call("list_tasks", text="page", limit=2, **cursor))["structuredContent"]
        seen += [task["description"] for task in page["tasks"]]
        cursor = {"cursor": page["next_cursor"]}

    assert seen == [f"page {number}" for number in (4, 3, 2, 1, 0)]
    assert cursor == {"cursor": None}


async def test_secrets_in_addresses_are_masked(call: Ask) -> None:
    command = ["echo", "https://someone:hunter2@example.org/x"]

    told = await call("run_task", description="fetch https://someone:hunter2@example.org/x", command=command)
    listed = await call("list_tasks", text="fetch")

    shown = [told["structuredContent"][name] for name in ("description", "command")]
    assert "hunter2" not in json.dumps([shown, listed])


async def test_what_can_be_listed_as_a_resource_can_be_read(ask: Ask, task: Any) -> None:
    listed = (await ask("resources/list"))["result"]["resources"]

    assert f"conductor://tasks/{task['task_id']}" in [resource["uri"] for resource in listed]
    for resource in listed:
        contents = (await ask("resources/read", uri=resource["uri"]))["result"]["contents"]
        assert [each["uri"] for each in contents] == [resource["uri"]]


@pytest.mark.parametrize(
    "uri",
    ["conductor://decisions/{}", "conductor://receipts/{}", "conductor://tasks/{}", "conductor://ledger/entries/0"],
)
async def test_every_template_leads_somewhere(uri: str, ask: Ask, task: Any) -> None:
    assert (await ask("resources/read", uri=uri.format(task["task_id"])))["result"]["contents"][0]["text"]


@pytest.mark.parametrize(
    "uri", ["", "conductor://", "conductor://tasks/", "conductor://tasks/a/b", "conductor://tasks/%00", "file:///etc/passwd",
            "conductor://ledger/entries/-1", "conductor://ledger/entries/²", "conductor://decisions/none"]
)  # fmt: skip
async def test_an_address_that_leads_nowhere_is_an_error_and_nothing_else(uri: str, ask: Ask) -> None:
    assert (await ask("resources/read", uri=uri))["error"]["code"] == -32602


async def test_every_prompt_can_be_filled_in(ask: Ask, task: Any) -> None:
    for prompt in (await ask("prompts/list"))["result"]["prompts"]:
        given_arguments = {each["name"]: "last" for each in prompt["arguments"]}
        messages = (await ask("prompts/get", name=prompt["name"], arguments=given_arguments))["result"]["messages"]
        assert messages[0]["content"]["type"] == "text"


async def test_a_prompt_without_a_required_argument_is_refused(ask: Ask) -> None:
    assert (await ask("prompts/get", name="plan_work"))["error"]["code"] == -32602


async def test_ids_of_tasks_are_completed(ask: Ask, task: Any) -> None:
    ref, begun = {"type": "ref/resource", "uri": "conductor://tasks/{task_id}"}, task["task_id"][:-2]

    found = (await ask("completion/complete", ref=ref, argument={"name": "task_id", "value": begun}))["result"]

    assert task["task_id"] in found["completion"]["values"]


class Echo:
    """A desk that serves one category and answers with what it was asked."""

    def categories(self) -> Mapping[str, str]:
        return {"translation": "Translate."}

    def models(self) -> Sequence[tuple[ServedModel, ModelState]]:
        name, category = ModelName("echo"), Category("translation")
        row = ServedModel(category=category, title="Echo", name=name, memory_bytes=None, stay_loaded=True,
                          precision=Precision.FP32)  # fmt: skip
        return [(row, ModelState.LOADED)]

    def options_form(self, category: Category) -> JsonObject:
        return {"type": "object", "properties": {"to": {"type": "string", "description": "into which language"}}}

    async def work(
        self, wanted: str, prompt: str, *, options: JsonObject | None = None, said: Mapping[str, Any] | None = None
    ) -> Call[Piece | Answer]:
        decision = CallDecision(call_id="1", asked_for=wanted, category=Category("translation"), model=ModelName("echo"),
                                title="Echo", why="it is the only one", probability=None, table_digest="",
                                decided_at_unix_s=0.0)  # fmt: skip
        return Call(decision, self._parts(prompt, {"options": options or {}, "said": repr(dict(said or {}))}))

    async def _parts(self, prompt: str, facts: JsonObject) -> AsyncGenerator[Piece | Answer, None]:
        for letter in prompt:
            yield Piece(text=letter)
        usage = Usage(prompt_tokens=1, completion_tokens=2)
        yield Answer(text=prompt, facts=facts, notes=("an echo",), finish=Finish.LENGTH, usage=usage)


@pytest.mark.parametrize("arguments", [{}, {"category": "auto"}, {"category": "translation"}])
async def test_a_desk_that_serves_is_asked(arguments: dict[str, Any]) -> None:
    tool = next(tool for tool in generation_tools(Echo()) if tool.name == "generate_text")

    written = await tool.call({"prompt": "hi", "max_tokens": 5, "stop": ["."], "options": {"to": "fr"}} | arguments)

    jsonschema_rs.validate(dict(tool.output_schema), dict(written))
    assert (written["text"], written["model"], written["finish"]) == ("hi", "echo", "length")
    assert written["facts"] == {"options": {"to": "fr"}, "said": repr({"max_tokens": 5, "stop": (".",)})}


async def test_who_writes_and_how_much_is_told_meanwhile() -> None:
    clock, told = iter(range(100)), []
    tool = next(tool for tool in generation_tools(Echo(), lambda: next(clock)) if tool.name == "generate_text")

    await tool.call({"prompt": "abc"}, lambda progress, message, **_: told.append((progress, message)))

    assert told == [
        (0, "Echo was asked (translation: it is the only one)"),
        *((number, f"Echo has written {number} characters") for number in (1, 2, 3)),
    ]


async def test_options_are_described_where_the_engine_knows_them() -> None:
    tools = {tool.name: tool.input_schema["properties"] for tool in generation_tools(Echo())}

    assert tools["generate_translation"]["options"]["properties"] == {
        "to": {"type": "string", "description": "into which language"}
    }
    assert "properties" not in tools["generate_text"]["options"]


async def test_every_tool_that_writes_describes_the_options_of_its_engine(tools: dict[str, Any]) -> None:
    writing = {name: tool for name, tool in tools.items() if name.startswith("generate_") and name != "generate_text"}

    assert len(writing) == 12
    for tool in writing.values():
        options = tool["inputSchema"]["properties"]["options"]
        assert options["properties"]
        assert "$ref" not in json.dumps(options)
        assert not {"owner", "sampling"} & set(options["properties"])
    target = writing["generate_translation"]["inputSchema"]["properties"]["options"]["properties"]["target"]
    assert target["description"].startswith("into which language")


async def test_a_category_that_nobody_serves_is_not_found() -> None:
    tool = next(tool for tool in generation_tools(Echo()) if tool.name == "generate_text")

    with pytest.raises(NotFound, match="translation"):
        await tool.call({"prompt": "hi", "category": "poetry"})


async def test_there_is_a_tool_for_each_category_and_it_checks_what_it_is_given() -> None:
    tools = {tool.name: tool for tool in generation_tools(Echo())}

    assert sorted(tools) == ["generate_text", "generate_translation"]
    assert (await tools["generate_translation"].call({"prompt": "hi"}))["category"] == "translation"
    with pytest.raises(InvalidInput):
        await tools["generate_translation"].call({"prompt": ""})


@given(st.lists(st.text(max_size=5), max_size=3), st.lists(st.text(max_size=5), max_size=3))
def test_a_token_confirms_what_was_shown_and_nothing_else(shown: list[str], asked: list[str]) -> None:
    confirmations = Confirmations(b"0" * 16, lambda: 100.0)
    token = confirmations.issue(*shown)

    confirmations.check(token, *shown)
    if asked != shown:
        with pytest.raises(Conflict):
            confirmations.check(token, *asked)


@given(st.text(max_size=100))
def test_a_token_that_was_never_issued_confirms_nothing(token: str) -> None:
    with pytest.raises(Conflict):
        Confirmations(b"0" * 16, lambda: 0.0).check(token, "it")


def test_a_token_ends_after_ten_minutes_and_with_its_process() -> None:
    now = [0.0]
    confirmations = Confirmations(b"0" * 16, lambda: now[0])
    token = confirmations.issue("it")

    now[0] = 600.0
    confirmations.check(token, "it")
    with pytest.raises(Conflict):
        Confirmations(b"1" * 16, lambda: now[0]).check(token, "it")
    now[0] = 601.0
    with pytest.raises(Conflict):
        confirmations.check(token, "it")


async def test_only_a_call_that_took_too_long_is_said_to_have() -> None:
    async def stumble(_given: NoArguments) -> Mapping[str, Any]:
        raise TimeoutError("the disk did not answer")

    tool = OfferedTool(name="stumble", title="", description="", arguments=NoArguments, answer=dict, act=stumble)
    catalogue = ConductorCatalogue(ToolList([tool]), changes=None)  # type: ignore[arg-type]  # follows nothing here

    with pytest.raises(TimeoutError, match="the disk"):
        await catalogue.call("stumble", {})
