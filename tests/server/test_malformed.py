"""What a person reads when a request cannot be read: the field, what it is, what it must be; no library's words."""

from typing import Any

import pytest
from tests.server.serving import Client

LIBRARY_WORDS = ("Input should", "Value error", "Field required", "Extra inputs", "unable to parse", "type=")


@pytest.mark.parametrize(
    ("method", "path", "document", "field", "words"),
    [
        ("PUT", "/v1/tasks/last/correction", {"device": "FPGA"}, "device", ['"FPGA"', "one of GPU, NPU, VIDEO"]),
        ("PUT", "/v1/tasks/last/correction", {"device": "gpu"}, "device", ["did you mean GPU"]),
        ("PUT", "/v1/tasks/last/correction", {"task_kind": "trainig"}, "task_kind", ["did you mean training"]),
        ("PUT", "/v1/tasks/last/correction", {"priority": 9}, "priority", ["is 9", "5 or less"]),
        ("PUT", "/v1/tasks/last/correction", {"priority": "2"}, "priority", ["a whole number"]),
        ("PUT", "/v1/tasks/last/correction", {"divice": "GPU"}, "divice", ["no field that is known"]),
        ("PUT", "/v1/tasks/last/correction", {"user_id": ""}, "user_id", ["at least 1 characters"]),
        ("POST", "/v1/mind/rollback", {"version": -1}, "version", ["0 or greater"]),
        ("POST", "/v1/mind/rollback", [], "", ["an object"]),
        ("POST", "/v1/tasks", {}, "description", ["required"]),
        ("POST", "/v1/tasks", {"description": ["a"]}, "description", ['["a"]', "text"]),
        ("POST", "/v1/tasks", {"description": "a", "metadata": 7}, "metadata", ["an object"]),
        ("GET", "/v1/tasks?limit=many", None, "limit", ['"many"', "a whole number"]),
        ("GET", "/v1/tasks?state=runing", None, "state", ["did you mean running"]),
        ("GET", "/v1/mind/report?since_s=-3", None, "since_s", ["-3"]),
    ],
)
def test_a_malformed_request_is_told_in_our_words(
    client: Client, method: str, path: str, document: Any, field: str, words: list[str]
) -> None:
    client.submit("count the pallets")

    refused = client.request(method, path, document).expect(422)

    assert (refused["field"] or "").split(".")[0] == field
    assert [word for word in words if word not in refused["detail"]] == []
    assert [word for word in LIBRARY_WORDS if word in str(refused)] == []


def test_a_body_that_is_no_json_is_told_as_that(client: Client) -> None:
    refused = client.post("/v1/tasks", body=b'{"description": ').expect(422)

    assert "is no JSON" in refused["detail"]
