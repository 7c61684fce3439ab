"""The HTTP interface keeps what its OpenAPI document promises, whatever is sent to it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from benchmarks.routes import things
from tests.server.conftest import MakeServer
from tests.server.serving import Server, environment

#: What the schema allows may still be refused, with 422: a text of blanks, a workload nobody installed. And a task that was
#: just made has no correction yet: 404 is right there, and the second check takes it for a lost task.
EXCLUDED = "positive_data_acceptance,ensure_resource_availability"
#: 411 and 413 refuse a body by its size before anybody reads it.
REFUSALS = [400, 401, 403, 404, 405, 406, 409, 411, 413, 415, 422, 428, 429, "5xx"]


#: How often a parameter is something that exists.
USUALLY = 0.8


def check(server: Server, tmp_path: Path, *options: str, bodies: Mapping[str, Sequence[str]] | None = None) -> None:
    """Fail with what schemathesis has to object to.

    Args:
        bodies: values that fields of bodies usually have, so that not everything that is tried is refused.
    """
    made = things(server.url, server.client.key or "")
    known = {f"path.{name}": [value] for name, value in made.items()}
    known |= {f"body.{name}": list(values) for name, values in (bodies or {}).items()}
    (tmp_path / "schemathesis.toml").write_text(_configuration(known))
    checked = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{server.url}/openapi.json",
            "--header",
            f"Authorization: Bearer {server.client.key}",
            "--exclude-checks",
            EXCLUDED,
            "--continue-on-failure",
            "--generation-database",
            "none",
            *options,
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path) | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "request_failed" not in server.log.read_text()


def _configuration(known: Mapping[str, Sequence[str]]) -> str:
    lines = [*(f"{json.dumps(name)}.values = {json.dumps(values)}" for name, values in known.items())]
    bound = [f"{json.dumps(name)} = {{ dictionary = {json.dumps(name)}, probability = {USUALLY} }}" for name in known]
    refusals = f"negative_data_rejection.expected-statuses = {json.dumps(REFUSALS)}"
    return "\n".join(["[dictionaries]", *lines, "[parameters]", *bound, "[checks]", refusals, ""])


def test_answers_are_as_documented_and_never_a_server_error(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(log__level="warning").start()

    check(server, tmp_path, "--max-examples", "4", "--phases", "coverage,fuzzing", "--workers", "1")


@pytest.mark.soak
def test_answers_are_as_documented_over_long_sequences(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(log__level="warning").start()

    check(server, tmp_path, "--max-examples", "200")
