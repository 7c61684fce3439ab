"""`SETTINGS.md` is saved while the server runs and answers."""

import threading
from typing import Any

import pytest
from tests.clients.conftest import MakeServer
from tests.clients.stand import Upstream, at_rest, page, save
from tests.server.serving import Server, eventually

import openai
from openai import OpenAI

HELLO: Any = [{"role": "user", "content": "hello"}]


def titles(server: Server) -> list[str]:
    return [row["title"] for row in server.client.get("/models").expect(200)["models"]]


def digest(server: Server) -> str:
    return str(server.client.get("/models").expect(200)["table_digest"])


def official(server: Server) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key=server.client.key or "", max_retries=0, timeout=60)


def said(server: Server) -> str:
    asked = {"prompt": "hello", "category": "conversational_chat"}
    return str(server.client.post("/generate", asked).expect(200)["text"])


def test_models_appear_and_disappear_as_the_page_says(make_server: MakeServer, upstream: Upstream) -> None:
    steady = ("Conversational Chat", "Steady", upstream.model("steady"))
    other = ("General Reasoning", "Other", upstream.model("other"))
    server = make_server(page(steady)).start()
    with official(server) as client:
        assert titles(server) == ["Steady"]
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="Other", messages=HELLO)

        save(server, page(steady, other))
        eventually(lambda: titles(server) == ["Steady", "Other"], "the model appears")
        assert client.chat.completions.create(model="Other", messages=HELLO).choices[0].message.content
        assert "general_reasoning" in [one.id for one in client.models.list()]

        save(server, page(other))
        eventually(lambda: titles(server) == ["Other"], "the model disappears")
        with pytest.raises(openai.NotFoundError) as told:
            client.chat.completions.create(model="Steady", messages=HELLO)
        assert told.value.code == "model_not_found"

        (server.data_dir / "SETTINGS.md").unlink()
        save(server, page(steady))
        eventually(lambda: titles(server) == ["Steady"], "a page that is written anew counts")


def test_a_page_that_cannot_be_used_leaves_everything_as_it_was(make_server: MakeServer, upstream: Upstream) -> None:
    good = page(("Conversational Chat", "Steady", upstream.model("steady")))
    server = make_server(good).start()
    before = digest(server)
    refused = "settings_md_not_taken"

    for number, broken in enumerate((
        good.replace("false", "perhaps"),
        good.replace(upstream.model("steady"), "model.pkl"),
        good + "| **Conversational Chat** | Twice | – | `tests/x` | false | FP16 |\n",
        good.replace("Technical Model Name", "Name of it"),
    ), 1):  # fmt: skip
        save(server, broken)
        eventually(lambda least=number: server.log.read_text().count(refused) >= least, f"page {number} is refused")
        assert (titles(server), digest(server)) == (["Steady"], before)
        with official(server) as client:
            assert client.chat.completions.create(model="Steady", messages=HELLO).choices[0].message.content

    told = server.log.read_text()
    assert "perhaps" in told
    assert "line " in told


def test_the_next_answer_has_the_persona_that_was_saved(make_server: MakeServer, upstream: Upstream) -> None:
    steady = ("Conversational Chat", "Steady", upstream.model("steady"))
    server = make_server(page(steady, persona="Be brief.")).start()
    assert said(server) == "(Be brief.) I heard: hello"

    save(server, page(steady, persona="Speak like a sailor."))
    eventually(lambda: said(server) == "(Speak like a sailor.) I heard: hello", "the new persona is heard")


def test_an_answer_under_way_is_finished_although_its_model_goes(make_server: MakeServer, upstream: Upstream) -> None:
    steady = ("Conversational Chat", "Steady", upstream.model("steady"))
    server = make_server(page(steady)).start()
    heard: dict[str, Any] = {}

    def by_gateway() -> None:
        slow: Any = [{"role": "user", "content": "fail slow"}]
        with official(server) as client:
            stream = client.chat.completions.create(model="Steady", messages=slow, max_tokens=600, stream=True)
            words = [c.delta.content for chunk in stream for c in chunk.choices if c.delta.content]
            heard["gateway"] = len(words)

    def by_engine() -> None:
        asked = {"prompt": "fail slow", "category": "conversational_chat", "max_tokens": 600}
        heard["engine"] = server.client.post("/generate", asked)

    threads = [threading.Thread(target=listen) for listen in (by_gateway, by_engine)]
    for thread in threads:
        thread.start()
    eventually(lambda: upstream.state()["open"] == 2, "both are under way")
    save(server, page(("Conversational Chat", "Other", upstream.model("other"))))
    eventually(lambda: titles(server) == ["Other"], "the model is replaced")
    for thread in threads:
        thread.join(60)

    assert heard["gateway"] == 600
    answer = heard["engine"].expect(200)
    assert (answer["finish"], answer["usage"]["completion_tokens"]) == ("length", 600)
    at_rest(server, upstream)
