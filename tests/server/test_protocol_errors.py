"""What is refused before a route hears of it has OpenAI's form where that protocol is spoken, and is a problem elsewhere."""

from typing import Any

import pytest
from tests.server.serving import Answer, Client, Server

import openai

SPOKEN = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/models",
    "/v1/models/auto",
    "/v1/files",
    "/v1/files/file-1/content",
    "/v1/batches",
    "/v1/batches/batch-1/cancel",
)
NOT_SPOKEN = ("/models", "/generate", "/v1/tasks", "/v1/modelsx", "/v1/chat", "/v1/filesystem")


def told(answer: Answer, status: int) -> dict[str, Any]:
    """The error object of an answer."""
    assert answer.status == status, answer.body[:500]
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"error"}
    error: dict[str, Any] = answer.json["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize("path", SPOKEN)
def test_a_stranger_is_refused_in_the_protocols_form(server: Server, path: str) -> None:
    answer = server.stranger.get(path)

    error = told(answer, 401)
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert answer.headers["www-authenticate"] == 'Bearer realm="conductor"'
    assert answer.headers["traceparent"]


@pytest.mark.parametrize("path", NOT_SPOKEN)
def test_paths_that_only_look_alike_answer_with_problems(server: Server, path: str) -> None:
    assert server.stranger.get(path).expect(401)["code"] == "access.key"


def test_foreign_hosts_and_origins_are_refused_in_the_protocols_form(client: Client) -> None:
    host = told(client.get("/v1/models", headers={"Host": "evil.example"}), 421)
    origin = told(client.get("/v1/models", headers={"Origin": "https://evil.example"}), 403)

    assert (host["type"], host["code"]) == ("invalid_request_error", "access.host")
    assert (origin["type"], origin["code"]) == ("permission_error", "access.origin")


def test_bodies_without_length_or_beyond_the_bound_are_refused_in_the_protocols_form(client: Client) -> None:
    endless = client.post("/v1/chat/completions", body=b"", headers={"Transfer-Encoding": "chunked"})
    large = client.post("/v1/chat/completions", body=b"", headers={"Content-Length": "9000000"})

    assert told(endless, 411)["code"] == "input.length"
    assert "8,388,608 bytes" in told(large, 413)["message"]
    assert "send pictures smaller" in told(large, 413)["message"]
    assert "files on the server" not in told(large, 413)["message"], "a model reads no files"
    task = client.post("/v1/tasks", body=b"", headers={"Content-Length": "9000000"}).expect(413)
    assert "files on the server" in task["detail"]


def test_a_file_may_be_as_large_as_files_may_be(client: Client) -> None:
    too_large = client.post("/v1/files", body=b"", headers={"Content-Length": str(101 * 2**20)})
    line = b'{"custom_id": "1", "method": "POST", "url": "/v1/embeddings", "body": {}}\n'
    form = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="lines.jsonl"\r\n\r\n%b\r\n--x--\r\n'
    )
    sent = client.post(
        "/v1/files",
        body=form % (line * (9 * 2**20 // len(line))),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )

    assert told(too_large, 413)["message"].endswith("split the file")
    assert sent.status == 200, sent.body[:500]
    assert sent.json["bytes"] > 2**23
    assert client.request("DELETE", f"/v1/files/{sent.json['id']}").status == 200


def test_what_no_route_offers_is_told_in_the_protocols_form(client: Client) -> None:
    method = client.get("/v1/chat/completions")

    assert told(method, 405)["code"] == "http.405"
    assert method.headers["allow"] == "POST"
    assert told(client.get("/v1/files/a/b/c"), 404)["code"] == "http.404"
    assert client.get("/v1/nothing").expect(404)["code"] == "http.404"


def test_the_official_client_knows_a_wrong_key_when_it_has_one(server: Server) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="ck_wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.models.list()

    assert refused.value.code == "invalid_api_key"
    assert "conductor login" in refused.value.message


def test_the_openapi_document_names_one_form_of_errors_for_each_path(client: Client) -> None:
    paths = client.get("/openapi.json").expect(200)["paths"]

    for path, operations in paths.items():
        forms = {form for each in operations.values() for form in each["responses"]["default"]["content"]}
        is_openai = path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings") or path.startswith(
            ("/v1/models", "/v1/files", "/v1/batches")
        )
        assert forms == ({"application/json"} if is_openai else {"application/problem+json"}), path
