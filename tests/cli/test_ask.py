"""`conductor ask` and `conductor chat` as a person or a script uses them."""

import json
from pathlib import Path

import pytest
from tests.cli.terminal import Terminal


def test_a_question_is_answered(served: Terminal) -> None:
    said = served.conductor("ask", "Which nodes are there?")

    assert said.code == 0
    assert "There is 1 node" in said.out


def test_a_question_may_come_from_standard_input(served: Terminal) -> None:
    said = served.conductor("ask", "-", "--json", stdin="What is the system status?\n")

    assert said.code == 0
    assert said.json()["intent"] == "status"


def test_asking_executes_nothing(served: Terminal) -> None:
    said = served.conductor("ask", "run `touch never`")

    assert said.code == 0
    assert "touch never" in said.out
    assert "Nothing was done" in said.err
    assert "touch never" not in served.conductor("tasks", "list").out


def test_a_piped_chat_confirms_a_plan(served: Terminal) -> None:
    said = served.conductor("chat", stdin="run `echo chatted`\ny\n/help\n/quit\nnever read\n")

    assert said.code == 0
    assert "Shall I schedule this?" in said.out
    assert "Done: task t" in said.out
    assert "Ctrl-D" in said.out
    assert "echo chatted" in served.conductor("tasks", "list", "--json").out


def test_a_piped_chat_goes_on_after_a_refusal(served: Terminal) -> None:
    said = served.conductor("chat", stdin=f"{'x' * 20_000}\nWhich nodes are there?\n")

    assert said.code == 0
    assert "20,000 characters" in said.err
    assert "There is 1 node" in said.out


def test_intents_of_rows_are_told_without_a_server(alone: Terminal) -> None:
    rows = [{"id": "a", "text": "cancel my job"}, {"id": 7, "text": "list the nodes"}]
    said = alone.conductor("chat", "--intents", "--input", "-", stdin="\n".join(map(json.dumps, rows)))

    assert said.code == 0
    assert [json.loads(line) for line in said.out.splitlines()] == [
        {"id": "a", "intent": "cancel_task"},
        {"id": "7", "intent": "list_nodes"},
    ]
    assert not alone.data_dir.exists()


def test_intents_go_to_a_file(alone: Terminal, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "hello"}\n')
    said = alone.conductor("chat", "--intents", "--input", "in.jsonl", "--output", "out.jsonl")

    assert said.code == 0
    assert said.out == ""
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"id": "a", "intent": "off_topic"}


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ('{"id": "b"}', ["line 2", "text"]),
        ("no json", ["line 2", '{"id"']),
        ('{"id": "a", "text": "x"}', ["line 2", "id"]),
    ],
)
def test_a_malformed_row_is_named_by_line_and_field_and_costs_no_other(
    alone: Terminal, line: str, parts: list[str]
) -> None:
    good = '{"id": "a", "text": "hello"}', '{"id": "c", "text": "list the nodes"}'
    said = alone.conductor("chat", "--intents", "--input", "-", stdin=f"{good[0]}\n{line}\n{good[1]}\n")

    assert said.code == 2
    assert [json.loads(row)["id"] for row in said.out.splitlines()] == ["a", "c"]
    for part in ["1 row was left out", *parts]:
        assert part in said.err


def test_a_file_without_any_good_row_leaves_the_output_alone(alone: Terminal, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("no json\n")
    (tmp_path / "out.jsonl").write_text("kept")

    said = alone.conductor("chat", "--intents", "--input", "in.jsonl", "--output", "out.jsonl")

    assert said.code == 2
    assert "nothing was written" in said.err
    assert (tmp_path / "out.jsonl").read_text() == "kept"


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_is_said_to_be_empty(alone: Terminal, tmp_path: Path, content: str) -> None:
    (tmp_path / "in.jsonl").write_text(content)

    said = alone.conductor("chat", "--intents", "--input", "in.jsonl")

    assert said.code == 2
    assert "in.jsonl is empty" in said.err


def test_a_missing_file_is_not_found_and_told_with_the_remedy(alone: Terminal) -> None:
    said = alone.conductor("chat", "--intents", "--input", "missing.jsonl")

    assert said.code == 4
    assert "no file missing.jsonl" in said.err
    assert '{"id"' in said.err


def test_a_line_separator_inside_a_text_does_not_cut_its_row(alone: Terminal, tmp_path: Path) -> None:
    row = json.dumps({"id": "a", "text": "list\u2028the nodes"}, ensure_ascii=False)
    (tmp_path / "in.jsonl").write_text(row + "\r\n", encoding="utf-8")

    said = alone.conductor("chat", "--intents", "--input", "in.jsonl")

    assert said.code == 0
    assert json.loads(said.out) == {"id": "a", "intent": "list_nodes"}


@pytest.mark.parametrize("words", [["--intents"], ["--input", "x.jsonl"]])
def test_options_that_do_not_belong_together_are_refused(alone: Terminal, words: list[str]) -> None:
    assert alone.conductor("chat", *words).code == 2
