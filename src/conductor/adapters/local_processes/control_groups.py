"""Control groups: bound and count what all processes of one task use together.

Finds where this process may make groups (version 2 where delegated to us, else version 1), makes one per task below
one per server, reads it, kills what is in it and takes it away. What a slice contains is decided elsewhere
(`fleet.confinement`); processes enter their group themselves (`launcher`).

Covered: v1 with `memory`, `pids`, `cpuacct`; v2 in a delegated subtree; groups that dead servers left behind.
Not covered: mixed trees, where v2 is mounted beside v1 without controllers (v1 is used); swap where the kernel does
not account for it. Source: kernel documentation, admin-guide/cgroup-v1/memory, admin-guide/cgroup-v2.
"""

import asyncio
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conductor.domain.workload import Limits

PREFIX: Final = "conductor-"
#: Our name for a controller → the folder version 1 mounts it under.
V1_FOLDERS: Final = {"memory": "memory", "pids": "pids", "cpu": "cpuacct"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupUsage:
    """What a task's processes used together so far; None where no controller counts it.

    `held_bytes` is anonymous and shared memory held now, `peak_bytes` the highest charge, file cache included.
    """

    cpu_time_s: float | None = None
    held_bytes: int | None = None
    peak_bytes: int | None = None
    kills: int = 0
    refused_forks: int = 0


class TaskGroup:
    """The control groups of one task."""

    def __init__(self, folders: dict[str, Path], *, version: int) -> None:
        self._folders, self._version = folders, version

    @property
    def entries(self) -> list[str]:
        """Files a process of one thread writes `0` to in order to enter.

        In version 1 that is `tasks`: moving the calling thread alone spares the kernel a grace period of some 15 ms
        per controller, which `cgroup.procs` waits for.
        """
        name = "tasks" if self._version == 1 else "cgroup.procs"
        return sorted({str(folder / name) for folder in self._folders.values()})

    def make(self, limits: Limits) -> None:
        """Create the folders and write the bounds.

        Raises:
            OSError: the kernel refuses; the task must not start.
        """
        for controller, folder in self._folders.items():
            folder.mkdir(exist_ok=True)
            for name, value in _bounds(controller, limits, self._version):
                if (folder / name).exists() or name in ("memory.limit_in_bytes", "memory.max", "pids.max"):
                    (folder / name).write_text(str(value))

    def usage(self) -> GroupUsage:
        """Read the counters; a few dozen microseconds."""
        memory, pids, cpu = (self._folders.get(name) for name in ("memory", "pids", "cpu"))
        refused = _table(pids / "pids.events").get("max", 0) if pids else 0
        if self._version == 1:
            held = _table(memory / "memory.stat") if memory else {}
            nanoseconds = _number(cpu / "cpuacct.usage") if cpu else None
            return GroupUsage(
                cpu_time_s=None if nanoseconds is None else nanoseconds / 1e9,
                held_bytes=held["total_rss"] + held.get("total_shmem", 0) if "total_rss" in held else None,
                peak_bytes=_number(memory / "memory.max_usage_in_bytes") if memory else None,
                kills=_table(memory / "memory.oom_control").get("oom_kill", 0) if memory else 0,
                refused_forks=refused,
            )
        held = _table(memory / "memory.stat") if memory else {}
        microseconds = _table(cpu / "cpu.stat").get("usage_usec") if cpu else None
        return GroupUsage(
            cpu_time_s=None if microseconds is None else microseconds / 1e6,
            held_bytes=held["anon"] + held.get("shmem", 0) if "anon" in held else None,
            peak_bytes=_number(memory / "memory.peak") if memory else None,
            kills=_table(memory / "memory.events").get("oom_kill", 0) if memory else 0,
            refused_forks=refused,
        )

    def kill(self) -> bool:
        """Send SIGKILL to everything inside; whether anything was."""
        found = False
        for folder in set(self._folders.values()):
            for pid in _processes(folder):
                found = True
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return found

    async def remove(self) -> None:
        """Take the groups away once they are empty; the kernel may need a moment. Leftovers go at the next start."""
        for _ in range(20):
            for folder in set(self._folders.values()):
                with suppress(OSError):
                    folder.rmdir()
            if not any(folder.exists() for folder in self._folders.values()):
                return
            self.kill()
            await asyncio.sleep(0.02)


class ControlGroups:
    """The groups of this server; made on construction, which takes milliseconds, and gone after `close`.

    Under version 2 this process moves into a group of its own (`_vacate`), where nothing else is in its present one.

    Args:
        root: where the kernel's tree is mounted, usually `/sys/fs/cgroup`.
        process_folder: names the group this process is in.
    """

    def __init__(self, root: Path, *, process_folder: Path = Path("/proc/self")) -> None:
        self.root = root
        # A name of its own: a program may hold several servers, and the end of one must not take the groups of another.
        self._name = f"{PREFIX}{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(4)}"
        self.version = 2 if (root / "cgroup.controllers").exists() else 1
        self._bases: dict[str, Path] = {}
        with suppress(OSError):
            own = _own_paths(process_folder / "cgroup")
            self._bases = self._open_v2(own) if self.version == 2 else self._open_v1(own)

    @property
    def controllers(self) -> frozenset[str]:
        """What we may bound and count, among `memory`, `pids` and `cpu`."""
        return frozenset(self._bases)

    def task(self, task_id: str) -> TaskGroup:
        """The groups for one task, not yet made."""
        return TaskGroup({name: base / task_id for name, base in self._bases.items()}, version=self.version)

    def close(self) -> None:
        """Take this server's groups away."""
        for base in set(self._bases.values()):
            _remove_tree(base)

    def _open_v1(self, own: dict[str, str]) -> dict[str, Path]:
        bases = {}
        for controller, folder in V1_FOLDERS.items():
            mounted = self.root / folder
            inherited = mounted / own.get(folder, "").lstrip("/")
            # Inside a container the path may name a group that is not mounted here.
            base = (inherited if inherited.is_dir() else mounted) / self._name
            self._forget_the_dead(mounted)
            with suppress(OSError):
                base.mkdir(exist_ok=True)
                bases[controller] = base
        return bases

    def _open_v2(self, own: dict[str, str]) -> dict[str, Path]:
        inherited = self.root / own.get("", "").lstrip("/")
        if not inherited.is_dir():
            inherited = self.root
        if inherited.parent.name.startswith(PREFIX):  # opened before in this process: we moved ourselves, see below
            inherited = inherited.parent.parent
        self._forget_the_dead(inherited)
        base = inherited / self._name
        base.mkdir(exist_ok=True)
        wanted = [name for name in ("memory", "pids", "cpu") if name in (inherited / "cgroup.controllers").read_text()]
        self._vacate(inherited, base)
        granted = []
        for name in wanted:
            with suppress(OSError):
                (inherited / "cgroup.subtree_control").write_text(f"+{name}")
                (base / "cgroup.subtree_control").write_text(f"+{name}")
                granted.append(name)
        # Processor time is counted in every group of version 2, controller or not.
        return dict.fromkeys({*granted, "cpu"}, base) if granted else {}

    def _vacate(self, inherited: Path, base: Path) -> None:
        """A v2 group with processes cannot hand controllers down: move ourselves aside if we are alone in it."""
        if inherited != self.root and set(_processes(inherited)) == {os.getpid()}:
            aside = base / "server"
            aside.mkdir(exist_ok=True)
            (aside / "cgroup.procs").write_text("0")

    def _forget_the_dead(self, top: Path) -> None:
        for folder in list(_server_groups(top)):
            pid, _, since = folder.name.removeprefix(PREFIX).partition("-")
            if pid.isdigit() and _started(int(pid)) != since.partition("-")[0]:
                _remove_tree(folder)


def _server_groups(top: Path) -> Iterator[Path]:
    for path, folders, _ in os.walk(top):
        for name in [name for name in folders if name.startswith(PREFIX)]:
            folders.remove(name)
            yield Path(path, name)


def _remove_tree(top: Path) -> None:
    for path, _, _ in os.walk(top, topdown=False):
        for pid in _processes(Path(path)):
            if pid != os.getpid():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(OSError):  # what was killed just now may not be gone yet; the next start tries again
            Path(path).rmdir()


def _bounds(controller: str, limits: Limits, version: int) -> list[tuple[str, int]]:
    """Files and values, in the order they must be written (v1 wants the memory limit before the one with swap)."""
    if controller == "pids":
        return [("pids.max", limits.processes)]
    if controller != "memory":
        return []
    if version == 1:
        return [
            ("memory.limit_in_bytes", limits.memory_bytes),
            ("memory.memsw.limit_in_bytes", limits.memory_bytes),
        ]
    return [("memory.max", limits.memory_bytes), ("memory.swap.max", 0)]


def _own_paths(listing: Path) -> dict[str, str]:
    """`/proc/self/cgroup` as controller → path; version 2 stands under the empty name."""
    paths = {}
    for line in listing.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _started(pid: int) -> str:
    """When a process began, in clock ticks since boot; with the pid it names a process for good. Empty if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _processes(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _table(file: Path) -> dict[str, int]:
    """Lines of `name value`; anything else is left out."""
    try:
        rows = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
