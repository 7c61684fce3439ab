"""How much of the machine this process may use: processor affinity, and control group limits of both versions.

A container that may use two cores and 4 GiB of a large server is a node with two cores and 4 GiB; placing by the
server's numbers would kill its tasks. Limits hold on every level of the group hierarchy, so the least one counts.

Covered: affinity, `cpu.max` and CFS quota, `memory.max` and `memory.limit_in_bytes`, memory used within the group.
Not covered: limits set above a control group namespace, which the kernel does not show inside.
Source: kernel documentation, admin-guide/cgroup-v2 and cgroup-v1/memory, scheduler/sched-bwc.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

from conductor.adapters.sensors.tree import Tree

#: Version 1 writes "no limit" as the largest page-aligned number; no machine has an exbibyte.
_UNLIMITED_BYTES = 1 << 60


def usable_cores(tree: Tree) -> int:
    """Logical cores: those the affinity mask allows, at most as many as the quota pays for, rounded up."""
    allowed = _allowed_cores(tree)
    quotas = [quota for quota in _quotas(tree) if quota > 0]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def _allowed_cores(tree: Tree) -> int:
    for line in (tree.text("proc/self/status") or "").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            online = _core_set(tree.text("sys/devices/system/cpu/online") or "")
            allowed = _core_set(line.partition(":")[2])
            return len(allowed & online if online else allowed)
    return os.cpu_count() or 1


def _core_set(text: str) -> set[int]:
    """`0-3,8` → {0, 1, 2, 3, 8}."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.strip().isdecimal():
            cores.update(range(int(first), int(last or first) + 1))
    return cores


def _quotas(tree: Tree) -> Iterator[float]:
    for level in _levels(tree, "", "sys/fs/cgroup"):
        quota, _, period = (tree.text(f"{level}/cpu.max") or "max").partition(" ")
        if quota.isdecimal() and period.isdecimal():
            yield int(quota) / int(period)
    for level in _levels(tree, "cpu", "sys/fs/cgroup/cpu"):
        microseconds, period_us = tree.number(f"{level}/cpu.cfs_quota_us"), tree.number(f"{level}/cpu.cfs_period_us")
        if microseconds and period_us:
            yield microseconds / period_us


def _levels(tree: Tree, controller: str, mount: str) -> Iterator[str]:
    """Folders of this process's control group and of the groups around it; `controller` is empty for version 2.

    A path that leads out of the namespace (`/../other`) is not below the mount; the mount itself then is our group.
    """
    for line in (tree.text("proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller not in controllers.split(","):
            continue
        parts = [] if ".." in path else [part for part in path.split("/") if part]
        for depth in range(len(parts), -1, -1):
            level = "/".join([mount, *parts[:depth]])
            if tree.exists(level):
                yield level


@dataclass(frozen=True, slots=True)
class _Level:
    folder: str
    limit_bytes: int
    usage_file: str
    reclaimable: str


class MemoryAllowance:
    """Memory limits around this process, found once; a process seldom changes its group."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._levels = [*self._version_2(), *self._version_1()]

    def _version_2(self) -> Iterator[_Level]:
        for folder in _levels(self._tree, "", "sys/fs/cgroup"):
            limit = self._tree.number(f"{folder}/memory.max")
            if limit is not None:
                yield _Level(folder, limit, "memory.current", "inactive_file")

    def _version_1(self) -> Iterator[_Level]:
        for folder in _levels(self._tree, "memory", "sys/fs/cgroup/memory"):
            limit = self._tree.number(f"{folder}/memory.limit_in_bytes")
            if limit is not None and limit < _UNLIMITED_BYTES:
                yield _Level(folder, limit, "memory.usage_in_bytes", "total_inactive_file")

    def total_bytes(self, machine_bytes: int) -> int:
        """The machine's memory or the least limit, whichever is less."""
        return min([machine_bytes, *(level.limit_bytes for level in self._levels)])

    def free_bytes(self, machine_free_bytes: int) -> int:
        """What is left of the machine's memory and of each limit; file cache that can be given back counts as free."""
        return max(0, min([machine_free_bytes, *(self._left(level) for level in self._levels)]))

    def _left(self, level: _Level) -> int:
        used = self._tree.number(f"{level.folder}/{level.usage_file}") or 0
        reclaimable = self._tree.table(f"{level.folder}/memory.stat").get(level.reclaimable, 0)
        return level.limit_bytes - max(0, used - reclaimable)
