"""Ray tasks on a fresh local cluster of this machine's cores. Nothing of theirs is written to disk."""

import os

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read at import

import time

import ray
from measuring import SINGLES, TASKS, WARM_UP, Stopwatch


@ray.remote
def noop() -> None:
    """Do nothing."""


def main() -> None:
    """Measure a bulk and single tasks."""
    watch = Stopwatch()
    ray.init(address="local", num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    ray.get([noop.remote() for _ in range(10 * WARM_UP)])  # enough to start a worker per core
    began = time.perf_counter()
    ray.get([noop.remote() for _ in range(TASKS)])
    watch.bulk(TASKS, began)
    for _ in range(SINGLES):
        began = time.perf_counter()
        ray.get(noop.remote())
        watch.single(began)
    ray.shutdown()
    watch.report()


if __name__ == "__main__":
    main()
