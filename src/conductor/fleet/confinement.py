"""Decide what is enforced on a task's processes: its limits, met with what this machine allows.

Pure: limits, facts and policy in, a slice out, and the slice in words. Finding the facts and enforcing the slice is
an adapter (`adapters.local_processes`).

Covered: Linux with and without root, namespaces, control groups (v1, v2) and system call filters.
Not covered: files. A task reads and writes what the user who started the server may; neither does a closed network
stop it from using sockets in the file system (`/run/...`) that this user may open.
"""

from dataclasses import dataclass

from conductor.domain.errors import ConductorError
from conductor.domain.units import GIB, format_bytes, format_duration
from conductor.domain.workload import Limits
from conductor.fleet.ports import MachineFacts, Slice


class CannotConfine(ConductorError):
    """This machine offers no means to enforce what the task's limits promise."""

    code = "fleet.confinement"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfinementPolicy:
    """What the operator accepts.

    Args:
        allow_unguarded_network: run tasks that asked for no network although nothing here can close it.
        largest_file_bytes: bound on any single file a task writes.
    """

    allow_unguarded_network: bool = False
    largest_file_bytes: int = 64 * GIB


def carve(limits: Limits, *, facts: MachineFacts, policy: ConfinementPolicy) -> Slice:
    """Choose the strongest means this machine has for each limit.

    Raises:
        CannotConfine: the network is to be closed, nothing can close it, and the policy does not accept that.
    """
    network = _network(limits, facts, policy)
    return Slice(
        limits=limits,
        namespaces=facts.namespaces,
        network=network,
        controllers=facts.controllers,
        address_space_bytes=None if "memory" in facts.controllers else limits.memory_bytes,
        # The superuser is exempt from RLIMIT_NPROC; for him the supervisor counts.
        bound_user_processes="pids" not in facts.controllers and not facts.root,
        largest_file_bytes=policy.largest_file_bytes,
        name=_name(facts, network),
    )


def _network(limits: Limits, facts: MachineFacts, policy: ConfinementPolicy) -> str:
    if limits.network:
        return "open"
    if facts.namespaces:
        return "namespace"
    if facts.seccomp:
        return "filter"
    if policy.allow_unguarded_network:
        return "unguarded"
    raise CannotConfine(
        "the task asks for no network, but neither namespaces nor system call filters are allowed here to close it; "
        "ask for the network in the limits, or let the operator accept unguarded tasks",
        field="limits.network",
    )


def _name(facts: MachineFacts, network: str) -> str:
    grouped = [name for name in ("memory", "pids") if name in facts.controllers]
    bounds = {0: "rlimit", 1: f"cgroup({''.join(grouped)})+rlimit", 2: "cgroup"}[len(grouped)]
    processes = ["pidns"] if facts.namespaces else []
    reach = {"namespace": "netns", "filter": "seccomp", "open": "network-open", "unguarded": "network-unguarded"}
    return "+".join([bounds, *processes, reach[network]])


def describe(carved: Slice) -> str:
    """The slice in one sentence for people."""
    limits = carved.limits
    memory = "all its processes together" if carved.address_space_bytes is None else "each of its processes"
    network = {
        "namespace": "it has no network but its own loopback",
        "filter": "it cannot open network sockets",
        "open": "it may use the network, as it asked",
        "unguarded": "the network could not be closed to it",
    }[carved.network]
    return (
        f"{memory} may use {format_bytes(limits.memory_bytes)} of memory; it may have {limits.processes} processes, "
        f"run for {format_duration(limits.wall_time_s)}, use {format_duration(limits.cpu_time_s)} of processor time "
        f"and print {format_bytes(limits.output_bytes)}; {network}"
    )
