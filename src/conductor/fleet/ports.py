"""What the fleet needs from the outside: probes that find devices, sensors that read a machine, means to confine."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from conductor.domain.device import Device
from conductor.domain.node import Node, NodeReading
from conductor.domain.workload import Limits


class DeviceProbe(Protocol):
    """Finds devices through one interface. New probes register under the entry point group `conductor.probes`."""

    name: str

    def find(self) -> Iterable[Device]:
        """Every device this interface shows; empty when the interface is absent. Never raises for absent hardware."""
        ...


class Machine(Protocol):
    """The machine this process runs on."""

    def describe(self) -> Node:
        """Hardware as found now; slow (up to seconds), so call it off the event loop."""
        ...

    def read(self) -> NodeReading:
        """One reading; takes a few milliseconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """What this machine lets us use to confine a process; found by trying, not by reading version numbers.

    Args:
        namespaces: `root` (created directly), `user` (inside a user namespace) or empty (not allowed).
        seccomp: whether system call filters can be installed.
        controllers: the control group controllers we may use, among `memory`, `pids` and `cpu`.
        root: whether tasks would run as the superuser.
    """

    namespaces: str = ""
    seccomp: bool = False
    controllers: frozenset[str] = frozenset()
    root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What is enforced on one task, and by which means.

    Args:
        limits: the numbers.
        namespaces: as in `MachineFacts`; own processes, mounts, IPC and, when `network` says so, own network.
        network: `namespace` or `filter` close it, `open` leaves it open on request, `unguarded` could not close it.
        controllers: what control groups count and bound.
        address_space_bytes: per process, where no control group bounds memory.
        bound_user_processes: whether the user's process count is bounded, where no control group counts.
        largest_file_bytes: no single file may grow beyond it.
        name: short form for records, such as `cgroup+pidns+netns`.
    """

    limits: Limits
    namespaces: str
    network: str
    controllers: frozenset[str]
    address_space_bytes: int | None
    bound_user_processes: bool
    largest_file_bytes: int
    name: str
