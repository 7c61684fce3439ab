"""Start the launcher with its specification and pipes; what it does with them is described in `launcher`."""

import json
import math
import os
import resource
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from conductor.adapters.local_processes import launcher
from conductor.fleet.ports import Slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A launcher process and our ends of its pipes: we write to control and read the others."""

    process: "subprocess.Popen[bytes]"
    control_fd: int
    status_fd: int
    stdout_fd: int
    stderr_fd: int
    result_fd: int | None


def launch(
    argv: Sequence[str],
    *,
    carved: Slice,
    directory: Path,
    environment: Mapping[str, str],
    launcher_environment: Mapping[str, str],
    group_entries: Sequence[str] = (),
    group_root: Path,
    stdin: bytes = b"",
    returns: bool = False,
) -> Launched:
    """Start a command in a slice. Everything the launcher gets is closed here, ours is the caller's to close.

    The launcher is not confined yet, so it must not see what the task asks for: `LD_PRELOAD` there would run the
    task's code outside its slice.

    Raises:
        OSError: no process or descriptor to be had.
    """
    with ExitStack() as theirs, ExitStack() as ours:
        control_read, control_fd = _pipe(theirs, ours)
        status_fd, status_write = _pipe(ours, theirs)
        stdout_fd, stdout_write = _pipe(ours, theirs)
        stderr_fd, stderr_write = _pipe(ours, theirs)
        result_fd, result_write = _pipe(ours, theirs) if returns else (None, None)
        answer_on = {} if result_write is None else {"CONDUCTOR_RESULT_FD": str(result_write)}
        spec = {
            "argv": list(argv),
            "directory": str(directory),
            "environment": {**environment, **answer_on},
            "server_pid": os.getpid(),
            "namespaces": carved.namespaces,
            "network": carved.network,
            "group_entries": list(group_entries),
            "group_root": str(group_root),
            "rlimits": _rlimits(carved),
            "control_fd": control_read,
            "status_fd": status_write,
            "result_fd": result_write,
        }
        spec_fd = _memory_file(theirs, "spec", json.dumps(spec).encode())
        process = subprocess.Popen(
            launcher.command(spec_fd),
            stdin=_memory_file(theirs, "stdin", stdin) if stdin else subprocess.DEVNULL,
            stdout=stdout_write,
            stderr=stderr_write,
            pass_fds=[fd for fd in (spec_fd, control_read, status_write, result_write) if fd is not None],
            start_new_session=True,
            cwd="/",
            env=dict(launcher_environment),
        )
        ours.pop_all()
    return Launched(
        process=process,
        control_fd=control_fd,
        status_fd=status_fd,
        stdout_fd=stdout_fd,
        stderr_fd=stderr_fd,
        result_fd=result_fd,
    )


def _rlimits(carved: Slice) -> dict[str, list[int]]:
    """What the kernel bounds per process, as [soft, hard]; a task past the soft processor time is told by SIGXCPU."""
    cpu_s = math.ceil(carved.limits.cpu_time_s)
    bounds = {
        "RLIMIT_CORE": [0, 0],
        "RLIMIT_CPU": [cpu_s, cpu_s + 2],
        "RLIMIT_FSIZE": [carved.largest_file_bytes] * 2,
    }
    if carved.bound_user_processes:
        # The kernel counts all threads of the user, so those there are already come on top.
        bounds["RLIMIT_NPROC"] = [_threads_of(os.getuid()) + carved.limits.processes] * 2
    if carved.address_space_bytes is not None:
        bounds["RLIMIT_AS"] = [carved.address_space_bytes] * 2
    return {name: [min(bound, resource.RLIM_INFINITY & (2**63 - 1)) for bound in pair] for name, pair in bounds.items()}


def _threads_of(uid: int) -> int:
    count = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                count += sum(1 for _ in (folder / "task").iterdir()) if folder.stat().st_uid == uid else 0
    return count


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with their owners."""
    read_fd, write_fd = os.pipe()
    reader.callback(os.close, read_fd)
    writer.callback(os.close, write_fd)
    return read_fd, write_fd


def _memory_file(owner: ExitStack, name: str, content: bytes) -> int:
    """Content to be read from a descriptor: unlike a pipe it takes any size before anybody reads."""
    fd = os.memfd_create(name)
    owner.callback(os.close, fd)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
