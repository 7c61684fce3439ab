"""What is certain to come out the same again is asked of a model once, and callers can say otherwise."""

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.clients.conftest import MakeServer
from tests.clients.stand import Upstream, page, save
from tests.server.serving import PATIENCE_S, Server, eventually


class Counted:
    """A server, and how often its upstream was asked since the last look."""

    def __init__(self, server: Server, upstream: Upstream) -> None:
        self.server, self._upstream = server, upstream
        self._seen = upstream.state()["asked"]

    def asked(self) -> int:
        before, self._seen = self._seen, self._upstream.state()["asked"]
        return int(self._seen - before)

    def post(self, path: str, document: Any, **headers: str) -> tuple[Any, str]:
        """The document, and what the answer says of the cache."""
        answer = self.server.client.post(path, document, headers=headers)
        return answer.expect(200), answer.headers["x-conductor-cache"]

    def chat(self, text: str, *, temperature: float = 0, **fields: Any) -> tuple[Any, str]:
        """Of `auto`, as what is named would be passed on unread."""
        messages = [{"role": "user", "content": text}]
        return self.post(
            "/v1/chat/completions", {"model": "auto", "messages": messages, "temperature": temperature} | fields
        )

    def generate(self, prompt: str, cache_control: str = "", **fields: Any) -> tuple[Any, str]:
        asked = {"prompt": prompt, "category": "conversational_chat", "temperature": 0.0} | fields
        return self.post("/generate", asked, **{"Cache-Control": cache_control})


def _rows(upstream: Upstream) -> list[tuple[str, str, str]]:
    return [
        ("Conversational Chat", "Steady", upstream.model("steady")),
        ("Embeddings", "Vectors", upstream.model("vectors")),
    ]


@pytest.fixture
def counted(make_server: MakeServer, upstream: Upstream) -> Counted:
    return Counted(make_server(page(*_rows(upstream))).start(), upstream)


def test_the_second_of_two_equal_chats_asks_nobody_and_says_so(counted: Counted) -> None:
    first, told = counted.chat("what is new?")
    assert (told, counted.asked()) == ("miss", 1)
    second, told = counted.chat("what is new?")
    assert (told, counted.asked()) == ("hit", 0)
    assert second["choices"] == first["choices"]
    assert second["id"] != first["id"]
    usage = second["usage"]
    assert usage["prompt_tokens"] == first["usage"]["prompt_tokens"] > 0
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"]


def test_what_is_drawn_by_chance_and_several_answers_are_asked_anew(counted: Counted) -> None:
    for _ in range(2):
        assert counted.chat("what is new?", temperature=0.7)[1] == "bypass"
        assert counted.chat("what is new?", n=2)[1] == "bypass"
    assert counted.asked() == 6


def test_tools_and_forms_are_part_of_what_is_asked(counted: Counted) -> None:
    def tool(name: str) -> list[Any]:
        return [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}]

    def form(*names: str) -> Any:
        schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": [*names]}
        return {"type": "json_schema", "json_schema": {"name": "form", "schema": schema | {}}}

    told = [
        counted.chat("a word", tools=tool("one"))[1],
        counted.chat("a word", tools=tool("one"))[1],
        counted.chat("a word", tools=tool("other"))[1],
        counted.chat("a word", response_format=form("a", "b"))[1],
        counted.chat("a word", response_format=form("a", "b"))[1],
        counted.chat("a word", response_format=form("b", "a"))[1],
    ]
    assert told == ["miss", "hit", "miss", "miss", "hit", "miss"]
    assert counted.asked() == 4


def test_an_engine_gives_its_whole_answer_again_but_none_of_a_conversation(counted: Counted) -> None:
    first, told = counted.generate("hello there")
    assert told == "miss"
    assert counted.asked() > 0
    second, told = counted.generate("hello there")
    assert (told, counted.asked()) == ("hit", 0)
    changed = {"call_id": second["call_id"], "usage": second["usage"]}
    assert second == first | changed
    assert second["usage"]["cached_tokens"] == first["usage"]["prompt_tokens"]
    for _ in range(2):
        assert counted.generate("hello there", options={"remember": True})[1] == "bypass"
        assert counted.asked() > 0


def test_callers_can_ask_anew_and_have_nothing_kept(counted: Counted) -> None:
    for cache_control, expected in (
        ("no-store", "bypass"),
        ("", "miss"),
        ("max-age=0, No-Cache", "bypass"),
        ("", "hit"),
    ):
        assert counted.generate("not for others", cache_control)[1] == expected
        assert (counted.asked() > 0) is (expected != "hit")
    counted.generate("anew", "no-cache")
    assert counted.generate("anew")[1] == "hit"


def test_a_stream_is_replayed_piece_by_piece_with_its_age(counted: Counted) -> None:
    asked = {"model": "auto", "messages": [{"role": "user", "content": "one two three"}], "temperature": 0}
    streams = [counted.server.client.post("/v1/chat/completions", asked | {"stream": True}) for _ in range(2)]
    assert [stream.headers["x-conductor-cache"] for stream in streams] == ["miss", "hit"]
    assert int(streams[1].headers["age"]) >= 0
    assert "age" not in streams[0].headers
    deltas = [
        [json.loads(line[6:])["choices"] for line in stream.body.split(b"\n") if line.startswith(b"data: {")]
        for stream in streams
    ]
    assert deltas[0] == deltas[1]
    assert len(deltas[1]) > 3
    assert streams[1].body.endswith(b"data: [DONE]\n\n")
    assert counted.chat("one two three")[1] == "hit", "a whole answer is made of the same pieces"
    assert counted.asked() == 1


def test_an_answer_whose_caller_left_and_one_that_failed_are_not_kept(counted: Counted) -> None:
    client = counted.server.client
    parts = urlsplit(client.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
    body = json.dumps({"prompt": "fail slow", "category": "conversational_chat", "temperature": 0.0})
    headers = {"Authorization": f"Bearer {client.key}", "Content-Type": "application/json"}
    connection.request("POST", "/generate/stream", body, headers)
    assert connection.getresponse().read(10)
    connection.close()
    eventually(lambda: _tally(counted)["cancelled"] == 1, "the server noticed that its caller left")
    client.post("/generate", {"prompt": "fail 500", "category": "conversational_chat", "temperature": 0.0}).expect(503)
    assert client.get("/stats").expect(200)["cache"]["memory"]["entries"] == 0


def _tally(counted: Counted) -> Any:
    return counted.server.client.get("/stats").expect(200)["engines"].get("conversational_chat", {"cancelled": 0})


def test_another_persona_and_another_row_are_asked_anew(counted: Counted, upstream: Upstream) -> None:
    counted.chat("who are you?")
    assert counted.chat("who are you?")[1] == "hit"
    _save(counted.server, page(*_rows(upstream), persona="Be long."))
    answer, told = counted.chat("who are you?")
    assert told == "miss"
    assert "Be long." in answer["choices"][0]["message"]["content"]
    rows = _rows(upstream)
    _save(counted.server, page((rows[0][0], "Renamed", rows[0][2]), rows[1], persona="Be long."))
    assert counted.chat("who are you?")[1] == "miss"
    assert counted.chat("who are you?")[1] == "hit"


def _save(server: Server, text: str) -> None:
    """Put a page in place, and wait until it counts."""
    before = server.client.get("/models").expect(200)["table_digest"]
    save(server, text)
    eventually(lambda: server.client.get("/models").expect(200)["table_digest"] != before, "the page counts")


def test_answers_are_forgotten_by_hand_and_with_the_model(counted: Counted) -> None:
    client = counted.server.client
    counted.chat("keep this")
    counted.post("/v1/embeddings", {"model": "auto", "input": "keep this"})
    assert client.post("/models/forget", {"model": "Vectors"}).expect(200) == {"model": "Vectors", "answers": 1}
    assert counted.chat("keep this")[1] == "hit"
    client.post("/models/unload", {"model": "Steady"}).expect(200)
    assert counted.chat("keep this")[1] == "miss"
    assert client.post("/models/forget", {}).expect(200) == {"model": None, "answers": 1}
    assert counted.chat("keep this")[1] == "miss"
    client.post("/models/forget", {"model": "nobody"}).expect(404)


def test_of_texts_that_are_partly_known_only_the_others_are_asked_for(counted: Counted) -> None:
    def embed(*texts: str) -> tuple[Any, str]:
        return counted.post("/v1/embeddings", {"model": "auto", "input": [*texts]})

    first, told = embed("one word", "two")
    assert (told, counted.asked()) == ("miss", 1)
    mixed, told = embed("two", "three more words", "one word")
    assert (told, counted.asked()) == ("miss", 1)
    again, told = embed("three more words", "two")
    assert (told, counted.asked()) == ("hit", 0)
    vectors = [[each["embedding"] for each in one["data"]] for one in (first, mixed, again)]
    assert vectors[1] == [vectors[0][1], again["data"][0]["embedding"], vectors[0][0]]
    assert vectors[2][1] == vectors[0][1]
    assert mixed["usage"]["prompt_tokens"] == 6
    assert counted.server.client.get("/stats").expect(200)["models"][first["model"]]["prompt_tokens"] == 3 + 6 + 4


def test_a_hit_is_a_call_on_the_ledger_in_the_statistics_and_for_prometheus(counted: Counted) -> None:
    client = counted.server.client
    call_ids = [counted.generate("count me")[0]["call_id"] for _ in range(2)]
    stats = client.get("/stats").expect(200)
    assert stats["engines"]["conversational_chat"]["succeeded"] == 2
    level = stats["cache"]["memory"]
    assert (level["hits"], level["misses"], level["entries"], level["hit_rate"]) == (1, 1, 1, 0.5)
    assert level["bytes"] > 0
    metrics = client.get("/metrics").body.decode()
    assert 'conductor_answer_cache_total{level="memory",result="hit"} 1.0' in metrics
    assert 'conductor_answer_cache_total{level="memory",result="miss"} 1.0' in metrics
    bodies = eventually(lambda: _entries(counted.server, call_ids), "both calls are on the ledger")
    assert [body.get("cached", False) for body in bodies] == [False, True]


def _entries(server: Server, call_ids: list[str]) -> list[Any]:
    """The bodies of the ledger's entries of these calls; nothing before all are there."""
    entries = server.client.get("/v1/ledger/entries?limit=50").expect(200)["entries"]
    found = {entry["subject"]: entry["body"] for entry in entries if entry["kind"] == "generation"}
    return [found[call_id] for call_id in call_ids] if set(call_ids) <= set(found) else []


def test_on_the_disk_answers_outlive_a_restart(make_server: MakeServer, upstream: Upstream, tmp_path: Path) -> None:
    server = make_server(page(*_rows(upstream)), serving__cache_disk_mb=1).start()
    Counted(server, upstream).chat("remember me")
    eventually(lambda: server.client.get("/stats").expect(200)["cache"]["disk"]["entries"] == 1, "it is on the disk")
    server.kill()
    counted = Counted(server.start(), upstream)
    assert counted.chat("remember me")[1] == "hit"
    assert counted.asked() == 0


def test_without_memory_for_it_nothing_is_kept(make_server: MakeServer, upstream: Upstream) -> None:
    server = make_server(page(*_rows(upstream)), serving__cache_memory_mb=0, serving__cache_disk_mb=1).start()
    counted = Counted(server, upstream)
    assert [counted.chat("again")[1] for _ in range(2)] == ["bypass", "bypass"]
    assert counted.asked() == 2
    assert server.client.get("/stats").expect(200)["cache"] == {}
