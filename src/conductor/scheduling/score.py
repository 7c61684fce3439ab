"""Score nodes for a task: 0.4 thermal + 0.3 queue + 0.2 capability + 0.1 history, over all nodes at once.

Each part is in 0–1, larger is better, and so is the score. The formulas:

- thermal: as the node reports it (`fleet.heat`): 1 far below the limits, falling to 0 at them.
- queue: slots / (slots + queued + running): 1 when idle, 1/2 when every slot is taken and nothing waits.
- capability: substitution · (units + memory) / 2, where units and memory are the shares of the needed compute units and
  memory that the node has free, at most 1, and substitution halves with each step away from the device asked for.
- history: the node's performance score (`fleet.performance`); `NEUTRAL_HISTORY` before anything is known.

Source of the weights: FEATURES G4. Which nodes may be scored at all is `rank`'s question.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from conductor.domain.device import DeviceType

Floats = npt.NDArray[np.float64]

NEUTRAL_HISTORY: Final = 0.6
THERMAL_WEIGHT: Final = 0.4
QUEUE_WEIGHT: Final = 0.3
CAPABILITY_WEIGHT: Final = 0.2
HISTORY_WEIGHT: Final = 0.1
WEIGHTS: Final = {
    "thermal": THERMAL_WEIGHT,
    "queue": QUEUE_WEIGHT,
    "capability": CAPABILITY_WEIGHT,
    "history": HISTORY_WEIGHT,
}


class Parts(NamedTuple):
    """The parts of the score, float64 [nodes] each, and the score itself."""

    score: Floats
    thermal: Floats
    queue: Floats
    capability: Floats
    history: Floats


class Expected(NamedTuple):
    """What measured runs let expect of every node (`expect`); [nodes], in seconds.

    `done_s` is until the task would be done, `wait_s` the part of it until its turn, `runs` how many runs of the same
    work on the node say so; `merit` is what nodes are ordered by, larger is better.
    """

    done_s: Floats
    wait_s: Floats
    merit: Floats
    runs: npt.NDArray[np.intp]


class Scored(NamedTuple):
    """All nodes as seen for one need and one device type; arrays are [nodes], amounts in compute units and bytes.

    Nodes that cannot take the task are scored too, so that the difference can be explained.
    """

    device: DeviceType
    able: npt.NDArray[np.bool_]
    parts: Parts
    free_units: Floats
    free_memory: Floats
    expected: Expected | None = None

    @property
    def merit(self) -> Floats:
        """What nodes are ordered by: when the task would be done there where runs tell, else the score."""
        return self.parts.score if self.expected is None else self.expected.merit


def queue_part(waiting: Floats, slots: Floats) -> Floats:
    """The queue part. `waiting` counts queued and running tasks, [nodes]; `slots`, 1 or more, what may run at once."""
    return slots / (slots + waiting)


def coverage(free: Floats, needed: float) -> Floats:
    """The share of what is needed that is free, [nodes] in 0–1; 1 when nothing is needed."""
    if not needed > 0:
        return np.ones_like(free)
    return np.minimum(free, needed) / needed


def combine(*, thermal: Floats, queue: Floats, units: Floats, memory: Floats, steps: int, history: Floats) -> Parts:
    """Weigh the parts, float64 [nodes] each; `steps` counts the substitutions away from the device asked for."""
    capability = (units + memory) * 0.5 ** (steps + 1)
    score = THERMAL_WEIGHT * thermal + QUEUE_WEIGHT * queue + CAPABILITY_WEIGHT * capability + HISTORY_WEIGHT * history
    return Parts(score, thermal, queue, capability, history)
