"""Real processes on this machine, confined in every way it allows."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from conductor.adapters.local_processes.control_groups import ControlGroups
from conductor.adapters.local_processes.facts import find_facts
from conductor.adapters.local_processes.processes import LocalProcesses
from conductor.domain.node import NodeId
from conductor.fleet.confinement import ConfinementPolicy, carve
from conductor.fleet.ports import MachineFacts


class RealClock:
    def now_unix_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()


MakeProcesses = Callable[..., LocalProcesses]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def groups() -> Iterator[ControlGroups]:
    groups = ControlGroups(Path("/sys/fs/cgroup"))
    yield groups
    groups.close()


@pytest.fixture(scope="session")
def facts(groups: ControlGroups) -> MachineFacts:
    return find_facts(groups)


@pytest.fixture
def make_processes(tmp_path: Path, groups: ControlGroups, facts: MachineFacts) -> MakeProcesses:
    """Processes confined by what `facts` (changed as asked) allow."""

    def make(**changed: object) -> LocalProcesses:
        used = replace(facts, **changed)  # type: ignore[arg-type]
        without = ControlGroups(tmp_path / "no-groups")
        return LocalProcesses(
            root=tmp_path / "tasks",
            node_id=NodeId("here"),
            clock=RealClock(),
            carve=partial(carve, facts=used, policy=ConfinementPolicy()),
            groups=groups if used.controllers else without,
            environment=os.environ,
            grace_s=0.3,
        )

    return make


WAYS = {
    "strongest": {},
    "user-namespace": {"namespaces": "user", "controllers": frozenset()},
    "filter-only": {"namespaces": "", "controllers": frozenset()},
}


@pytest.fixture(params=list(WAYS))
def processes(request: pytest.FixtureRequest, facts: MachineFacts, make_processes: MakeProcesses) -> LocalProcesses:
    """The same promises, kept by different means; a means this machine refuses is skipped."""
    from conductor.adapters.local_processes.facts import works

    if request.param == "user-namespace" and not works(namespaces="user", network="namespace"):
        pytest.skip("user namespaces are not allowed on this machine")
    if request.param == "filter-only" and not facts.seccomp:
        pytest.skip("system call filters are not allowed on this machine")
    return make_processes(**WAYS[request.param])
