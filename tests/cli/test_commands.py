"""The other commands: listings, explanations, receipts, settings, keys; what they print, and their exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.terminal import Said, Terminal


@pytest.fixture(scope="module")
def task(served: Terminal) -> str:
    """A finished task."""
    return str(served.conductor("run", "Sort a list of names", "--json", "--", "echo", "done").json()["task_id"])


def refused(said: Said) -> tuple[int, str]:
    """Exit code and message of a command that printed nothing else, in one line."""
    assert said.out == ""
    assert said.err.startswith("conductor: ")
    assert len(said.err.splitlines()) == 1
    return said.code, said.err.removeprefix("conductor: ").rstrip()


@pytest.mark.parametrize(
    "words",
    [
        ["tasks", "list"],
        ["tasks", "show", "last"],
        ["tasks", "events", "last"],
        ["explain", "last"],
        ["nodes", "list"],
        ["nodes", "show"],
        ["ledger", "show"],
        ["ledger", "verify"],
        ["settings", "show"],
        ["settings", "show", "queue.depth"],
        ["status"],
        ["decide", "Blur the faces in these photos"],
    ],
    ids=" ".join,
)
def test_every_listing_is_one_json_document_when_asked_for(served: Terminal, task: str, words: list[str]) -> None:
    said = served.conductor(*words, "--json")

    assert said.code == 0
    assert isinstance(said.json(), dict)


def test_a_fresh_installation_answers_with_what_to_do_next(alone: Terminal) -> None:
    assert "conductor run" in alone.conductor("tasks", "list").out
    assert refused(alone.conductor("tasks", "show", "last"))[0] == 4
    assert refused(alone.conductor("status"))[0] == 3


def test_looking_at_an_installation_without_server_leaves_none_behind(alone: Terminal) -> None:
    assert alone.conductor("nodes", "list").code == 0
    assert refused(alone.conductor("status")) == (3, "no server is running; start one with `conductor serve`")


def test_a_task_nobody_knows_is_exit_code_4_for_every_command_about_tasks(served: Terminal) -> None:
    for verb in ("show", "events", "watch", "cancel", "output", "repeat"):
        code, message = refused(served.conductor("tasks", verb, "t0none"))
        assert (code, "t0none" in message) == (4, True), verb
    assert refused(served.conductor("explain", "t0none"))[0] == 4


def test_a_finished_task_cannot_be_cancelled_and_can_be_repeated(served: Terminal, task: str) -> None:
    code, message = refused(served.conductor("tasks", "cancel", task))
    assert (code, "succeeded already" in message) == (5, True)

    again = served.conductor("tasks", "repeat", task, "--json").json()
    assert served.conductor("tasks", "watch", again["task_id"]).code == 0
    assert served.conductor("tasks", "output", again["task_id"]).out == "done\n"


def test_an_explanation_names_the_device_the_parts_and_what_came_of_it(served: Terminal, task: str) -> None:
    text = served.conductor("explain", task).out

    for words in ("In short", "Device", "← chosen", "Confidence", "40 %", "What came of it"):
        assert words in text


def test_tasks_can_be_narrowed_by_state_and_text(served: Terminal, task: str) -> None:
    found = served.conductor("tasks", "list", "--state", "succeeded", "--text", "Sort a list", "--json").json()["tasks"]
    assert {(row["description"], row["state"]) for row in found} == {("Sort a list of names", "succeeded")}
    assert "No task is like that" in served.conductor("tasks", "list", "--text", "no such words").out
    assert refused(served.conductor("tasks", "list", "--state", "sleeping"))[0] == 2


def test_a_receipt_verifies_without_server_and_a_changed_one_does_not(
    served: Terminal, alone: Terminal, task: str, tmp_path: Path
) -> None:
    receipt = tmp_path / "receipt.json"
    assert served.conductor("ledger", "prove", task, "--output", str(receipt)).code == 0

    said = alone.conductor("verify-receipt", str(receipt))
    assert (said.code, said.out.startswith("Verified: entry ")) == (0, True)

    receipt.write_text(receipt.read_text().replace("succeeded", "cancelled"))
    assert refused(alone.conductor("verify-receipt", str(receipt)))[0] == 9
    assert refused(alone.conductor("verify-receipt", str(tmp_path / "none.json")))[0] == 4


def test_a_flipped_bit_in_the_ledger_file_is_exit_code_9_and_names_the_line(served: Terminal, tmp_path: Path) -> None:
    served.conductor("run", "Say hello", "--", "true")
    copy = tmp_path / "ledger.jsonl"
    content = bytearray((served.data_dir / "ledger.jsonl").read_bytes())
    whole = Terminal(tmp_path / "none", tmp_path).conductor
    copy.write_bytes(content)
    assert whole("ledger", "verify", str(copy)).code == 0

    content[content.index(b"\n") + 40] ^= 1
    copy.write_bytes(content)
    said = whole("ledger", "verify", str(copy))
    assert (said.code, "Broken: line 2" in said.out) == (9, True)


def test_many_texts_are_decided_in_the_order_of_the_file(alone: Terminal, tmp_path: Path) -> None:
    rows = [{"id": str(number), "text": f"Transcode holiday video number {number}"} for number in range(70)]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))

    said = alone.conductor("decide", "--input", str(source), "--output", str(target))

    assert (said.code, said.out) == (0, "")
    found = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert {row["device"] for row in found} == {"VIDEO"}
    assert not alone.data_dir.exists()


@pytest.mark.parametrize(
    ("content", "code", "hint"),
    [
        ('{"id": "1", "text": "fine"}\n{"id": "2", "txt": "not"}\n', 2, "line 2"),
        ('{"id": "1", "text": "fine"}\nnot json\n', 2, "line 2"),
        ("\udcff", 2, "UTF-8"),
    ],
    ids=["field", "json", "bytes"],
)
def test_a_malformed_row_is_named_by_its_line(
    alone: Terminal, tmp_path: Path, content: str, code: int, hint: str
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(content, errors="surrogateescape")

    found = refused(alone.conductor("decide", "--input", str(source)))

    assert (found[0], hint in found[1]) == (code, True)


def test_files_that_cannot_be_read_or_written_are_named(alone: Terminal, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "1", "text": "fine"}\n')

    missing = refused(alone.conductor("decide", "--input", str(tmp_path / "none.jsonl")))
    nowhere = refused(alone.conductor("decide", "--input", str(source), "--output", str(tmp_path / "no" / "out")))

    assert (missing[0], "none.jsonl" in missing[1]) == (4, True)
    assert (nowhere[0], "cannot be written" in nowhere[1]) == (2, True)


def test_a_setting_is_shown_changed_and_forgotten(served: Terminal) -> None:
    assert served.conductor("settings", "set", "queue.depth", "1234").code == 0
    assert served.conductor("settings", "show", "queue.depth").out.startswith("1234  (database")
    assert served.conductor("settings", "unset", "queue.depth").code == 0
    assert served.conductor("settings", "show", "queue.depth").out.startswith("1000  (default")
    assert "queue.depth" in refused(served.conductor("settings", "show", "queue.dept"))[1]
    assert "queue.depth" in refused(served.conductor("settings", "set", "queue.dept", "5"))[1]
    assert refused(served.conductor("settings", "set", "queue.depth", "none"))[0] == 2


def test_the_key_is_shown_once_there_is_one_and_not_rotated_under_a_server(served: Terminal, alone: Terminal) -> None:
    assert served.conductor("key", "show").out.startswith("ck_")
    assert refused(served.conductor("key", "rotate"))[0] == 5
    assert refused(alone.conductor("key", "show"))[0] == 4


def test_a_wrong_key_is_exit_code_6(served: Terminal) -> None:
    path = served.data_dir / "key"
    right = path.read_bytes()
    try:
        path.write_bytes(b"ck_" + b"A" * 43 + b"\n")
        assert refused(served.conductor("tasks", "list"))[0] == 6
    finally:
        path.write_bytes(right)


def test_an_unknown_setting_in_the_environment_stops_the_embedded_server_with_its_message(tmp_path: Path) -> None:
    config = tmp_path / "conductor.yaml"
    config.write_text("queue:\n  dept: 5\n")
    terminal = Terminal(tmp_path / "data", tmp_path)

    code, message = refused(terminal.conductor("--config", str(config), "tasks", "list"))

    assert (code, "depth" in message) == (2, True)


def test_completion_offers_recent_tasks(served: Terminal, task: str) -> None:
    line = f"conductor tasks show {task[:3]}"
    asked = {"_CONDUCTOR_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "3"}
    said = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'conductor'; from conductor.faces.cli.main import main; main()"],
        capture_output=True, text=True, env=served.environment() | asked, timeout=60,
    )  # fmt: skip
    assert task in said.stdout.split(), said.stderr
    assert "complete_bash" in served.conductor("--show-completion", "bash").out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["tasks", "correct", "last", "--kind", "trainig"], ["--kind", '"trainig"', "did you mean training?"]),
        (["tasks", "correct", "last", "--device", "FPGA"], ["--device", '"FPGA"', "one of gpu, npu"]),
        (["tasks", "correct", "last", "--priority", "9"], ["--priority", "5 or less"]),
        (["tasks", "list", "--limit", "many"], ["--limit", '"many"', "a whole number"]),
        (["mind", "rollback", "first"], ["version", '"first"', "a whole number"]),
    ],
)
def test_a_value_that_an_option_cannot_take_is_told_in_our_words(
    alone: Terminal, line: list[str], words: list[str]
) -> None:
    said = alone.conductor(*line)

    assert (said.code, said.out) == (2, "")
    assert [word for word in words if word not in said.err] == []
    assert not any(word in said.err for word in ("Value error", "Input should", "unable to parse"))
