"""`conductor models list`, as a person calls it."""

from pathlib import Path

import pytest
from tests.cli.terminal import Terminal

from conductor.adapters.mind_llama.gguf_export import export_gguf


def at_home(tmp_path: Path, model: Path | str, columns: int = 80) -> Terminal:
    (tmp_path / "conductor.yaml").write_text(f"mind:\n  model: {model}\n")
    return Terminal(data_dir=tmp_path / "data", here=tmp_path, columns=columns)


def test_a_mind_that_cannot_run_is_listed_with_the_reason_and_the_remedy(tmp_path: Path) -> None:
    model = tmp_path / "some" / "folder" / "with a rather long name" / "tiny.Q4_K_M.gguf"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"<html>404</html>")
    terminal = at_home(tmp_path, model)

    as_json = terminal.conductor("models", "list", "--json")
    table = terminal.conductor("models", "list")

    found = {row["kind"]: row for row in as_json.json()["models"]}
    assert found["encoder"]["in_use"]
    assert len(found["encoder"]["sha256"]) == 64
    assert found["gguf"] == {
        "name": model.name, "kind": "gguf", "use": "takes part in decisions", "state": "fails", "size_bytes": 16,
        "sha256": "", "in_use": False, "configured": True, "where": str(model),
    }  # fmt: skip
    mind = as_json.json()["mind"]
    assert (mind["configured"], mind["running"], mind["state"]) == (str(model), "", "fails")
    assert "conductor settings set mind.model conductor" in mind["remedy"]
    assert (as_json.code, table.code) == (0, 0)
    for word in ("tiny.Q4_K_M.gguf", "fails", "16 B", found["encoder"]["sha256"][:12], found["encoder"]["name"]):
        assert word in table.out
    assert "Why not the chosen one:" in table.out
    assert "What to do:" in table.out


@pytest.mark.parametrize("columns", [80, 60, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal_and_no_name_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    cached = tmp_path / "hub" / "models--A-Rather-Long-Owner--A-Model-With-An-Even-Longer-Name-Q4_K_M-GGUF"
    folder = cached / "snapshots" / "c0ffee"
    folder.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("c0ffee")
    (folder / "m.gguf").write_bytes(b"GGUF")
    terminal = Terminal(data_dir=tmp_path / "data", here=tmp_path, columns=columns)

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    out = terminal.conductor("models", "list").out

    lines = out.splitlines()
    assert max(map(len, lines)) <= columns
    rows = [line for line in lines if " gguf " in line]
    assert len(rows) == 1, "one line for one model"
    assert rows[0].startswith("A-Rat")
    if columns == 80:
        assert "…" in rows[0]
        assert rows[0].split()[0].endswith("/m.gguf")
        assert all(word in out for word in ("conductor-task-encoder ", "own mind", "not in use"))


def test_a_mind_that_runs_is_listed_with_the_digest_of_its_weights(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    model = tmp_path / "ours.gguf"
    export_gguf(model)

    found = at_home(tmp_path, model).conductor("models", "list", "--json").json()

    row = next(row for row in found["models"] if row["kind"] == "gguf")
    assert (row["state"], row["in_use"], row["sha256"]) == ("in use", True, found["mind"]["sha256"])
    assert len(row["sha256"]) == 64


def test_an_export_into_a_folder_that_does_not_exist_is_wrong_input(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    terminal = Terminal(data_dir=tmp_path / "data", here=tmp_path)

    said = terminal.conductor("models", "export", "absent/mind.gguf")

    assert said.code == 2
    assert "mkdir -p absent" in said.err
    assert not (tmp_path / "absent").exists()
