"""`conductor settings validate`, `models`, `history`, `rollback` at a terminal."""

import signal

from tests.cli.terminal import PATIENCE_S, Terminal
from tests.server.serving import eventually

WIDE = 200


def wide(terminal: Terminal) -> Terminal:
    return Terminal(data_dir=terminal.data_dir, here=terminal.here, columns=WIDE)


def test_the_example_can_be_copied_checked_and_shown(alone: Terminal) -> None:
    terminal = wide(alone)
    empty = terminal.conductor("settings", "models")
    assert "SETTINGS.md does not exist yet" in empty.out
    assert terminal.conductor("settings", "validate").code == 4
    example = terminal.conductor("settings", "validate", "--example").out

    checked = terminal.conductor("settings", "validate", "-", stdin=example)
    alone.data_dir.mkdir()
    (alone.data_dir / "SETTINGS.md").write_text(example)
    shown = terminal.conductor("settings", "models")

    assert checked.code == shown.code == 0
    assert "Valid: 5 categories" in checked.out
    assert "load when asked for: Qwen/Qwen2.5-Coder-0.5B (FP16)" in checked.out
    assert "Qwen/Qwen2.5-Coder-0.5B" in shown.out
    models = terminal.conductor("settings", "models", "--json").json()
    assert models["models"][1]["category"] == "code_completion"
    assert models["digest"] == terminal.conductor("settings", "validate", "--json").json()["digest"]


def test_a_wrong_page_ends_with_all_its_problems(alone: Terminal) -> None:
    example = alone.conductor("settings", "validate", "--example").out
    page = alone.here / "mine.md"
    page.write_text(example.replace("| 4-bit |", "| 4-bot |").replace("`Qwen/Qwen2.5-Coder-0.5B`", "model.bin"))

    told = alone.conductor("settings", "validate", "mine.md")
    listed = alone.conductor("settings", "validate", "mine.md", "--json")

    assert told.code == listed.code == 2
    assert "2 problems" in told.err
    assert "did you mean 4-bit?" in told.err
    assert [problem["line"] for problem in listed.json()["problems"]] == [17, 18]
    assert listed.json()["valid"] is False


def test_where_no_page_was_in_force_there_is_none_to_go_back_to(alone: Terminal) -> None:
    assert alone.conductor("settings", "rollback").code == 4
    assert "No SETTINGS.md was in force yet" in alone.conductor("settings", "history").out
    assert alone.conductor("settings", "history", "--json").json() == {"pages": []}


def test_going_back_tells_of_nothing_that_was_never_loaded(alone: Terminal) -> None:
    terminal = wide(alone)
    example = terminal.conductor("settings", "validate", "--example").out
    page = alone.data_dir / "SETTINGS.md"
    alone.data_dir.mkdir()
    page.write_text(example)
    server = terminal.start("serve", "--port", "0", "--skip-model-loading", "--log-level", "warning")
    assert server.stdout is not None
    assert server.stdout.readline().startswith("Conductor serves http://127.0.0.1:")
    fewer = "".join(line for line in example.splitlines(keepends=True) if "Qwen2.5-Coder" not in line)
    other = terminal.conductor("settings", "validate", "-", stdin=fewer)
    page.write_text(fewer)
    eventually(lambda: len(list((alone.data_dir / "settings-md").glob("*.md"))) == 2, "the server took it over")

    with_server = terminal.conductor("settings", "rollback")
    server.send_signal(signal.SIGTERM)
    assert server.wait(PATIENCE_S) == 0
    without = terminal.conductor("settings", "rollback")

    assert "- code_completion: Qwen/Qwen2.5-Coder-0.5B (FP16)" in other.out
    assert "+ code_completion: Qwen/Qwen2.5-Coder-0.5B (FP16)" in with_server.out
    assert "- code_completion: Qwen/Qwen2.5-Coder-0.5B (FP16)" in without.out
    assert "unload" not in other.out + with_server.out + without.out
    assert "the next one takes it over" in without.err
