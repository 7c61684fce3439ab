"""Every call to a model is counted, kept and traced, whichever way it took: in statistics, metrics, ledger and log."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.terminal import Terminal
from tests.clients.conftest import MakeServer
from tests.clients.stand import LOCAL, RUNS_MODELS, WHY_NOT, Upstream, page, save
from tests.server.serving import Server, eventually

from openai import OpenAI

UNLUCKY = "A model with a very long title, of which there are several editions"


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("accounts") / "data", ("--log-level", "debug"))
    rows = [
        ("Conversational Chat", "Steady", upstream.model("steady")),
        ("General Reasoning", "Steady", upstream.model("steady")),
        ("Legal Analysis", UNLUCKY, upstream.model("unlucky")),
        ("Summarization", "Silent", upstream.model("silent")),
    ]
    save(server, page(*rows))
    yield server.start()
    server.kill()


@pytest.fixture
def terminal(server: Server) -> Terminal:
    return Terminal(data_dir=server.data_dir, here=server.data_dir.parent)


def chat(server: Server, model: str, words: str, *, trace: int = 1, **fields: Any) -> int:
    asked = {"model": model, "messages": [{"role": "user", "content": words}], **fields}
    headers = {"traceparent": f"00-{trace:032x}-{1:016x}-01"}
    return server.client.post("/v1/chat/completions", asked, headers=headers).status


def lines(log: Path, trace: int) -> dict[str, Any]:
    """What the log says under a trace, by event; the last of each."""
    found = [json.loads(line) for line in log.read_text().splitlines() if f'"{trace:032x}"' in line]
    return {one["event"]: one for one in found}


def ledger(server: Server, kind: str) -> list[Any]:
    entries = server.client.get("/v1/ledger/entries?limit=1000").expect(200)["entries"]
    return [entry for entry in entries if entry["kind"] == kind]


def test_before_anything_was_asked_the_command_says_how_to_ask(terminal: Terminal) -> None:
    said = terminal.conductor("models", "stats")

    assert (said.code, "No language model was asked since the server started" in said.out) == (0, True)


def test_a_relayed_call_is_in_statistics_metrics_ledger_and_log_under_the_clients_trace(
    server: Server, upstream: Upstream
) -> None:
    assert chat(server, "Steady", "one two three", trace=0xABC) == 200
    name = upstream.model("steady")

    tally = server.client.get("/stats").expect(200)["models"][name]
    assert (tally["count"], tally["running"], tally["success_rate"]) == (1, 0, 1.0)
    assert tally["completion_tokens"] > 0
    wanted = f'conductor_generations_total{{category="conversational_chat",ending="succeeded",model="{name}"}} 1.0'
    eventually(lambda: wanted in server.client.get("/metrics").body.decode(), "Prometheus sees it")
    (entry,) = eventually(lambda: ledger(server, "generation"), "it is on the ledger")
    assert entry["subject"].startswith(f"{0xABC:032x}-")
    assert (entry["body"]["model"], entry["body"]["ending"], entry["body"]["asked_for"]) == (
        name,
        "succeeded",
        "Steady",
    )
    line = lines(server.log, 0xABC)["relayed"]
    assert (line["category"], line["ending"]) == ("conversational_chat", "succeeded")
    assert line["completion_tokens"] == tally["completion_tokens"]
    assert line["duration_ms"] >= 0
    assert line["upstream"] == name


def test_a_stream_tells_when_its_first_piece_came(server: Server, upstream: Upstream) -> None:
    assert chat(server, "Steady", "one two", trace=0xDEF, stream=True) == 200

    line = eventually(lambda: lines(server.log, 0xDEF).get("relayed"), "it is in the log")
    assert 0 <= line["first_token_ms"] <= line["duration_ms"]


def test_a_call_to_an_engine_has_the_clients_trace_in_every_line(server: Server) -> None:
    asked = {"prompt": "hello", "category": "general_reasoning"}
    headers = {"traceparent": f"00-{0x123:032x}-{1:016x}-01"}
    assert server.client.post("/generate", asked, headers=headers).status == 200

    found = lines(server.log, 0x123)
    assert found["request"]["path"] == "/generate"
    assert found["generated"]["span_id"] == found["request"]["span_id"]
    assert {"model", "category", "ending", "prompt_tokens", "completion_tokens", "duration_ms"} <= found[
        "generated"
    ].keys()


def test_a_model_that_fails_is_failing_in_list_health_and_statistics(
    server: Server, upstream: Upstream, terminal: Terminal
) -> None:
    assert {chat(server, UNLUCKY, "fail 500") for _ in range(6)} <= {500, 502, 503, 429}

    told = "6 of its last 6 calls failed"
    rows = {row["category"]: row for row in server.client.get("/models").expect(200)["models"]}
    assert told in rows["legal_analysis"]["failing"]
    assert (rows["legal_analysis"]["healthy"], rows["conversational_chat"]["failing"]) == (False, "")
    assert any(told in problem for problem in server.client.get("/health").expect(200)["problems"])
    listed, shown = terminal.conductor("models", "list"), terminal.conductor("models", "stats")
    for said in (listed, shown):
        assert told in " ".join(said.out.split())
        assert max(map(len, said.out.splitlines())) <= terminal.columns
    (row,) = [line for line in shown.out.splitlines() if line.startswith("Steady")]
    assert "100 %" in row
    document = terminal.conductor("models", "stats", "--json").json()
    assert document["models"][upstream.model("unlucky")]["success_rate"] == 0.0


def test_under_load_calls_are_summed_and_all_of_them_are_on_the_ledger_when_the_server_stops(
    make_server: MakeServer, upstream: Upstream
) -> None:
    server = make_server(page(("Conversational Chat", "Steady", upstream.model("steady"))), serving__requests_per_s=1e6)
    server.start()
    for number in range(150):
        assert chat(server, "Steady", "hello", trace=number + 1) == 200
    server.stop()
    server.start()

    alone, sums = ledger(server, "generation"), ledger(server, "generations")
    assert len(alone) + sum(entry["body"]["calls"] for entry in sums) == 150
    assert len(alone) >= 100


@pytest.mark.skipif(not RUNS_MODELS, reason=WHY_NOT)
def test_what_the_engine_process_says_of_an_answer_is_in_the_log_under_its_trace(
    make_server: MakeServer, local_folder: Path
) -> None:
    server = make_server(page(("Conversational Chat", LOCAL, str(local_folder))), "--log-level", "debug").start()
    asked = {"prompt": "hello", "category": "conversational_chat", "max_tokens": 4}
    headers = {"traceparent": f"00-{0x456:032x}-{1:016x}-01"}
    assert server.client.post("/generate", asked, headers=headers).status == 200

    found = eventually(lambda: (now := lines(server.log, 0x456)) and "computed" in now and now, "the engine's line")
    assert found["computed"]["completion_tokens"] == found["generated"]["completion_tokens"] == 4
    eventually((server.data_dir / "learned" / "memory.json").exists, "what the load took is kept")


def test_the_lines_of_a_batch_have_one_trace_and_name_the_batch(server: Server) -> None:
    body = {"model": "general_reasoning", "messages": [{"role": "user", "content": "hello"}]}
    requests = [
        {"custom_id": f"line {number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for number in range(2)
    ]
    with OpenAI(base_url=f"{server.url}/v1", api_key=server.client.key or "", max_retries=0, timeout=60) as client:
        content = "\n".join(map(json.dumps, requests)).encode()
        sent = client.files.create(file=("in.jsonl", content), purpose="batch")
        batch = client.batches.create(input_file_id=sent.id, endpoint="/v1/chat/completions", completion_window="24h")
        eventually(lambda: client.batches.retrieve(batch.id).status == "completed", "the batch ends")

    told = [json.loads(line) for line in server.log.read_text().splitlines() if f'"{batch.id}"' in line]
    events = sorted(one["event"] for one in told if one["logger"].startswith("conductor.app.serving"))
    assert events == ["batch_ended", "generated", "generated"]
    assert len({one["trace_id"] for one in told}) == 1
