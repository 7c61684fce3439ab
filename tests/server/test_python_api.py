"""The Python API: the whole product inside the caller's process."""

import asyncio
import sys
from pathlib import Path

import pytest

from conductor import Conductor
from conductor.domain.errors import Conflict, InvalidInput, Overloaded, SettingsError
from conductor.domain.event import TaskEvent
from conductor.domain.task import Submission, TaskId, TaskState
from conductor.domain.workload import Workload

pytestmark = pytest.mark.anyio

NOOP = Workload(kind="noop", spec={"value": 7})
#: Tests of other rooms test logging; here it would only fill the screen.
QUIET = {"log.level": "error"}


async def test_a_task_is_conducted_explained_and_proven(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        decision = await conductor.conduct_task("Transcode this clip to H.264", workload=NOOP)
        task = await conductor.tasks.wait(TaskId(decision.task_id), timeout_s=30)
        told = await conductor.explain_decision(decision.task_id)
        receipt = await conductor.ledger.receipt_of_task(task, "outcome")

    assert task.state is TaskState.SUCCEEDED
    assert task.outcome is not None
    assert task.outcome.result == 7
    assert decision.device in told
    assert task.task_id in str(receipt)


async def test_what_one_process_did_the_next_one_knows(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        decision = await conductor.conduct_task("sort a list")
    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        assert await conductor.decision_of(TaskId("last")) == decision
        assert (await conductor.ledger.verify())["ok"]


async def test_many_tasks_at_once_all_end_and_one_key_stays_one_task(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        submissions = [
            Submission(description=f"do thing {n % 60 % 7}", workload=NOOP, idempotency_key=f"k{n % 60}")
            for n in range(120)
        ]
        tasks = await asyncio.gather(*(conductor.tasks.submit(submission) for submission in submissions))
        ended = await asyncio.gather(*(conductor.tasks.wait(task.task_id, timeout_s=30) for task in tasks))

    assert len({task.task_id for task in tasks}) == 60
    assert {task.state for task in ended} == {TaskState.SUCCEEDED}


async def test_submissions_in_one_call_share_a_key_only_if_they_are_the_same(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        same = Submission(description="the same", idempotency_key="k")
        first, second = await conductor.tasks.submit_many([same, same])
        with pytest.raises(Conflict, match="idempotency key"):
            await conductor.tasks.submit_many([same, Submission(description="another", idempotency_key="k")])

    assert first.task_id == second.task_id


async def test_a_folder_is_used_by_one_at_a_time(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path / "data", settings=QUIET):
        with pytest.raises(Conflict, match="uses the data folder"):
            async with Conductor.open(tmp_path / "data", settings=QUIET):
                pass


async def test_mistakes_are_errors_that_name_the_field(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"queue\.depth"):
        async with Conductor.open(tmp_path / "data", settings={"queue.dept": 3}):
            pass
    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        with pytest.raises(InvalidInput, match="description is empty"):
            await conductor.conduct_task(" ")
        with pytest.raises(InvalidInput, match="did you mean 'noop'"):
            await conductor.conduct_task("a", workload=Workload(kind="nop"))


async def test_a_full_queue_is_told_with_a_time_to_retry(tmp_path: Path) -> None:
    sleeping = Workload(kind="command", spec={"command": ["sleep", "30"]})
    settings = QUIET | {"queue.depth": 1, "executor.workers": 1, "executor.drain_s": 0}
    async with Conductor.open(tmp_path / "data", settings=settings) as conductor:
        first = await conductor.conduct_task("sleep", workload=sleeping)
        await until_running(conductor, TaskId(first.task_id))
        await conductor.conduct_task("sleep", workload=sleeping)
        with pytest.raises(Overloaded) as refused:
            await conductor.conduct_task("sleep", workload=sleeping)

    assert refused.value.retry_after_s > 0


async def until_running(conductor: Conductor, task_id: TaskId) -> None:
    with conductor.tasks.watching(task_id) as watch:
        if any(event.state is TaskState.RUNNING for event in await conductor.tasks.events(task_id)):
            return
        async for item in watch:
            if isinstance(item, TaskEvent) and item.state is TaskState.RUNNING:
                return


async def test_the_library_prints_nothing_of_its_own(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from conductor import Conductor\n"
        "async def main():\n"
        "    async with Conductor.open(sys.argv[1]) as conductor:\n"
        "        await conductor.conduct_task('sort a list')\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "data"), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()

    assert (process.returncode, printed) == (0, b"")


async def test_several_tasks_are_awaited_together_in_the_order_asked_for(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        accepted = await conductor.tasks.submit_many(
            [Submission(description="say which", workload=Workload(kind="noop", spec={"value": n})) for n in range(20)]
        )
        ended = await conductor.tasks.wait_many([task.task_id for task in reversed(accepted)], timeout_s=30)

    assert [task.outcome.result for task in ended if task.outcome] == list(reversed(range(20)))


async def test_a_node_keeps_its_performance_score_over_a_restart(tmp_path: Path) -> None:
    work = Workload(kind="command", spec={"command": ["true"]})
    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        before = conductor.nodes()[0]["performance"]["score"]
        for _ in range(4):
            decision = await conductor.conduct_task("do next to nothing", workload=work)
            await conductor.tasks.wait(TaskId(decision.task_id), timeout_s=60)
    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        after = conductor.nodes()[0]["performance"]

    assert after["parts"]["attempts"] == 4
    assert after["score"] > before


async def test_an_attempt_that_failed_counts_against_its_node_and_its_task_counts_once(tmp_path: Path) -> None:
    """The same command twice, failing on its first attempt here and never there; then what is expected of a third."""
    marks = {name: tmp_path / f"{name} was tried" for name in ("unsteady", "steady")}
    marks["steady"].touch()
    seen = {}
    for name, mark in marks.items():
        command = ["sh", "-c", 'test -e "$0" || { touch "$0"; exit 1; }', str(mark)]
        work = Workload(kind="command", spec={"command": command})
        settings = QUIET | {"retry.first_delay_s": 0.01}
        async with Conductor.open(tmp_path / name, settings=settings) as conductor:
            decision = await conductor.conduct_task("do next to nothing", workload=work)
            task = await conductor.tasks.wait(TaskId(decision.task_id), timeout_s=60)
            later = await conductor.tasks.preview(Submission(description="do next to nothing", workload=work))
        known = [later.evidence[of] for of in ("device_successes", "device_failures", "estimate_runs")]
        until_done_s = later.nodes[0].expected_s
        assert until_done_s is not None
        seen[name] = (task.attempt, known, later.duration_s.value / until_done_s)

    assert seen["unsteady"][:2] == (2, [1.0, 0.0, 1])
    assert seen["steady"][:2] == (1, [1.0, 0.0, 1])
    assert seen["unsteady"][2] < seen["steady"][2] - 0.02, "the chance that an attempt succeeds on the node"
