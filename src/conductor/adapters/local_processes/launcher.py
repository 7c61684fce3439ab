"""Turn this process into a slice of the machine, run one command in it, and watch until nothing of it is left.

Started by `command`; standard library only and no more of it than needed (no pathlib, no typing), because its start
is part of every task: about 30 ms in all. The specification is one JSON object, see `LocalProcesses`. What happens
is reported as JSON lines: `{"cannot": step, "errno", "text"}`, `{"started": monotonic ns}` and
`{"ended": wait status, "at": monotonic ns, "cpu_s", "peak_bytes"}`.

Three processes take part. The *launcher* makes the namespaces. The *keeper* is the first process inside them (without
namespaces the launcher itself): when it ends, the kernel kills every process of the task, daemons included; without
namespaces it adopts orphans and kills them itself. The *task* enters its control groups, gives up privileges and
becomes the command. The server's end of the control pipe closes when the server dies, however it dies; the keeper
then ends everything.

What is asked for is enforced or the task does not start. Only the private /proc, the read-only view of control
groups and the loopback interface are best effort, since some containers refuse them.
"""

# Importing pathlib would take longer than making all namespaces.
# ruff: noqa: PTH100, PTH122, PTH123, PTH208
from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 22, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 0x1
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1

#: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE: what an ordinary program of the
#: superuser needs. Everything that reaches beyond its own files and processes is given up.
KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 10})


def command(spec_fd: int) -> list[str]:
    """How to start the launcher. Imported rather than named as the script, because only imports are kept compiled."""
    folder, module = os.path.split(os.path.splitext(os.path.abspath(__file__))[0])
    start = f"import sys; sys.path.append({folder!r}); import {module}; {module}.main({spec_fd})"
    return [sys.executable, "-I", "-S", "-c", start]


libc = ctypes.CDLL(None, use_errno=True)


class CannotStart(Exception):
    """A step of making the slice failed."""

    def __init__(self, step: str, error: OSError) -> None:
        self.step, self.error = step, error
        super().__init__(f"{step}: {error.strerror}")


def call(name: str, *arguments: Any) -> int:
    """Call libc, raising OSError where it returns -1."""
    result: int = getattr(libc, name)(*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def prctl(option: int, value: Any, more: Any = 0) -> None:
    """prctl(2) with every argument as wide as the kernel reads it."""
    call("prctl", option, ctypes.c_ulong(value), more, ctypes.c_ulong(0), ctypes.c_ulong(0))


def step(name: str, action: Callable[..., object], *arguments: Any) -> Any:
    """Do one step that must work."""
    try:
        return action(*arguments)
    except OSError as error:
        raise CannotStart(name, error) from error


def attempt(action: Callable[..., object], *arguments: Any) -> None:
    """Do one step that containers may refuse, or that may come too late."""
    try:
        action(*arguments)
    except OSError:
        return


def report(fd: int, **facts: object) -> None:
    """Write one line; shorter than PIPE_BUF, so lines of different processes never mix."""
    os.write(fd, json.dumps(facts).encode() + b"\n")


def write(path: str, text: str) -> None:
    """Write a file of the kernel."""
    with open(path, "w") as file:
        file.write(text)


def main(spec_fd: int) -> NoReturn:
    """Read the specification and run it."""
    with os.fdopen(spec_fd, "rb") as source:
        spec = json.loads(source.read())
    live(spec, launch, spec)


def live(spec: dict[str, Any], action: Callable[..., object], *arguments: Any) -> NoReturn:
    """Do all that this process is for, report what failed, and end without tidying up (which takes milliseconds)."""
    try:
        action(*arguments)
    except CannotStart as failure:
        report(spec["status_fd"], cannot=failure.step, errno=failure.error.errno, text=failure.error.strerror)
    except Exception as error:  # no memory, say: nobody else would hear of it
        report(spec["status_fd"], cannot="launcher", errno=0, text=repr(error)[:500])
    finally:
        os._exit(0)


def launch(spec: dict[str, Any]) -> None:
    """Become the launcher: namespaces if asked, then the keeper."""
    # Opened before the mount namespace makes them read-only; the task enters through them.
    entries = [step(f"open {path}", os.open, path, os.O_WRONLY | os.O_CLOEXEC) for path in spec["group_entries"]]
    if not spec["namespaces"]:
        # No PDEATHSIG here: if the server dies, the keeper must live to kill what the task left behind.
        step("subreaper", prctl, PR_SET_CHILD_SUBREAPER, 1)
        keep(spec, entries)
        return
    die_with_parent(spec["server_pid"])
    enter_namespaces(spec)
    keeper = os.fork()
    if keeper == 0:
        live(spec, keep_inside, spec, entries)
    release_streams(spec)
    os.waitpid(keeper, 0)


def die_with_parent(parent: int | None) -> None:
    """Ask the kernel to kill this process when its parent dies, and notice a parent that died before."""
    step("pdeathsig", prctl, PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(124)


def enter_namespaces(spec: dict[str, Any]) -> None:
    """Own processes, mounts and IPC; own network unless it was asked for."""
    flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC
    if spec["network"] == "namespace":
        flags |= CLONE_NEWNET
    if spec["namespaces"] == "root":
        step("unshare", call, "unshare", flags)
        return
    uid, gid = os.geteuid(), os.getegid()
    step("unshare", call, "unshare", flags | CLONE_NEWUSER)
    step("setgroups", write, "/proc/self/setgroups", "deny")
    step("uid_map", write, "/proc/self/uid_map", f"{uid} {uid} 1")
    step("gid_map", write, "/proc/self/gid_map", f"{gid} {gid} 1")


def furnish(spec: dict[str, Any]) -> None:
    """Make the new namespaces liveable: nothing mounted here shows outside, /proc lists only the task, lo is up."""
    step("private mounts", call, "mount", b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)
    flags = ctypes.c_ulong(MS_NOSUID | MS_NODEV | MS_NOEXEC)
    attempt(call, "mount", b"proc", b"/proc", b"proc", flags, None)
    attempt(make_read_only, spec["group_root"])
    if spec["network"] == "namespace":
        attempt(raise_loopback)


def make_read_only(path: str) -> None:
    """Keep the task from moving itself out of its control groups (mount_setattr(2), Linux 5.12)."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    where = ctypes.c_char_p(os.fsencode(path))
    call("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, where, AT_RECURSIVE, attributes, ctypes.c_size_t(len(attributes)))


def raise_loopback() -> None:
    """`ip link set lo up`, without the program."""
    import _socket

    with_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(with_socket.fileno(), SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    finally:
        with_socket.close()


def keep_inside(spec: dict[str, Any], entries: list[int]) -> None:
    """Be the keeper in new namespaces."""
    die_with_parent(None)
    furnish(spec)
    keep(spec, entries)


def keep(spec: dict[str, Any], entries: list[int]) -> None:
    """Be the keeper: start the task, obey the control pipe, end everything when the task ends."""
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    # Installed before the fork, so that an early end is not missed; the task restores the default.
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    task = os.fork()
    if task == 0:
        live(spec, become, spec, entries)
    release_streams(spec)
    ended = watch(task, spec["control_fd"], wake_read)
    at = time.monotonic_ns()
    if not spec["namespaces"]:
        kill_descendants()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    report(
        spec["status_fd"],
        ended=ended,
        at=at,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
    )


def release_streams(spec: dict[str, Any]) -> None:
    """Let go of the task's streams, so that they end when the task does."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    if spec["result_fd"] is not None:
        os.close(spec["result_fd"])


def watch(task: int, control_fd: int, wake_fd: int) -> int | None:
    """Wait until the task ends or everything is to end; the wait status, or None when it was not waited for."""
    poll = select.poll()
    poll.register(control_fd, select.POLLIN)
    poll.register(wake_fd, select.POLLIN)
    while True:
        ended = reap(task)
        if ended is not None:
            return ended
        ready = [fd for fd, _ in poll.poll()]
        if wake_fd in ready:
            os.read(wake_fd, 4096)
        if control_fd in ready:
            order = os.read(control_fd, 1)
            if order == b"T":
                attempt(os.killpg, task, signal.SIGTERM)
            else:  # `K`, or the server is gone
                attempt(os.kill, task, signal.SIGKILL)
                poll.unregister(control_fd)


def reap(task: int) -> int | None:
    """Collect every process that ended; the wait status of the task if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == task:
            found = status


def kill_descendants() -> None:
    """Kill and collect orphans until none is left; new ones they make meanwhile become ours and die next round."""
    while True:
        for pid in descendants(os.getpid()):
            attempt(os.kill, pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def descendants(root: int) -> list[int]:
    """Every process below `root`, by the parents that /proc names."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", errors="replace") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:  # ended between the listing and the look
                continue
            children.setdefault(int(fields[1]), []).append(int(name))
    found, rest = [], [root]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


def become(spec: dict[str, Any], entries: list[int]) -> None:
    """Be the task: enter the slice, give up privileges, execute. Returns only by failing."""
    confine(spec, entries)
    step("directory", os.chdir, spec["directory"])
    os.set_inheritable(spec["status_fd"], False)
    for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    report(spec["status_fd"], started=time.monotonic_ns())
    step("exec", os.execvpe, spec["argv"][0], spec["argv"], spec["environment"])


def confine(spec: dict[str, Any], entries: list[int]) -> None:
    """Everything that is bound to the process itself."""
    os.setsid()
    die_with_parent(None)
    signal.set_wakeup_fd(-1)
    for entry in entries:
        step("enter control group", os.write, entry, b"0")
    os.close(spec["control_fd"])
    if spec["result_fd"] is not None:
        os.set_inheritable(spec["result_fd"], True)
    for name, bounds in spec["rlimits"].items():
        step(name, set_rlimit, name, bounds)
    if os.geteuid() == 0:
        drop_capabilities()
    step("no_new_privs", prctl, PR_SET_NO_NEW_PRIVS, 1)
    if spec["network"] == "filter":
        step("seccomp", close_network)


def set_rlimit(name: str, bounds: list[int]) -> None:
    """Set one limit, never above what we ourselves may have."""
    kind = getattr(resource, name)
    ceiling = resource.getrlimit(kind)[1]
    if ceiling != resource.RLIM_INFINITY:
        bounds = [min(bound, ceiling) for bound in bounds]
    resource.setrlimit(kind, (bounds[0], bounds[1]))


def drop_capabilities() -> None:
    """Take from the bounding set what the task must not have; the following exec applies it."""
    for capability in range(64):
        if capability not in KEPT_CAPABILITIES:
            attempt(prctl, PR_CAPBSET_DROP, capability)


#: (AUDIT_ARCH, socket(2), io_uring_setup(2)) per machine.
SYSTEM_CALLS = {"x86_64": (0xC000003E, 41, 425), "aarch64": (0xC00000B7, 198, 425)}


def network_filter(machine: str) -> bytes:
    """BPF that lets socket(2) open Unix sockets only, and hides io_uring, which can open sockets unseen.

    Programs of another architecture (32-bit on 64-bit, x32) get ENOSYS for every call: their numbers differ.

    Raises:
        KeyError: the numbers of this machine are not known.
    """
    architecture, socket_call, uring_call = SYSTEM_CALLS[machine]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    allow, refused, missing = 0x7FFF0000, 0x00050000 | 13, 0x00050000 | 38  # EACCES, ENOSYS
    program = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 1, 0, architecture),
        (answer, 0, 0, missing),
        (load, 0, 0, 0),  # seccomp_data.nr
        (at_least, 0, 1, 0x40000000),  # x32
        (answer, 0, 0, missing),
        (equal, 0, 1, uring_call),
        (answer, 0, 0, missing),
        (equal, 0, 3, socket_call),
        (load, 0, 0, 16),  # low half of the first argument
        (equal, 1, 0, 1),  # AF_UNIX
        (answer, 0, 0, refused),
        (answer, 0, 0, allow),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def close_network() -> None:
    """Install the filter; it cannot be taken off again and all descendants inherit it."""
    try:
        code = network_filter(os.uname().machine)
    except KeyError:
        raise OSError(38, f"no filter for {os.uname().machine}") from None
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))
    prctl(PR_SET_SECCOMP, 2, ctypes.c_void_p(ctypes.addressof(program)))
