"""Does it learn where work runs best? Six nodes with hidden speeds, ten kinds of work, 300 tasks, beside four policies.

The world is `simulator`, who chooses in it is `policies`; our side is the product with the shipped encoder. The descriptions
are real sentences from a set that the encoder was not trained on. Every policy gets the same tasks at the same moments, in a
world of its own.

Regret (Lattimore and Szepesvári 2020, Bandit Algorithms, ch. 4), of a policy over a window of tasks, in per cent:

    Σ (completion − completion under the oracle) / Σ completion under the oracle

where completion is the time from the first submission to success, waiting and failed attempts included, in simulated
seconds.

Figures are medians over the seeds; `spread` is that of the harness, and mean ± standard deviation are printed above the
table.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Final

from benchmarks.harness import ROOT, Goal, Row, compare
from benchmarks.policies import BestFixed, FixedScore, LeastConnections, Oracle, Ours, ReadBefore, RoundRobin
from benchmarks.simulator import KINDS, TASKS, Machine, Policy, make_fleet, make_jobs, simulate
from conductor.domain.device import TaskKind

SEEDS: Final = 20
WINDOW: Final = 100
TEXTS: Final = ROOT / "recipes" / "encoder" / "data" / "judge.jsonl"


def read_texts() -> dict[TaskKind, list[str]]:
    """Sentences by kind of work, of those whose best device is the kind's."""
    texts: dict[TaskKind, list[str]] = {kind: [] for kind in KINDS}
    for line in TEXTS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        kind = TaskKind(row["task_kind"])
        if kind in texts and row["best"] == KINDS[kind][0]:
            texts[kind].append(row["text"])
    return texts


def measure(seeds: Sequence[int]) -> dict[str, list[list[float]]]:
    """Regret in per cent by policy, seed and window."""
    texts = read_texts()
    encoder = ReadBefore([text for kind in texts.values() for text in kind])
    policies: dict[str, Callable[[Mapping[str, Machine]], Policy]] = {
        "ours": lambda fleet: Ours(fleet, encoder),
        "fixed 40/30/20/10 score": lambda fleet: FixedScore(fleet, encoder),
        "least connections": LeastConnections,
        "round robin": RoundRobin,
        "best fixed node, known": BestFixed,
    }
    regret: dict[str, list[list[float]]] = {name: [] for name in policies}
    for seed in seeds:
        jobs = make_jobs(seed, texts)
        fleet = make_fleet(seed)
        best = simulate(seed, jobs, fleet, Oracle(fleet))
        for name, make in policies.items():
            fleet = make_fleet(seed)
            regret[name].append(by_window(simulate(seed, jobs, fleet, make(fleet)), best))
    return regret


def by_window(done_s: Sequence[float], best_s: Sequence[float]) -> list[float]:
    """Regret in per cent of the oracle's time, for each hundred tasks."""
    starts = range(0, len(best_s), WINDOW)
    return [100 * (sum(done_s[at : at + WINDOW]) / sum(best_s[at : at + WINDOW]) - 1.0) for at in starts]


def run() -> list[Row]:
    """All rows of this benchmark."""
    regret = measure(range(SEEDS))
    for name, seeds in regret.items():
        shown = [f"{fmean(window):7.1f} ± {stdev(window):5.1f}" for window in zip(*seeds, strict=True)]
        print(f"{name:24}  mean regret in % over tasks 1–100, 101–200, 201–300: {' '.join(shown)}")
    rows = []
    for window in range(TASKS // WINDOW):
        ours = [seed[window] for seed in regret["ours"]]
        goal = Goal("below", 5) if window == TASKS // WINDOW - 1 else None
        for name, seeds in regret.items():
            if name != "ours":
                metric = f"regret over tasks {window * WINDOW + 1}–{(window + 1) * WINDOW}"
                peer = [seed[window] for seed in seeds]
                rows.append(compare(metric, "%", ours, more_is_better=False, peer_name=name, peer=peer, goal=goal))
    return rows
