"""`conductor models list`, as a person calls it."""

import json
from pathlib import Path

from tests.cli.terminal import Terminal


def test_the_list_names_the_encoder_and_the_chosen_mind(tmp_path: Path) -> None:
    terminal = Terminal(data_dir=tmp_path / "data", here=tmp_path, columns=160)
    model = tmp_path / "tiny.Q4_K_M.gguf"
    model.write_bytes(b"GGUF" + bytes(2_044))
    (tmp_path / "conductor.yaml").write_text(f"mind:\n  model: {model}\n")

    as_json = terminal.conductor("models", "list", "--json")
    table = terminal.conductor("models", "list")

    found = {row["kind"]: row for row in json.loads(as_json.out)["models"]}
    assert found["encoder"]["in_use"]
    assert len(found["encoder"]["sha256"]) == 64
    assert found["gguf"] == {
        "name": model.name, "kind": "gguf", "use": "takes part in decisions", "size_bytes": 2_048, "sha256": "",
        "in_use": True, "where": str(model),
    }  # fmt: skip
    assert (as_json.code, table.code) == (0, 0)
    assert "2.0 KiB" in table.out
    assert found["encoder"]["sha256"][:12] in table.out
