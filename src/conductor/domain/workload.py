"""What a task executes, and the slice of the machine it may use."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Self

from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject
from conductor.domain.plain_data import check_plain
from conductor.domain.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The slice one task is confined to.

    `wall_time_s` bounds one attempt from start to end; `cpu_time_s` bounds processor seconds over all its processes;
    `output_bytes` bounds what it prints; `network` opens the network, which is closed otherwise.
    """

    memory_bytes: int = 2048 * MIB
    wall_time_s: float = 300.0
    cpu_time_s: float = 3600.0
    output_bytes: int = 16 * MIB
    processes: int = 256
    network: bool = False

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "wall_time_s", "cpu_time_s", "output_bytes", "processes"):
            if not 0 < getattr(self, name) < inf:  # not-a-number is neither
                raise InvalidInput(
                    f"limits.{name} is {getattr(self, name)}; it must be a number greater than 0",
                    field=f"limits.{name}",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A workload kind (`command`, `python`, `embed`, …) with its own specification, checked by that kind."""

    kind: str
    spec: JsonObject = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_plain(self.spec, field="workload.spec")

    def within(self, limits: Limits) -> Self:
        """The same work in another slice."""
        return replace(self, limits=limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkProfile:
    """What can be known about a workload before it runs, for estimating from the past.

    Args:
        signature: equal for runs of the same program on different data, for example `command:ffmpeg -c:v libx264`.
        sizes: named positive quantities that the duration may depend on, such as `input_bytes` or `arg.steps`.
    """

    signature: str
    sizes: Mapping[str, float] = field(default_factory=dict)
