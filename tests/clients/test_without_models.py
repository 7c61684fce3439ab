"""`--skip-model-loading`: everything that generates nothing is served, and what would generate says why it does not."""

from collections.abc import Iterator
from typing import Any

import pytest
from benchmarks.routes import statuses
from tests.clients.stand import engines_of, page, save
from tests.server.serving import Client, Server

import openai
from openai import OpenAI

ABSENT = "/nowhere/model"
#: Every route that needs a model, with a request that would have an answer.
NEED_A_MODEL: dict[str, Any] = {
    "/generate": {"prompt": "hello"},
    "/generate/stream": {"prompt": "hello"},
    "/models/load": {"model": "conversational_chat"},
    "/v1/chat/completions": {"model": "auto", "messages": [{"role": "user", "content": "hello"}]},
    "/v1/completions": {"model": "conversational_chat", "prompt": "hello"},
    "/v1/embeddings": {"model": "embeddings", "input": "hello"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("without-models") / "data", ("--skip-model-loading",))
    save(server, page(("Conversational Chat", "Absent", ABSENT), ("Embeddings", "Absent", ABSENT)))
    yield server.start()
    server.kill()


def test_every_route_that_needs_no_model_is_served(server: Server) -> None:
    client = server.client
    paths = client.get("/openapi.json").expect(200)["paths"]
    told = {path for path, operations in paths.items() if "post" in operations and _says_model(path)}
    assert told == set(NEED_A_MODEL), "the list of routes that need a model is not up to date"

    answered = statuses(server.url, client.key or "")

    assert answered.keys() == {path for path, operations in paths.items() if "get" in operations}
    assert set(answered.values()) == {200}, answered
    assert client.get("/").status == 200
    _what_writes(client)
    assert client.get("/models").expect(200)["models"][0]["state"] == "absent"
    assert engines_of(server) == []


def _says_model(path: str) -> bool:
    frees = path in ("/models/unload", "/models/forget")
    return (path.startswith(("/generate", "/models")) and not frees) or path in NEED_A_MODEL


def _what_writes(client: Client) -> None:
    assert client.settled(client.command("echo", "hello"))["state"] == "succeeded"
    assert client.post("/v1/decisions", {"description": "train a model"}).status == 201
    assert client.post("/v1/talk", {"text": "how are you?"}).status == 200
    with OpenAI(base_url=f"{client.url}/v1", api_key=client.key or "") as official:
        kept = official.files.create(file=("in.jsonl", b"{}\n"), purpose="batch")
        assert official.files.content(kept.id).content == b"{}\n"
        assert [one.id for one in official.models.list()] == [
            "auto",
            "conversational_chat",
            "embeddings",
            ABSENT,
            "conductor",
        ]


@pytest.mark.parametrize("path", NEED_A_MODEL)
def test_what_needs_a_model_says_why_it_has_none(server: Server, path: str) -> None:
    answer = server.client.post(path, NEED_A_MODEL[path])

    assert answer.status == 503
    assert "--skip-model-loading" in answer.body.decode()
    with OpenAI(base_url=f"{server.url}/v1", api_key=server.client.key or "", max_retries=0) as official:
        with pytest.raises(openai.InternalServerError) as told:
            official.completions.create(model="auto", prompt="hello")
        assert "--skip-model-loading" in told.value.message
