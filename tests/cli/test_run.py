"""`conductor run` as a user meets it: with a running server, with an embedded one, interrupted, and given nonsense."""

import os
import selectors
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.terminal import PATIENCE_S, Terminal

from conductor.adapters.data_folder import running_server

NAP = ("sh", "-c", "echo started; sleep 300")


def started(process: "subprocess.Popen[str]") -> None:
    """Wait until the task of a `run` prints."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("started"):
            return
    raise AssertionError("the task never started")


def wait_until_nobody_uses(data_dir: Path) -> None:
    """Wait for the end of the process that holds the folder, if one does."""
    holder = running_server(data_dir)
    if holder is not None:
        try:
            descriptor = os.pidfd_open(holder.pid)
        except ProcessLookupError:
            return
        with os.fdopen(descriptor) as ending, selectors.DefaultSelector() as selector:
            selector.register(ending, selectors.EVENT_READ)
            assert selector.select(PATIENCE_S), "the embedded server outlived its command"
    assert running_server(data_dir) is None


def test_the_card_the_output_the_result_and_the_receipt_are_shown(served: Terminal) -> None:
    said = served.conductor("run", "Count the lines of a small log file", "--", "sh", "-c", "echo one; echo two >&2")

    assert said.code == 0
    for word in ("Device", "Compute units", "Duration", "Priority", "Confidence", "similarity", "Score", "succeeded"):
        assert word in said.out
    assert "\none\n" in said.out
    assert "\ntwo\n" in said.out
    assert "conductor ledger prove t" in said.out


def test_json_is_all_that_is_printed_on_standard_output_when_asked_for(served: Terminal) -> None:
    said = served.conductor("run", "Say hello", "--json", "--", "echo", "hello")

    task = said.json()
    assert (said.code, task["state"], task["outcome"]["stdout_tail"]) == (0, "succeeded", "hello\n")


def test_an_embedded_server_gives_the_same_result_and_ends_with_the_command(alone: Terminal) -> None:
    said = alone.conductor("run", "Say hello", "--json", "--", "echo", "hello")

    task = said.json()
    assert (said.code, task["state"], task["outcome"]["stdout_tail"]) == (0, "succeeded", "hello\n")
    assert running_server(alone.data_dir) is None
    assert said.err == ""


def test_a_task_that_fails_is_exit_code_1_and_its_own_message(served: Terminal) -> None:
    said = served.conductor("run", "Fail", "--retries", "0", "--", "sh", "-c", "exit 3")

    assert said.code == 1
    assert "exit code 3" in said.out


def test_a_missing_executable_is_named_before_anything_is_queued(served: Terminal) -> None:
    before = served.conductor("tasks", "list", "--json").json()["tasks"]

    said = served.conductor("run", "Encode this clip", "--", "no-such-encoder", "-i", "clip.mkv")

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("conductor: there is no executable 'no-such-encoder'")
    assert len(said.err.splitlines()) == 1
    assert served.conductor("tasks", "list", "--json").json()["tasks"] == before


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["", "--", "true"], "description"),
        (["x", "--python", "nothing.here:f"], "nothing"),
        (["x", "--python", "a:b", "--", "true"], "--python"),
        (["x", "--args", "{}"], "--python"),
        (["x", "--spec", "{"], "--spec"),
        (["x", "--memory", "much", "--", "true"], "memory"),
        (["x", "--memory", "1G"], "nothing to execute"),
        (["x", "--spec", '{"kind": "comand"}'], "command"),
        (["x", "--priority", "9", "--", "true"], "--priority"),
        (["x", "--directory", "/no/such/folder", "--", "true"], "/no/such/folder"),
    ],
)
def test_wrong_input_is_one_line_that_names_it_and_exit_code_2(served: Terminal, words: list[str], hint: str) -> None:
    said = served.conductor("run", *words)

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("conductor: ")
    assert len(said.err.splitlines()) == 1
    assert hint in said.err


def test_without_anything_to_execute_only_the_decision_is_made(served: Terminal) -> None:
    said = served.conductor("run", "Render the opening sequence in 4K")

    assert said.code == 0
    assert "Decided only" in said.out


def test_detached_work_is_queued_and_can_be_watched_to_its_end(served: Terminal) -> None:
    queued = served.conductor("run", "Say hello later", "--detach", "--json", "--", "echo", "later").json()

    said = served.conductor("tasks", "watch", queued["task_id"])

    assert said.code == 0
    assert "succeeded" in said.out


def test_detached_work_needs_a_server_that_stays(alone: Terminal) -> None:
    said = alone.conductor("run", "Say hello", "--detach", "--", "echo", "hello")

    assert (said.code, said.err) == (3, "conductor: no server is running; start one with `conductor serve`\n")


def test_the_same_idempotency_key_runs_once_and_refuses_other_work(served: Terminal) -> None:
    first = served.conductor("run", "Say it", "--idempotency-key", "k1", "--json", "--", "echo", "once").json()
    again = served.conductor("run", "Say it", "--idempotency-key", "k1", "--json", "--", "echo", "once").json()
    other = served.conductor("run", "Say more", "--idempotency-key", "k1", "--", "echo", "twice")

    assert again["task_id"] == first["task_id"]
    assert other.code == 5


@pytest.mark.parametrize("embedded", [False, True], ids=["running server", "embedded server"])
def test_interrupting_cancels_the_task_and_says_so(served: Terminal, alone: Terminal, embedded: bool) -> None:
    terminal = alone if embedded else served
    process = terminal.start("run", "Take a nap", "--", *NAP, start_new_session=True)
    started(process)

    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches every process of the terminal's group
    out, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130
    assert "cancelled in" in out
    wait_until_nobody_uses(alone.data_dir)


def test_killing_the_command_ends_its_server_and_keeps_its_task(alone: Terminal) -> None:
    process = alone.start("run", "Take a nap", "--", *NAP)
    started(process)

    process.kill()
    process.wait(PATIENCE_S)
    wait_until_nobody_uses(alone.data_dir)

    assert [task["state"] for task in alone.conductor("tasks", "list", "--json").json()["tasks"]] == ["queued"]
    assert alone.conductor("tasks", "cancel", "last").out.endswith("is cancelled.\n")


def test_a_task_goes_on_when_the_embedded_server_of_another_command_ends(alone: Terminal) -> None:
    first = alone.start("run", "Take a nap", "--", *NAP)
    started(first)
    second = alone.start("run", "Take a short nap", "--", "sh", "-c", "echo started; sleep 2; echo rested")
    started(second)

    first.send_signal(signal.SIGINT)
    first.communicate(timeout=PATIENCE_S)
    out, _ = second.communicate(timeout=PATIENCE_S)

    assert (first.returncode, second.returncode) == (130, 0)
    assert "rested" in out


@pytest.mark.parametrize("columns", [80, 120])
def test_nothing_is_wider_than_the_terminal_and_no_id_is_cut(served: Terminal, columns: int) -> None:
    terminal = replace(served, columns=columns)
    task = terminal.conductor("run", "Say hello " * 20, "--json", "--", "echo", "hello").json()
    node = task["node_id"]

    listing = terminal.conductor("tasks", "list").out
    card = terminal.conductor("tasks", "show", task["task_id"]).out
    nodes = terminal.conductor("nodes", "list").out

    for text in (listing, card, nodes, terminal.conductor("ledger", "show").out):
        assert max(map(len, text.splitlines())) <= columns
    assert task["task_id"] in listing
    assert task["task_id"] in card
    assert node in card
    assert node in nodes


def test_nobody_reading_is_no_error_worth_a_traceback(served: Terminal) -> None:
    process = served.start("tasks", "list", "--json", stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()

    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(PATIENCE_S) == 141
