"""`python -m benchmarks [NAME]`: run all benchmarks or one, print each table, write `benchmarks/results/NAME.json`.

Exit codes: 0 everything was measured, whether or not the goals were met · 1 a benchmark could not run or its result was
wrong (the others still run) · 2 there is no benchmark of that name.
"""

import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from benchmarks.harness import CannotRun, WrongResult, commit, machine, table, write

NAMES: Final = (
    "startup",
    "placement",
    "decision",
    "ledger",
    "queue",
    "estimates",
    "learning",
    "gateway",
    "serving",
    "ahead",
    "mcp",
)


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; returns the exit code."""
    unknown = [name for name in arguments if name not in NAMES]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    measured_commit = commit()
    print(f"commit {measured_commit} on {', '.join(f'{name} {value}' for name, value in machine().items())}")
    failed = [name for name in arguments or NAMES if not measure(name, measured_commit)]
    if failed:
        print(f"\nnot measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def measure(name: str, measured_commit: str) -> bool:
    """Run one benchmark and publish its rows; says why on standard error when it could not be run."""
    print(f"\n{name} …", flush=True)
    try:
        rows = importlib.import_module(f"benchmarks.{name}").run()
    except (CannotRun, WrongResult) as failure:
        print(f"{name}: {failure}", file=sys.stderr, flush=True)
        return False
    except Exception:  # one broken benchmark must not keep the others from being measured
        traceback.print_exc()
        return False
    print(table(rows))
    print(f"written to {write(name, rows, measured_commit=measured_commit)}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
