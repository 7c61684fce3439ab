"""Taskiq: the broker its worker loads, and the client that measures it.

`TASKIQ_REDIS` names the server, `TASKIQ_BROKER` the broker: `list` (a popped message is gone if the worker dies) or
`stream` (acknowledged when its result is saved). Results are polled one after the other, which is quicker here than
`taskiq.gather`: that asks for all of them again in every turn.
"""

import asyncio
import os
import time

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

CONNECTIONS = 50
AT_ONCE = 500

_url = os.environ["TASKIQ_REDIS"]
_kind = {"list": ListQueueBroker, "stream": RedisStreamBroker}[os.environ["TASKIQ_BROKER"]]
broker = _kind(_url, max_connection_pool_size=CONNECTIONS).with_result_backend(
    RedisAsyncResultBackend(_url, max_connection_pool_size=CONNECTIONS)
)


@broker.task
async def noop() -> None:
    """Do nothing."""


async def bulk(tasks: int) -> None:
    """Submit `tasks` in parallel portions and wait for all results."""
    submitted = []
    for start in range(0, tasks, AT_ONCE):
        submitted += await asyncio.gather(*(noop.kiq() for _ in range(min(AT_ONCE, tasks - start))))
    for task in submitted:
        await task.wait_result(check_interval=0.005, timeout=300)


async def main() -> None:
    """Measure a bulk and single tasks."""
    from measuring import SINGLES, TASKS, WARM_UP, Stopwatch

    watch = Stopwatch()
    await broker.startup()
    await bulk(WARM_UP)
    began = time.perf_counter()
    await bulk(TASKS)
    watch.bulk(TASKS, began)
    for _ in range(SINGLES):
        began = time.perf_counter()
        await (await noop.kiq()).wait_result(check_interval=0.001, timeout=60)
        watch.single(began)
    await broker.shutdown()
    watch.report()


if __name__ == "__main__":
    from taskiq_queue import main as run  # under the name the worker knows its tasks by

    asyncio.run(run())
