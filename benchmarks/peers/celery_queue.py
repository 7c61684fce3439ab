"""Celery: the application its worker loads, and the client that measures it.

A bulk is a `group`, waited for through Redis publish/subscribe as `GroupResult.get` does. Results are kept; tasks are
acknowledged when they are received, Celery's default (and its faster setting). `CELERY_REDIS` names the server.
"""

import os
import time

from celery import Celery, group

app = Celery("celery_queue", broker=os.environ["CELERY_REDIS"], backend=os.environ["CELERY_REDIS"])
app.conf.update(
    worker_prefetch_multiplier=64,  # what its documentation advises for many short tasks
    worker_hijack_root_logger=False,
)


@app.task
def noop() -> None:
    """Do nothing."""


def main() -> None:
    """Measure a bulk and single tasks."""
    from measuring import SINGLES, TASKS, WARM_UP, Stopwatch

    watch = Stopwatch()
    group(noop.s() for _ in range(WARM_UP)).apply_async().get(timeout=60)
    began = time.perf_counter()
    group(noop.s() for _ in range(TASKS)).apply_async().get(timeout=300)
    watch.bulk(TASKS, began)
    for _ in range(SINGLES):
        began = time.perf_counter()
        noop.delay().get(timeout=60)
        watch.single(began)
    watch.report()


if __name__ == "__main__":
    from celery_queue import main as run  # under the name the worker knows its tasks by

    run()
