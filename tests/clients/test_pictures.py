"""Model `auto` with a picture, by the official client on a live server."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tests.clients.conftest import MakeServer
from tests.clients.stand import Upstream, page
from tests.server.serving import Server

import openai
from openai import OpenAI


class Studio(BaseHTTPRequestHandler):
    """An LM Studio with two models, of which one sees; it answers with the name of the model that was asked."""

    def do_GET(self) -> None:
        models = [
            {"key": name, "type": "llm", "capabilities": {"vision": name == "eyes"}} for name in ("blind", "eyes")
        ]
        self._say("application/json", json.dumps({"models": models}))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = {"index": 0, "delta": {"content": f"I am {asked['model']}"}, "finish_reason": "stop"}
        self._say("text/event-stream", f"data: {json.dumps({'choices': [said]})}\n\ndata: [DONE]\n\n")

    def _say(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


PICTURE = "data:image/png;base64,iVBORw0KGgo="


def shown(server: Server, said: str) -> openai.types.chat.ChatCompletion:
    content = [{"type": "text", "text": said}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    with OpenAI(base_url=f"{server.url}/v1", api_key=server.client.key, timeout=60) as client:
        return client.chat.completions.create(model="auto", messages=[{"role": "user", "content": content}])  # type: ignore[typeddict-item]


def test_auto_shows_a_picture_to_the_model_that_sees(
    make_server: MakeServer, upstream: Upstream, tmp_path: Path
) -> None:
    blind = ("Translation", "Blind", str(tmp_path))
    steady = ("Conversational Chat", "Steady", upstream.model("steady"))
    server = make_server(page(blind, steady)).start()

    answer = shown(server, "Translate what is written here")

    assert answer.model == upstream.model("steady")
    assert "I heard: Translate what is written here" in (answer.choices[0].message.content or "")


def test_auto_goes_on_looking_where_a_model_turns_out_to_be_blind(make_server: MakeServer) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Studio) as studio:
        Thread(target=studio.serve_forever, daemon=True).start()
        at = f"lmstudio://127.0.0.1:{studio.server_address[1]}"
        rows = [("General Reasoning", "Blind", f"{at}#blind"), ("Conversational Chat", "Eyes", f"{at}#eyes")]
        server = make_server(page(*rows)).start()

        answers = [shown(server, "Why is the sky blue?") for _ in range(2)]
        blind = server.client.get("/models/general_reasoning").expect(200)
        studio.shutdown()

    assert [answer.choices[0].message.content for answer in answers] == ["I am eyes"] * 2
    assert blind["state"] == "loaded", "it was looked at first"
    assert answers[0].model == f"{at}#eyes"


def test_auto_says_which_row_would_see(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(page(("Conversational Chat", "Blind", str(tmp_path)))).start()

    with pytest.raises(openai.BadRequestError) as caught:
        shown(server, "What is this?")

    assert "| General Reasoning | NAME | – | `http://HOST:PORT/v1#MODEL` | false | – |" in caught.value.message
    assert caught.value.param == "messages"
