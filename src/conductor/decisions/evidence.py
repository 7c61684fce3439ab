"""Decide what past tasks say about a new one: which device types did well, how sure that is, how long it took.

Pure arithmetic over the memories found. A memory counts by how near its description is and how long ago it was:
`weight = ((cosine - 0.6) / 0.4)² × 0.5 ** (age / 30 days)`, times its runs, at most thirty.

A success on a substitute says nothing against the ideal type that was not there; a failure speaks against the type
it happened on, wherever that type came from. So a fleet without GPUs never teaches that training belongs on a CPU,
and one GPU that keeps failing loses such tasks to the runner-up.

Covered: success, failure and speed by device type, agreement, durations of similar tasks.
Not covered: why something failed; a program at fault and a device at fault look alike from here. Durations are compared
between types without regard to the size of the work.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.decisions.memory import Memory
from conductor.domain.decision import SimilarTask
from conductor.domain.device import DeviceType

DEVICES: Final = tuple(DeviceType)
_NEAR: Final = 0.6
_HALF_LIFE_S: Final = 30 * 86400.0
_MOST_RUNS: Final = 30
#: Success rate of a type that nothing is known about, and how many runs that belief is worth.
_PRIOR_RATE: Final = 0.9
_PRIOR_RUNS: Final = 1.5
#: How hard outcomes pull: with the doubt, seven failures in a row of equal tasks overturn any certainty.
_PULL: Final = 2.5
_MOST_DOUBT: Final = 0.1
_SPEED_PULL: Final = 0.5
_MOST_SPEED: Final = math.log(8.0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What similar past tasks say.

    Args:
        runs: weight of all runs, agreement and failures included.
        successes, failures: weight by the device type they ran on.
        agreed: by ideal device type, weight of the successes of tasks that were given this type.
        log_duration_s: weighted mean of the logarithm of past durations by device type they ran on, with the weight.
        similar: up to three memories, nearest first, for people to read.
    """

    runs: float = 0.0
    successes: Mapping[DeviceType, float] = field(default_factory=dict)
    failures: Mapping[DeviceType, float] = field(default_factory=dict)
    agreed: Mapping[DeviceType, float] = field(default_factory=dict)
    log_duration_s: Mapping[DeviceType, tuple[float, float]] = field(default_factory=dict)
    similar: tuple[SimilarTask, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The device type that wins, the one after it, the winner's share and lead, and all shares."""

    device: DeviceType
    runner_up: DeviceType
    probability: float
    margin: float
    probabilities: tuple[tuple[DeviceType, float], ...]


def choose_device(prior: npt.NDArray[np.float64], evidence: Evidence) -> Choice:
    """Take the likeliest type after what happened to similar tasks; of equal ones the first of `DeviceType`."""
    shares: list[float] = weigh_devices(prior, evidence).tolist()
    first, second = sorted(range(len(shares)), key=lambda index: -shares[index])[:2]
    return Choice(
        device=DEVICES[first],
        runner_up=DEVICES[second],
        probability=shares[first],
        margin=shares[first] - shares[second],
        probabilities=tuple(zip(DEVICES, shares, strict=True)),
    )


def gather(found: Sequence[tuple[Memory, float]], *, now_unix_s: float) -> Evidence:
    """Weigh the memories found."""
    successes: dict[DeviceType, float] = {}
    failures: dict[DeviceType, float] = {}
    agreed: dict[DeviceType, float] = {}
    durations: dict[DeviceType, tuple[float, float]] = {}
    total = 0.0
    for memory, cosine in found:
        weight = _weight(memory, cosine, now_unix_s)
        if weight <= 0:
            continue
        runs = memory.successes + memory.failures
        share = weight * min(runs, _MOST_RUNS) / runs
        ran_on = memory.available_device
        total += share * runs
        failures[ran_on] = failures.get(ran_on, 0.0) + share * memory.failures
        agreed[memory.device] = agreed.get(memory.device, 0.0) + share * memory.successes
        if ran_on is memory.device:
            successes[ran_on] = successes.get(ran_on, 0.0) + share * memory.successes
        if memory.log_durations:
            mean, mass = durations.get(ran_on, (0.0, 0.0))
            latest = math.fsum(memory.log_durations) / len(memory.log_durations)
            durations[ran_on] = ((mean * mass + latest * weight) / (mass + weight), mass + weight)
    return Evidence(total, successes, failures, agreed, durations, _for_people(found))


def _weight(memory: Memory, cosine: float, now_unix_s: float) -> float:
    if cosine <= _NEAR:
        return 0.0
    nearness = (min(cosine, 1.0) - _NEAR) / (1.0 - _NEAR)
    # A clock that jumped back must not make an old memory count for more than a new one.
    age_s = max(now_unix_s - memory.at_unix_s, 0.0)
    return nearness**2 * float(0.5 ** (age_s / _HALF_LIFE_S))


def _for_people(found: Sequence[tuple[Memory, float]]) -> tuple[SimilarTask, ...]:
    return tuple(
        SimilarTask(
            task_id=memory.task_id,
            description=memory.description[:200],
            similarity=round(min(max(cosine, 0.0), 1.0), 4),
            device=memory.available_device,
            succeeded=memory.succeeded,
            duration_s=memory.duration_s,
        )
        for memory, cosine in found[:3]
        if cosine > _NEAR
    )


def weigh_devices(prior: npt.NDArray[np.float64], evidence: Evidence) -> npt.NDArray[np.float64]:
    """Move device probabilities by what happened to similar tasks.

    `log p' = log p + 2.5·log(rate / 0.9) + speed`, where `rate` is the success rate with 1.5 successes-in-expectation
    as prior, and `speed` half the logarithm of how much faster the type was than the others, damped by its weight.
    Where there were failures, up to a tenth of the belief goes to the types without any: a classifier that is right
    97 times in 100 may say 0.9999, and failures must be able to contradict it.

    Args:
        prior: float64 [6], in the order of `DeviceType`, summing to 1.

    Returns:
        float64 [6], summing to 1. More failures on a type never raise its share.
    """
    if evidence.runs <= 0:
        return prior
    pull = np.array([_success_pull(device, evidence) + _speed_pull(device, evidence) for device in DEVICES])
    if not pull.any():
        return prior
    logits = np.log(np.maximum(_with_doubt(prior, evidence), 1e-6)) + pull
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _with_doubt(prior: npt.NDArray[np.float64], evidence: Evidence) -> npt.NDArray[np.float64]:
    failures = sum(evidence.failures.values())
    unblemished = np.array([evidence.failures.get(device, 0.0) <= 0 for device in DEVICES], dtype=np.float64)
    if failures <= 0 or not unblemished.any():
        return prior
    doubt = _MOST_DOUBT * failures / (failures + 1.0)
    return np.asarray((1.0 - doubt) * prior + doubt * unblemished / unblemished.sum(), dtype=np.float64)


def _success_pull(device: DeviceType, evidence: Evidence) -> float:
    successes, failures = evidence.successes.get(device, 0.0), evidence.failures.get(device, 0.0)
    rate = (successes + _PRIOR_RATE * _PRIOR_RUNS) / (successes + failures + _PRIOR_RUNS)
    return _PULL * math.log(rate / _PRIOR_RATE)


def _speed_pull(device: DeviceType, evidence: Evidence) -> float:
    own = evidence.log_duration_s.get(device)
    others = [value for other, value in evidence.log_duration_s.items() if other is not device]
    if own is None or not others:
        return 0.0
    mass = sum(weight for _, weight in others)
    mean = sum(value * weight for value, weight in others) / mass
    advantage = min(max(mean - own[0], -_MOST_SPEED), _MOST_SPEED)
    return _SPEED_PULL * advantage * min(own[1], mass) / (min(own[1], mass) + 1.0)
