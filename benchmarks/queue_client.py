"""Our side of `benchmarks.queue`: `python -m benchmarks.queue_client FOLDER TASKS SINGLES` prints one JSON line.

Runs an installation with the default settings on FOLDER and submits through the Python API. Two submitters keep portions
under way, so that one is decided while another runs; together these never exceed the default depth of the queue.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from conductor.app.conductor import Conductor
from conductor.domain.task import Submission, Task
from conductor.domain.workload import Workload

WARM_UP: Final = 50
PORTION: Final = 250
PORTIONS_UNDER_WAY: Final = 4
SUBMITTERS: Final = 2


async def main(folder: Path, tasks: int, singles: int) -> None:
    """Measure a bulk and single tasks."""
    async with Conductor.open(data_dir=folder) as conductor:
        await bulk(conductor, WARM_UP)
        began_s = time.perf_counter()
        await bulk(conductor, tasks)
        tasks_per_s = tasks / (time.perf_counter() - began_s)
        single_s = [await single(conductor) for _ in range(singles)]
    report = {"tasks_per_s": tasks_per_s, "single_s": single_s, "tasks": WARM_UP + tasks + singles}
    print(json.dumps(report), flush=True)


async def bulk(conductor: Conductor, tasks: int) -> None:
    """Submit `tasks` and wait until the end of each is durable."""
    portions = iter([min(PORTION, tasks - start) for start in range(0, tasks, PORTION)])
    room = asyncio.Semaphore(PORTIONS_UNDER_WAY)

    async def submit() -> None:
        for size in portions:  # the submitters share one iterator
            await room.acquire()
            accepted = await conductor.tasks.submit_many([submission()] * size)
            group.create_task(await_ends(accepted))

    async def await_ends(accepted: Sequence[Task]) -> None:
        await conductor.tasks.wait_many([task.task_id for task in accepted])
        room.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(SUBMITTERS):
            group.create_task(submit())


async def single(conductor: Conductor) -> float:
    """Seconds from submitting one task until its end is durable."""
    began_s = time.perf_counter()
    task = await conductor.tasks.submit(submission())
    await conductor.tasks.wait(task.task_id)
    return time.perf_counter() - began_s


def submission() -> Submission:
    """The task that does nothing."""
    return Submission(description="do nothing, to see how quick the road is", workload=Workload(kind="noop"))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
