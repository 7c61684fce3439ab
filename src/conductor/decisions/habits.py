"""Decide what earlier runs of a workload say about the device type it is for, whatever this time's words are.

The same program is described in many ways, and the classifier misreads some of them. The devices that successful runs
of the workload were given are so many earlier readings; the more there are, the more they weigh against this one:

    p' ∝ p^(1 − w) · q^w,    w = 0.8 · n / (n + 6),    q = (votes + 2 p) / (n + 2)

a weighted geometric mean (logarithmic opinion pool; Genest and Zidek 1986). One earlier run hardly weighs, so that a first
misreading does not repeat itself; and a very certain reading can always win, because one program does several things.

Not covered: whether the device served the workload well; that is `evidence`.
"""

from collections import OrderedDict
from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.domain.device import DeviceType

_ROW: Final = {device: row for row, device in enumerate(DeviceType)}
_MOST_WEIGHT: Final = 0.8
_HALF_WEIGHT_RUNS: Final = 6.0
_OWN_VOTES: Final = 2.0
_FADE: Final = 0.98
_WORKLOADS: Final = 2048
_LEAST: Final = 1e-6


class Habits:
    """Device types that each workload was given when it succeeded; older runs count less."""

    def __init__(self) -> None:
        self._votes: OrderedDict[str, npt.NDArray[np.float64]] = OrderedDict()

    def observe(self, signature: str, device: DeviceType) -> None:
        """Count one success; the least recently used workload is forgotten beyond 2,048."""
        votes = self._votes.setdefault(signature, np.zeros(len(_ROW)))
        self._votes.move_to_end(signature)
        votes *= _FADE
        votes[_ROW[device]] += 1.0
        if len(self._votes) > _WORKLOADS:
            self._votes.popitem(last=False)

    def weigh(self, shares: npt.NDArray[np.float64], signature: str) -> npt.NDArray[np.float64]:
        """Join this time's reading with the earlier ones; float64 [6] in the order of `DeviceType`, summing to 1."""
        votes = self._votes.get(signature)
        if votes is None:
            return shares
        count = votes.sum()
        weight = _MOST_WEIGHT * count / (count + _HALF_WEIGHT_RUNS)
        earlier = (votes + _OWN_VOTES * shares) / (count + _OWN_VOTES)
        joint = np.maximum(shares, _LEAST) ** (1.0 - weight) * np.maximum(earlier, _LEAST) ** weight
        return np.asarray(joint / joint.sum(), dtype=np.float64)
