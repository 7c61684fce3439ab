"""A model in a process of its own: loaded late, dying, hanging, talking nonsense; each a real process."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from conductor.adapters.clock import SystemClock
from conductor.adapters.minds import wire
from conductor.adapters.minds.worker import WorkerMind
from conductor.decisions.ports import Proposal
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import ModelError

PROPOSAL = Proposal(
    device_probabilities={device: (device is DeviceType.NPU) * 0.5 + 0.5 / 6 for device in DeviceType},
    task_kind=TaskKind.INFERENCE,
    kind_probability=0.9,
    priority=2,
    compute_units=4.0,
    duration_s=None,
    reason="Small network.",
)
#: A worker in a few lines: ready at once, then whatever `{body}` does about each request.
WORKER = """
import json, os, sys, time
def say(message): sys.stdout.write(json.dumps(message) + chr(10)); sys.stdout.flush()
proposal = {proposal}
{before}
say({{"ready": {{"name": "w", "checksum": "ab" * 32}}}})
for line in sys.stdin:
    request = json.loads(line)
    {body}
"""
ANSWER = 'say({"id": request["id"], "proposals": [proposal]})'


def worker(body: str = ANSWER, *, before: str = "", timeout_s: float = 20.0, loading_s: float = 60.0) -> WorkerMind:
    code = WORKER.format(proposal=repr(wire.plain(PROPOSAL)), before=before, body=body)
    return WorkerMind(
        [sys.executable, "-c", code],
        name="w",
        environment={"PATH": os.defpath},
        clock=SystemClock(),
        timeout_s=timeout_s,
        loading_s=loading_s,
    )


def test_a_proposal_survives_the_wire() -> None:
    assert wire.proposal(wire.message(wire.line(wire.plain(PROPOSAL)))) == PROPOSAL


def test_each_text_is_answered_by_the_worker() -> None:
    mind = worker()

    assert mind.propose(["one", "two"]) == [PROPOSAL, PROPOSAL]
    assert mind.checksum == "ab" * 32
    mind.close()


def test_the_worker_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_MIND__API_KEY", "secret-1")
    mind = worker('say({"id": request["id"], "error": " ".join(os.environ)})')

    with pytest.raises(ModelError) as told:
        mind.propose(["one"])
    assert "CONDUCTOR" not in str(told.value)
    mind.close()


def test_a_question_that_takes_too_long_ends_the_worker() -> None:
    mind = worker('say({"id": request["id"], "proposals": [proposal]}) if "fast" in line else time.sleep(600)')
    assert mind.propose(["fast"]) == [PROPOSAL]
    mind._timeout_s = 0.5
    children = {child.pid for child in psutil.Process().children()}

    with pytest.raises(ModelError, match=r"did not answer within 0\.5 s; raise mind\.timeout_s"):
        mind.propose(["slow"])

    left = {child.pid for child in psutil.Process().children()}
    assert len(children - left) == 1


def test_a_worker_that_dies_is_started_again_after_a_rest() -> None:
    mind = worker(f'os._exit(7) if "die" in line else {ANSWER}')

    with pytest.raises(ModelError, match="ended with exit code 7"):
        mind.propose(["die"])
    with pytest.raises(ModelError, match=r"exit code 7.*tried again in"):
        mind.propose(["one"])
    mind._rests_until_s = 0.0  # the rest is over
    assert mind.propose(["one"]) == [PROPOSAL]
    mind.close()


def test_a_killed_worker_is_said_to_have_lacked_memory_perhaps() -> None:
    mind = worker("os.kill(os.getpid(), 9)")

    with pytest.raises(ModelError, match="SIGKILL; perhaps it did not fit into memory: choose a smaller model"):
        mind.propose(["one"])


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('say({"id": request["id"], "proposals": [{"device_probabilities": {"TPU": 1}}]})', "nonsense"),
        ('say({"id": request["id"], "proposals": []})', "nonsense"),
        ('say({"id": -1, "proposals": [proposal]})', "another question"),
        ('print("hello", flush=True); time.sleep(0.2); os._exit(0)', "ended with"),
        ('sys.stderr.write("no more room" + chr(10)); sys.stderr.flush(); os._exit(3)', "it said: no more room"),
    ],
)
def test_nonsense_of_a_worker_is_an_error(body: str, told: str) -> None:
    mind = worker(body)

    with pytest.raises(ModelError, match=told):
        mind.propose(["one"])
    mind.close()


def test_an_error_of_one_question_leaves_the_worker_alive() -> None:
    mind = worker(f'say({{"id": request["id"], "error": "too long"}}) if "long" in line else {ANSWER}')

    with pytest.raises(ModelError, match="too long"):
        mind.propose(["long"])
    assert mind.propose(["one"]) == [PROPOSAL]
    mind.close()


def test_questions_do_not_wait_for_a_model_that_is_being_loaded_and_do_not_stop_it(tmp_path: Path) -> None:
    go = tmp_path / "go"
    mind = worker(before=f"while not os.path.exists({str(go)!r}): time.sleep(0.02)", timeout_s=0.3)

    with pytest.raises(ModelError, match="still being loaded"):
        mind.propose(["one"])
    go.touch()
    mind._timeout_s = 20.0
    assert mind.propose(["one"]) == [PROPOSAL]
    mind.close()


def test_a_model_that_never_loads_is_given_up() -> None:
    mind = worker(before="time.sleep(600)", timeout_s=0.2, loading_s=0.1)

    with pytest.raises(ModelError, match=r"not loaded within 0\.1 s"):
        mind.propose(["one"])
    assert mind._worker is None


def test_a_model_that_cannot_be_loaded_is_told_and_not_tried_at_once_again() -> None:
    mind = worker(before='say({"error": "no such file; fetch it"}); sys.exit(1)')

    with pytest.raises(ModelError, match=r"no such file; fetch it$"):
        mind.propose(["one"])
    with pytest.raises(ModelError, match=r"no such file; fetch it \(tried again in"):
        mind.propose(["one"])


def test_questions_from_several_threads_get_their_own_answers() -> None:
    mind = worker(
        'say({"id": request["id"], "proposals": [proposal | {"reason": request["texts"][0]}]})',
    )
    found: dict[str, str] = {}

    def ask(text: str) -> None:
        found[text] = mind.propose([text])[0].reason

    threads = [threading.Thread(target=ask, args=(f"text {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert found == {f"text {number}": f"text {number}" for number in range(8)}
    mind.close()


def test_a_program_that_is_not_there_is_told() -> None:
    mind = WorkerMind(["/nowhere/python"], name="w", environment={}, clock=SystemClock(), timeout_s=1.0)

    with pytest.raises(ModelError, match="cannot be started"):
        mind.propose(["one"])


def test_the_real_worker_ends_with_its_server_even_while_it_loads(tmp_path: Path) -> None:
    model = tmp_path / "never.gguf"
    os.mkfifo(model)  # reading it waits until somebody writes, and nobody does
    command = [sys.executable, "-m", "conductor.app.minds.worker", "--model", str(model)]
    code = textwrap.dedent(
        f"""
        import subprocess, sys, time
        worker = subprocess.Popen({command!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        print(worker.pid, flush=True)
        time.sleep(600)
        """
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    wait_until(lambda: can_be_written(model))
    assert runs(pid)

    server.kill()
    server.communicate()

    wait_until(lambda: not runs(pid))


def can_be_written(pipe: Path) -> bool:
    """Whether somebody has opened a pipe for reading; the end stays open, so that the reader goes on waiting."""
    try:
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    return True


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
