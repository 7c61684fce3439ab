"""Failed attempts that were or will be repeated count against their node after a restart exactly as they did before."""

from pathlib import Path
from typing import Any

import pytest

from conductor import Conductor
from conductor.domain.event import TaskEvent
from conductor.domain.task import Submission, Task, TaskState
from conductor.domain.workload import Workload

pytestmark = pytest.mark.anyio


def rates(conductor: Conductor) -> list[float | None]:
    """Success rates of the node and of its processor, as decisions know them."""
    maker = conductor.tasks._maker
    return [maker.success_rate(name) for name in (conductor.nodes()[0]["node_id"], "CPU")]


async def submit(conductor: Conductor, description: str, *command: str, max_retries: int = 3) -> Task:
    workload = Workload(kind="command", spec={"command": list(command)})
    return await conductor.tasks.submit(Submission(description=description, workload=workload, max_retries=max_retries))


async def first_failure(conductor: Conductor, task: Task) -> None:
    with conductor.tasks.watching(task.task_id) as watch:
        past = await conductor.tasks.events(task.task_id)
        if any("ending" in event.detail for event in past):
            return
        async for item in watch:
            if isinstance(item, TaskEvent) and item.state is TaskState.QUEUED and "ending" in item.detail:
                return


async def test_a_node_keeps_its_name_over_a_restart(tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"log.level": "error", "mind.model": "none"}
    flag = tmp_path / "flag"
    fails_once = ("sh", "-c", f"test -e {flag} && exit 0; touch {flag}; exit 1")
    async with Conductor.open(tmp_path / "data", settings=quiet | {"retry.first_delay_s": 0.1}) as conductor:
        done = await submit(conductor, "sort the rows", *fails_once)
        done = await conductor.tasks.wait(done.task_id, timeout_s=60)
        after_one = rates(conductor)
    patient = quiet | {"retry.first_delay_s": 50.0}
    async with Conductor.open(tmp_path / "data", settings=patient) as conductor:
        after_restart = rates(conductor)
        waits = await submit(conductor, "zip the rows", "false")
        await first_failure(conductor, waits)
        after_two = rates(conductor)
    async with Conductor.open(tmp_path / "data", settings=patient) as conductor:
        after_both = rates(conductor)
        await conductor.tasks.cancel(waits.task_id, reason="seen enough")

    assert (done.state, done.attempt) == (TaskState.SUCCEEDED, 2)
    assert after_one[0] is not None
    assert after_one[0] < 0.6
    assert after_one[1] == 1.0
    assert after_restart == pytest.approx(after_one)
    assert after_two[0] is not None
    assert after_two[0] < after_one[0]
    assert after_both == pytest.approx(after_two)
