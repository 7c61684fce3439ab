"""The official client asks once where asking again is in vain, and again where it may help."""

from pathlib import Path

import pytest
from tests.clients.conftest import MakeServer
from tests.clients.stand import Upstream, page
from tests.server.serving import Server

import openai
from openai import DefaultHttpxClient, OpenAI


def asked(server: Server, model: str, said: str = "Say hello") -> tuple[int, openai.APIStatusError]:
    """How often the client sent a request that fails, as its own rules have it, and what it was told last."""
    sent = []
    http = DefaultHttpxClient(event_hooks={"request": [sent.append]})
    with (
        OpenAI(base_url=f"{server.url}/v1", api_key=server.client.key, max_retries=1, http_client=http) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": said}])
    return len(sent), caught.value


def test_a_model_that_is_damaged_is_asked_for_once(make_server: MakeServer, tmp_path: Path) -> None:
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF\x03\x00\x00\x00 and then nothing that makes sense")
    (tmp_path / "empty").mkdir()
    rows = [
        ("Conversational Chat", "Damaged", str(tmp_path / "damaged.gguf")),
        ("General Reasoning", "Empty", str(tmp_path / "empty")),
        ("Creative Writing", "Absent", str(tmp_path / "absent.gguf")),
    ]
    server = make_server(page(*rows)).start()

    for model, status in (("Damaged", 503), ("Empty", 503), ("Absent", 404)):
        for _ in range(3):
            sent, error = asked(server, model)
            assert (sent, error.status_code) == (1, status), error.message
            assert "retry-after" not in error.response.headers
        assert error.response.headers.get("x-should-retry") == (None if status == 404 else "false")
        told = server.client.post("/generate", {"prompt": "Say hello", "model": model})
        assert told.headers.get("x-should-retry") == (None if status == 404 else "false")


def test_a_server_that_loads_no_models_is_asked_once(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(page(("Conversational Chat", "Any", str(tmp_path))), "--skip-model-loading").start()

    sent, error = asked(server, "Any")

    assert (sent, error.status_code) == (1, 503)
    assert "--skip-model-loading" in error.message


def test_a_key_that_is_refused_is_asked_about_once_and_a_failure_twice(
    make_server: MakeServer, upstream: Upstream
) -> None:
    server = make_server(page(("Conversational Chat", "Steady", upstream.model("steady")))).start()

    refused, why = asked(server, "auto", "fail 401")
    failed, how = asked(server, "auto", "fail 500")

    assert (refused, why.status_code) == (1, 503)
    assert "refused the key" in why.message
    assert (failed, how.status_code) == (2, 503)
    assert "x-should-retry" not in how.response.headers
