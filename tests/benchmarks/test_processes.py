import sys

import psutil
import pytest
from benchmarks.harness import CannotRun
from benchmarks.processes import finish, running

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("child", child.pid, flush=True)
child.wait()
"""


def test_a_program_and_the_children_it_hid_in_other_sessions_are_gone_after_the_block() -> None:
    with running([sys.executable, "-c", PARENT], end_within_s=1.0) as program:
        program.wait_for_words("child", within_s=30)
        pids = [program.process.pid, int(program.said().split()[1])]
        assert program.memory_bytes() > 1_000_000

    assert not any(is_alive(pid) for pid in pids)


def is_alive(pid: int) -> bool:
    """A process whose end nobody has asked for yet keeps its number; it runs no more."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_program_that_ends_before_it_is_ready_is_reported_with_what_it_said() -> None:
    with (
        running([sys.executable, "-c", "print('no such port'); raise SystemExit(3)"]) as program,
        pytest.raises(CannotRun, match=r"(?s)ended with 3.*no such port"),
    ):
        program.wait_for_words("ready", within_s=30)


def test_a_program_that_does_not_become_ready_is_given_up() -> None:
    with (
        running([sys.executable, "-c", "import time; time.sleep(60)"]) as program,
        pytest.raises(CannotRun, match=r"not ready after 0\.2 s"),
    ):
        program.wait_for_words("ready", within_s=0.2)


@pytest.mark.parametrize("command", [["no-such-program-here"], [sys.executable, "-c", "raise SystemExit('broken')"]])
def test_a_program_that_fails_cannot_be_compared(command: list[str]) -> None:
    with pytest.raises(CannotRun, match=r"cannot be started|(?s:ended with 1.*broken)"):
        finish(command)
