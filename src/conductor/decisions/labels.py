"""Gather what this installation's history says would have been right, and set part of it aside for judging.

Three sources, most trusted first: what a person said about a task (`Correction`, weight 1), the device a submission asked
for in its metadata (0.7), and work that ran on several device types, where one did clearly better (0.5). A success on a
substitute alone says nothing: nobody knows how the ideal device would have done.

A text has one label, from the most trusted source that speaks of it, and the latest word of that source. Texts of one
workload, and texts that differ in case or spacing only, stay on the same side of the hold-out.

Covered: contradicting sources, withdrawn corrections (they are not handed in). Not covered: who may correct whom.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final

from conductor.decisions.ports import Experience
from conductor.domain.correction import Correction
from conductor.domain.device import DeviceType, TaskKind

#: At least so many texts judge, and so many teach.
LEAST_HELD_OUT: Final = 10
LEAST_TAUGHT: Final = 10
_RUNS_TO_COMPARE: Final = 2
_BETTER_RATE: Final = 0.25
_FASTER: Final = 1.25


class Source(StrEnum):
    """Where a label comes from, most trusted first."""

    CORRECTION = "correction"
    METADATA = "metadata"
    OUTCOME = "outcome"


WEIGHTS: Final = {Source.CORRECTION: 1.0, Source.METADATA: 0.7, Source.OUTCOME: 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What would have been right for a text; texts of one `group` are never parted."""

    text: str
    device: DeviceType
    kind: TaskKind | None
    source: Source
    group: str

    @property
    def weight(self) -> float:
        """How much it counts, in 0–1."""
        return WEIGHTS[self.source]


@dataclass(frozen=True, slots=True)
class Split:
    """Labels that teach, and labels that judge."""

    taught: Sequence[Label]
    held_out: Sequence[Label]


def gather_labels(
    corrections: Iterable[Correction], asked_for: Iterable[tuple[str, DeviceType]], experiences: Sequence[Experience]
) -> list[Label]:
    """One label per distinct text, in the order of their digests.

    Args:
        corrections: oldest first.
        asked_for: descriptions with the device type that their metadata name, oldest first.
        experiences: past runs.
    """
    signatures = {text_digest(past.description): past.signature for past in experiences if past.signature}
    found: dict[str, Label] = {}

    def note(text: str, device: DeviceType, source: Source, kind: TaskKind | None = None) -> None:
        digest = text_digest(text)
        group = signatures.get(digest, digest)
        found[digest] = Label(text=text, device=device, kind=kind, source=source, group=group)

    for text, device in _by_outcome(experiences):
        note(text, device, Source.OUTCOME)
    for text, device in asked_for:
        note(text, device, Source.METADATA)
    for correction in corrections:
        note(correction.description, correction.device, Source.CORRECTION, correction.task_kind)
    return [found[digest] for digest in sorted(found)]


def split(labels: Sequence[Label]) -> Split | None:
    """Set aside at least a fifth of the groups and ten texts, of every device type in proportion.

    Returns:
        None when there are too few labels for both sides; `missing` says how many.
    """
    strata: dict[DeviceType, set[str]] = defaultdict(set)
    for label in labels:
        strata[label.device].add(label.group)
    for part in (0.2, 0.25, 0.34, 0.5):
        # The lowest digests: as labels are added, a text mostly stays on its side, so that a version in use is seldom
        # judged by what it was fitted to.
        ordered = (sorted(groups, key=text_digest) for groups in strata.values())
        aside = {group for groups in ordered for group in groups[: math.ceil(part * len(groups))]}
        held_out = [label for label in labels if label.group in aside]
        taught = [label for label in labels if label.group not in aside]
        if len(held_out) >= max(LEAST_HELD_OUT, len(labels) / 5) and len(taught) >= LEAST_TAUGHT:
            return Split(taught, held_out)
    return None


def missing(labels: Sequence[Label]) -> int:
    """How many more labelled texts are needed at least, given that `split` found too few."""
    return max(LEAST_HELD_OUT + LEAST_TAUGHT - len(labels), 1)


def text_digest(text: str) -> str:
    """SHA-256 of a text without regard to case and spacing, lowercase hex."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode(errors="replace")).hexdigest()


def _by_outcome(experiences: Sequence[Experience]) -> Iterable[tuple[str, DeviceType]]:
    """Texts of work that ran on several device types, with the type that did clearly better."""
    groups: dict[str, list[Experience]] = defaultdict(list)
    for past in experiences:
        groups[past.signature or text_digest(past.description)].append(past)
    for runs in groups.values():
        best = _best_device(runs)
        if best is not None:
            yield from ((text, best) for text in dict.fromkeys(run.description for run in runs))


def _best_device(runs: Sequence[Experience]) -> DeviceType | None:
    """The type with the clearly better success rate or, that being alike, the clearly shorter median duration."""
    by_device: dict[DeviceType, list[Experience]] = defaultdict(list)
    for run in runs:
        by_device[run.available_device].append(run)
    compared = {device: own for device, own in by_device.items() if len(own) >= _RUNS_TO_COMPARE}
    if len(compared) < 2:
        return None
    rates = {device: sum(run.succeeded for run in own) / len(own) for device, own in compared.items()}
    alike = [device for device in compared if rates[device] > max(rates.values()) - _BETTER_RATE]
    times = {
        device: median(run.duration_s for run in compared[device] if run.succeeded)
        for device in alike
        if rates[device] > 0
    }
    if not times:
        return None
    fastest, *others = sorted(times, key=lambda device: times[device])
    return fastest if all(times[other] >= _FASTER * times[fastest] for other in others) else None
