"""The confined processes that read attachments, as the product composes them."""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from conductor.adapters.local_processes.control_groups import ControlGroups
from conductor.adapters.local_processes.facts import find_facts
from conductor.adapters.local_processes.processes import LocalProcesses
from conductor.domain.node import NodeId
from conductor.fleet.confinement import ConfinementPolicy, carve


class RealClock:
    def now_unix_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[LocalProcesses]:
    groups = ControlGroups(Path("/sys/fs/cgroup"))
    processes = LocalProcesses(
        root=tmp_path / "tasks",
        node_id=NodeId("here"),
        clock=RealClock(),
        carve=partial(carve, facts=find_facts(groups), policy=ConfinementPolicy()),
        groups=groups,
        environment=os.environ,
    )
    yield processes
    processes.close()
