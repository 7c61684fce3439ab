"""`conductor serve` under its other names, and with the options of an LLM server."""

import json
import subprocess
import sys
from pathlib import Path

from tests.server.serving import COMMAND, PATIENCE_S, Server, environment

MODULE = [sys.executable, "-m", "conductor"]


def test_the_module_with_options_alone_serves_without_loading_models(tmp_path: Path) -> None:
    server = Server(
        tmp_path / "data", options=("--log-level", "WARNING", "--skip-model-loading"), command=tuple(MODULE)
    ).start()
    try:
        assert server.client.get("/health").status == 200
        settings = server.client.get("/v1/settings").json["settings"]
    finally:
        server.kill()

    assert {row["name"]: row["value"] for row in settings}["serving.load_models"] is False


def test_the_module_with_a_command_is_the_command_line(tmp_path: Path) -> None:
    made = subprocess.run(
        [*MODULE, "nodes", "--help"], capture_output=True, text=True, timeout=PATIENCE_S, env=environment(tmp_path)
    )

    assert made.returncode == 0
    assert "Machines" in made.stdout


def test_mcp_only_speaks_mcp_on_standard_output(tmp_path: Path) -> None:
    asked = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "no/such", "params": {}}) + "\n"
    for command in (MODULE, COMMAND):
        made = subprocess.run(
            [*command, "--data-dir", str(tmp_path / "data"), "--mcp-only"],
            input=asked,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=environment(tmp_path),
        )
        assert json.loads(made.stdout)["id"] == 7
