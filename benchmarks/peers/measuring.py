"""How a peer's client reports: throughput of a bulk, and seconds of single tasks, as one JSON line.

Run by the interpreter of the peers' environment, so it imports nothing of ours.
"""

import json
import sys
import time

TASKS, SINGLES = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (0, 0)
WARM_UP = 50


class Stopwatch:
    """Collects what one run of a client measured."""

    def __init__(self) -> None:
        self.tasks_per_s = 0.0
        self.single_s: list[float] = []

    def bulk(self, tasks: int, began_s: float) -> None:
        """All `tasks` of a bulk that began at `began_s` are done now."""
        self.tasks_per_s = tasks / (time.perf_counter() - began_s)

    def single(self, began_s: float) -> None:
        """One task that was submitted alone at `began_s` is done now."""
        self.single_s.append(time.perf_counter() - began_s)

    def report(self) -> None:
        """Print the line."""
        print(json.dumps({"tasks_per_s": self.tasks_per_s, "single_s": self.single_s}), flush=True)
