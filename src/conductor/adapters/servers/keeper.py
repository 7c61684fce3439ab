"""Run one program and let nothing of it outlive us: `python -I -S keeper.py GRACE_S PROGRAM ARGUMENT…`.

Started by `starting`; standard library only. The program gets a session and a process group of its own, no standard input,
and our standard error for all it says. Our standard output tells `started PID` and `ended WAIT_STATUS`.

When our standard input closes, because the server wants it or because the server is dead, the group is asked to end,
and killed after the grace. When the program ends, however it does, the rest of its group is killed, and whatever left
the group comes to us as an orphan and is killed too. Should somebody kill us, the kernel kills the program. (The last two
on Linux only.)
"""

# Importing pathlib would take longer than all the rest.
# ruff: noqa: PTH208, PTH123
from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CANNOT_EXECUTE = 127


def main(grace_s: float, command: list[str]) -> None:
    """Run it until it ends or our standard input closes."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    keeper = os.getpid()
    program = os.fork()
    if program == 0:
        become(command, keeper)
    tell(f"started {program}")
    threading.Thread(target=end_with_input, args=(program, grace_s), daemon=True).start()
    _, status = os.waitpid(program, 0)
    clear(program)
    tell(f"ended {status}")


def become(command: list[str], keeper: int) -> None:
    """Be the program; never returns."""
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(CANNOT_EXECUTE)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        os.execv(command[0], command)  # noqa: S606
    except OSError as refused:
        os.write(2, f"{command[0]} cannot be executed: {refused.strerror}\n".encode())
    finally:
        os._exit(CANNOT_EXECUTE)


def end_with_input(program: int, grace_s: float) -> None:
    """Wait until nobody wants the program any more, then ask it to end, and insist."""
    while os.read(0, 4096):
        pass
    kill_group(program, signal.SIGTERM)
    threading.Event().wait(grace_s)
    kill_group(program, signal.SIGKILL)


def clear(program: int) -> None:
    """Kill what is left of a program that has ended: its group, and orphans."""
    kill_group(program, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            for orphan in children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(orphan, signal.SIGKILL)
            os.waitpid(-1, 0)


def kill_group(program: int, how: int) -> None:
    """Signal all of the program's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(program, how)


def children() -> list[int]:
    """Our own children; none where there is no /proc."""
    found, me = [], str(os.getpid())
    names = os.listdir("/proc") if os.path.isdir("/proc/self") else []  # noqa: PTH112
    for name in filter(str.isdigit, names):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
            if stat.read().rpartition(")")[2].split()[1] == me:
                found.append(int(name))
    return found


def prctl(option: int, value: int) -> None:
    """prctl(2) where there is one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def tell(line: str) -> None:
    """One line to the server, if it still listens."""
    with contextlib.suppress(OSError):
        os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
