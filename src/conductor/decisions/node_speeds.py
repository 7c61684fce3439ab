"""Decide how fast and how reliable each node is on a device type, from what ran there.

Speed. `estimate` fits what a workload takes on a typical node; each run's error against that, as a logarithm, belongs
partly to the node. For a workload that ran on a node n times with mean error m, the node's effect is

    e = g + n / (n + κ) · (m − g),     g = Σ w·m / (Σ w + κ_g) over the workloads that ran on several nodes,

the posterior mean of a two-level normal model (Gelman et al. 2013, Bayesian Data Analysis, ch. 5): a node that was fast
in other work is expected to be fast in new work, until that work itself was measured. The spread that is left over is
handed on too, because whoever chooses a node may want to try one that could be faster.

Reliability. A node either works, and then fails one attempt in 1/q, or is broken and fails nearly all; `p_broken` is
filtered by Bayes' rule, attempt by attempt. A failure says less about the node when the workload fails elsewhere too,
and when the same task failed before: after n failed attempts, its chances are believed to be 1/(n + 1) of those of other
work like it, on any node. So a faulty task that is repeated again and again does not spoil the name of its node, and one
that succeeds in the end clears it.
Three failures in a row of work that used to succeed leave a node with less than a quarter of its chances; a broken node
is believed repaired with a half-life of ten minutes, so that it is tried again, one task at first.

Left to others: which node is chosen (`scheduling`), how work grows with size (`curve`). Not covered: speeds that depend
on heat, on the time of day, or on which other task runs beside.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.domain.decision import Forecast
from conductor.domain.device import DeviceType
from conductor.domain.node import NodeId

Floats = npt.NDArray[np.float64]

#: Runs after which a workload's own measurements on a node count as much as what is known of the node.
KAPPA: Final = 0.4
#: Typical deviation of a node's speed in one workload from its speed in general, and of that from the typical node's;
#: logarithms.
_OWN_SPREAD: Final = 0.35
_GENERAL_SPREAD: Final = 0.6
_KAPPA_GENERAL: Final = 0.5
_FURTHEST: Final = 3.0

_BREAKS_PER_ATTEMPT: Final = 0.005
_BROKEN_FAILS: Final = 0.95
_REPAIR_HALF_LIFE_S: Final = 600.0
#: Success rate of a workload before anything is known, and what one attempt moves it; failure rate of a node that
#: works, and the attempts that this belief is worth.
_WORK_SUCCEEDS: Final = 0.85
_WORK_SHARE: Final = 0.1
_NODE_FAILS: Final = 0.05
_NODE_ATTEMPTS: Final = 20.0
_FADE: Final = 0.98
_WORKLOADS: Final = 2048

_COLUMNS: Final = ("effects", "weights", "failures", "attempts", "p_broken", "at_unix_s")


class _Nodes:
    """What is known of all nodes on one device type; one row per node, one array per quantity."""

    effects: Floats  # Σ w·m over workloads
    weights: Floats  # Σ w
    failures: Floats  # faded counts while the node was believed to work
    attempts: Floats
    p_broken: Floats
    at_unix_s: Floats

    def __init__(self) -> None:
        self.ids: list[NodeId] = []
        self.row_of: dict[str, int] = {}
        for name in _COLUMNS:
            setattr(self, name, np.zeros(8))

    def row(self, node_id: str) -> int:
        row = self.row_of.get(node_id)
        if row is None:
            row = self.row_of[node_id] = len(self.ids)
            self.ids.append(NodeId(node_id))
            if row == len(self.effects):
                for name in _COLUMNS:
                    column = getattr(self, name)
                    setattr(self, name, np.concatenate([column, np.zeros_like(column)]))
        return row


class NodeSpeeds:
    """Effects of nodes on durations, and their chances of success, by device type."""

    def __init__(self) -> None:
        self._nodes: dict[DeviceType, _Nodes] = {}
        self._work: OrderedDict[str, float] = OrderedDict()  # success rates of workloads

    def general(self, device: DeviceType, node_id: str) -> float:
        """Logarithm of how much longer work takes on a node than on a typical one; 0 for a node nothing is known of."""
        nodes = self._nodes.get(device)
        row = nodes.row_of.get(node_id) if nodes else None
        if nodes is None or row is None:
            return 0.0
        return float(nodes.effects[row] / (nodes.weights[row] + _KAPPA_GENERAL))

    def replace(
        self, device: DeviceType, old: Mapping[str, tuple[float, int]], new: Mapping[str, tuple[float, int]]
    ) -> None:
        """Exchange what one workload says of nodes: by node, the mean error as a logarithm, and the number of runs."""
        nodes = self._nodes.setdefault(device, _Nodes())
        for said, sign in ((old, -1.0), (new, 1.0)):
            for node_id, (mean, runs) in said.items():
                row, weight = nodes.row(node_id), sign * runs / (runs + KAPPA)
                nodes.effects[row] += weight * min(max(mean, -_FURTHEST), _FURTHEST)
                nodes.weights[row] = max(nodes.weights[row] + weight, 0.0)

    def attempted(
        self,
        device: DeviceType,
        node_id: str,
        *,
        signature: str,
        succeeded: bool,
        at_unix_s: float,
        failed_before: int = 0,
    ) -> None:
        """Take the end of one attempt on a node, of a task of which `failed_before` attempts failed already."""
        nodes = self._nodes.setdefault(device, _Nodes())
        row = nodes.row(node_id)
        work_succeeds = self._work.get(signature, _WORK_SUCCEEDS)
        before = float(self._broken_now(nodes, at_unix_s)[row])
        before += _BREAKS_PER_ATTEMPT * (1.0 - before)
        weight = 1.0 / (1 + failed_before)
        fine = (1.0 - float(_fails(nodes)[row])) * work_succeeds * weight
        lucky = (1.0 - _BROKEN_FAILS) * weight
        said_by_broken = lucky if succeeded else 1.0 - lucky
        said_by_working = fine if succeeded else 1.0 - fine
        broken = before * said_by_broken / (before * said_by_broken + (1.0 - before) * said_by_working)
        nodes.p_broken[row], nodes.at_unix_s[row] = broken, max(at_unix_s, float(nodes.at_unix_s[row]))
        counted, fade = (1.0 - broken) * weight, _FADE**weight
        nodes.failures[row] = nodes.failures[row] * fade + (not succeeded) * counted * work_succeeds
        nodes.attempts[row] = nodes.attempts[row] * fade + counted
        self._work[signature] = work_succeeds + _WORK_SHARE * counted * (succeeded - work_succeeds)
        self._work.move_to_end(signature)
        if len(self._work) > _WORKLOADS:
            self._work.popitem(last=False)

    def forecast(
        self,
        device: DeviceType,
        own: Mapping[str, tuple[float, int]],
        *,
        typical_s: float,
        now_unix_s: float,
    ) -> Forecast | None:
        """What a task that takes `typical_s` on a typical node takes on each node that anything is known of.

        Args:
            own: by node, what runs of the same workload say: effect as a logarithm, and number of runs.

        Returns:
            None when nothing ever ran on this device type.
        """
        nodes = self._nodes.get(device)
        if nodes is None:
            return None
        n = len(nodes.ids)
        weights = nodes.weights[:n]
        effects = nodes.effects[:n] / (weights + _KAPPA_GENERAL)
        general = _GENERAL_SPREAD**2 * _KAPPA_GENERAL / (weights + _KAPPA_GENERAL)
        runs = np.zeros(n, dtype=np.intp)
        for node_id, (effect, count) in own.items():
            row = nodes.row_of[node_id]
            effects[row], runs[row] = effect, count
        left = KAPPA / (runs + KAPPA)
        return Forecast(
            node_ids=tuple(nodes.ids),
            duration_s=(typical_s * np.exp(np.clip(effects, -_FURTHEST, _FURTHEST))).tolist(),
            spread=np.sqrt(_OWN_SPREAD**2 * left + general * left**2).tolist(),
            success=((1.0 - self._broken_now(nodes, now_unix_s)[:n]) * (1.0 - _fails(nodes)[:n])).tolist(),
            runs=runs.tolist(),
            elsewhere_s=typical_s,
            elsewhere_spread=float(np.hypot(_OWN_SPREAD, _GENERAL_SPREAD)),
            elsewhere_success=1.0 - _NODE_FAILS,
        )

    @staticmethod
    def _broken_now(nodes: _Nodes, now_unix_s: float) -> Floats:
        quiet_s = np.maximum(now_unix_s - nodes.at_unix_s, 0.0)
        return np.asarray(nodes.p_broken * 0.5 ** (quiet_s / _REPAIR_HALF_LIFE_S))


def _fails(nodes: _Nodes) -> Floats:
    """Failure rate of each node while it works."""
    return np.asarray((nodes.failures + _NODE_FAILS * _NODE_ATTEMPTS) / (nodes.attempts + _NODE_ATTEMPTS))


def mean_errors(nodes: Sequence[str], log_errors: Floats) -> dict[str, tuple[float, int]]:
    """By node, the mean of its runs' errors and how many there were; the latest runs count twice as much as those
    sixteen before."""
    recency = 0.5 ** (np.arange(len(nodes))[::-1] / 16.0)
    said = {}
    for node_id in dict.fromkeys(nodes):
        mine = np.array([other == node_id for other in nodes])
        weight = recency[mine]
        said[node_id] = (float(weight @ log_errors[mine] / weight.sum()), int(mine.sum()))
    return said
