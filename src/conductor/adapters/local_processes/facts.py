"""Find out by trying what this machine allows us to confine processes with.

Version numbers do not tell: containers and security modules refuse what the kernel has. Each means is tried once
with the real launcher and an empty program, at most three times 50 ms; call it off the event loop.
"""

import os
import sys
from pathlib import Path

from conductor.adapters.local_processes.control_groups import ControlGroups
from conductor.adapters.local_processes.endings import LauncherReport
from conductor.adapters.local_processes.launching import launch
from conductor.domain.units import GIB
from conductor.domain.workload import Limits
from conductor.fleet.ports import MachineFacts, Slice


def find_facts(groups: ControlGroups) -> MachineFacts:
    """What `fleet.confinement.carve` needs to know about this machine."""
    root = os.geteuid() == 0
    ways = ["root", "user"] if root else ["user"]
    return MachineFacts(
        namespaces=next((way for way in ways if works(namespaces=way, network="namespace")), ""),
        seccomp=works(namespaces="", network="filter"),
        controllers=groups.controllers,
        root=root,
    )


def works(*, namespaces: str, network: str) -> bool:
    """Whether a process can be started and ended this way."""
    carved = Slice(
        limits=Limits(),
        namespaces=namespaces,
        network=network,
        controllers=frozenset(),
        address_space_bytes=None,
        bound_user_processes=False,
        largest_file_bytes=GIB,
        name="",
    )
    try:
        launched = launch(
            [sys.executable, "-I", "-S", "-c", ""],
            carved=carved,
            directory=Path("/"),
            environment={},
            launcher_environment={},
            group_root=Path("/sys/fs/cgroup"),
        )
    except OSError:
        return False
    with os.fdopen(launched.status_fd, "rb") as status:
        report = LauncherReport.parse(status.read())
    for fd in (launched.control_fd, launched.stdout_fd, launched.stderr_fd):
        os.close(fd)
    launched.process.wait()
    return report.exit_code == 0 and report.failed_step is None
