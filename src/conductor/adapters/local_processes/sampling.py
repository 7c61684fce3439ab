"""Measure a tree of processes from outside, where no control group counts them.

Sums processor time, memory and processes below one process. Sampled, so short peaks between two looks are missed.
Time of processes that ended is counted through the parents that collected them; the launcher adopts orphans.
"""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """What the processes below one process use now; processor time is since their start."""

    cpu_time_s: float
    held_bytes: int
    processes: int


def sample_tree(launcher_pid: int, *, has_keeper: bool, memory_bytes: int) -> TreeUsage:
    """Look once at the task below a launcher; zeros when it is gone. With namespaces a keeper stands between them.

    Resident memory counts shared pages once per process. Only where that sum passes `memory_bytes` is the slower
    proportional count taken, in which a page shared by n processes counts 1/n for each.
    """
    try:
        root = psutil.Process(launcher_pid)
        if has_keeper:
            root = root.children()[0]
        tree = root.children(recursive=True)
        own = root.cpu_times()
    except (psutil.Error, IndexError):
        return TreeUsage(0.0, 0, 0)
    cpu, resident = own.children_user + own.children_system, 0
    for process in tree:
        try:
            with process.oneshot():
                times = process.cpu_times()
                cpu += times.user + times.system + times.children_user + times.children_system
                resident += process.memory_info().rss
        except psutil.Error:  # ended between the listing and the look
            continue
    return TreeUsage(cpu, _proportional(tree) if resident > memory_bytes else resident, len(tree))


def _proportional(tree: list[psutil.Process]) -> int:
    total = 0
    for process in tree:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total
