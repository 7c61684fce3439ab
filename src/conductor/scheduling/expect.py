"""Decide when a task would be done on each node: its turn there, its run, and the attempts that fail.

    expected   = (wait + run) / success
    optimistic = (wait + run · exp(−spread)) / success
    order by     log optimistic − 0.3 · score

`run`, `spread` and `success` come with the need (`domain.decision.Forecast`), `wait` from what the node has to do. A node
that nobody tried may be faster than it looks: it is taken at the value one standard deviation below its expectation, so
it is tried exactly as long as it could still be the best, and never when even that would be slower (upper confidence
bounds: Auer, Cesa-Bianchi and Fischer 2002; for logarithms of a normal model: Srinivas et al. 2010). The spread falls
with each run, so trying stops by itself; a task that must not be an experiment is ordered by what is expected.

The score of `score` breaks ties: all of it together weighs as much as 30 % of the time, a node at its limit of heat as
much as 12 %. Before anything was measured all times are equal, and the score alone decides.

Not covered: when a node will be hot; the cost of moving a task's data.
"""

from typing import Final

import numpy as np

from conductor.domain.decision import Forecast
from conductor.scheduling.columns import Columns
from conductor.scheduling.score import Expected, Floats

_OPTIMISM: Final = 1.0
_SCORE_WORTH: Final = 0.3
_LEAST_SUCCESS: Final = 0.02
#: A task that should be done by now holds its slot for this share of the next one's run.
_OVERDUE_SHARE: Final = 0.25


def expect(columns: Columns, forecast: Forecast, score: Floats, now_s: float, *, explore: bool) -> Expected:
    """Join a forecast with what the nodes have to do; `score` is float64 [nodes]."""
    n = columns.count
    run_s = np.full(n, forecast.elsewhere_s)
    spread = np.full(n, forecast.elsewhere_spread)
    success = np.full(n, forecast.elsewhere_success)
    runs = np.zeros(n, dtype=np.intp)
    rows = np.array([columns.row_of.get(node_id, -1) for node_id in forecast.node_ids], dtype=np.intp)
    here = rows >= 0
    for column, values in (
        (run_s, forecast.duration_s),
        (spread, forecast.spread),
        (success, forecast.success),
        (runs, forecast.runs),
    ):
        column[rows[here]] = np.asarray(values)[here]
    wait_s = _wait_s(columns, run_s, now_s)
    chance = np.maximum(success, _LEAST_SUCCESS)
    hoped_s = run_s * np.exp(-_OPTIMISM * spread) if explore else run_s
    merit = _SCORE_WORTH * score - np.log(np.maximum((wait_s + hoped_s) / chance, 1e-9))
    return Expected((wait_s + run_s) / chance, wait_s, merit, runs)


def _wait_s(columns: Columns, run_s: Floats, now_s: float) -> Floats:
    """Until a slot is free: none while there is one, else when what was promised is due.

    What is overdue takes longer the longer it has been: it is expected to take as long again as it is late (the mean
    residual life of durations that spread over orders of magnitude grows like that).
    """
    n = columns.count
    beyond = columns.queued[:n] + columns.running[:n] - columns.slots[:n] + 1.0
    due_s = np.where(columns.running[:n] > 0, columns.free_at_s[:n] - now_s, 0.0)
    least_s = _OVERDUE_SHARE * run_s * np.maximum(beyond, 0.0) / columns.slots[:n]
    return np.where(beyond > 0.0, np.maximum(np.abs(due_s), least_s), 0.0)
