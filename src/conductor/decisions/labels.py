"""Gather what this installation's history says would have been right, and set part of it aside for judging.

Three sources, most trusted first: what a person said about a task (`Correction`, weight 1), the device a submission asked
for in its metadata (0.7), and work that ran on several device types, where one did clearly better (0.5). A success on a
substitute alone says nothing: nobody knows how the ideal device would have done.

A text has one label: its device from the most trusted source that speaks of it, and the latest word of that source; its
kind of work from corrections alone. Texts of one workload, and texts that differ in case or spacing only, stay on the same
side of the hold-out.

Covered: contradicting sources, withdrawn corrections (they are not handed in), corrections that name the kind only.
Not covered: who may correct whom.
"""

import hashlib
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median
from typing import Final

from conductor.decisions.ports import Experience
from conductor.domain.correction import Correction
from conductor.domain.device import DeviceType, TaskKind

#: At least so many texts judge, and so many teach.
LEAST_HELD_OUT: Final = 10
LEAST_TAUGHT: Final = 10
_COUNTED_SINGLY: Final = 32
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
    """What would have been right for a text; None where nobody said so. Texts of one `group` are never parted."""

    text: str
    device: DeviceType | None
    kind: TaskKind | None
    source: Source
    group: str

    @property
    def weight(self) -> float:
        """How much its device counts, in 0–1; a kind of work comes from a correction and counts fully."""
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

    def note(text: str, source: Source, device: DeviceType | None, kind: TaskKind | None = None) -> None:
        digest = text_digest(text)
        known = found.get(digest)
        if known is None:
            group = signatures.get(digest, digest)
            found[digest] = Label(text=text, device=device, kind=kind, source=source, group=group)
        elif device is None:
            found[digest] = replace(known, kind=kind or known.kind)
        else:
            found[digest] = replace(known, text=text, device=device, kind=kind or known.kind, source=source)

    for text, device in _by_outcome(experiences):
        note(text, Source.OUTCOME, device)
    for text, device in asked_for:
        note(text, Source.METADATA, device)
    for correction in corrections:
        if correction.device is not None or correction.task_kind is not None:  # a priority is learned elsewhere
            note(correction.description, Source.CORRECTION, correction.device, correction.task_kind)
    return [found[digest] for digest in sorted(found)]


def split(labels: Sequence[Label]) -> Split | None:
    """Set aside at least a fifth of the groups and ten texts with a device, of every device type in proportion.

    Returns:
        None when there are too few labels for both sides; `shortage` says what is missing.
    """
    strata: dict[DeviceType | None, set[str]] = defaultdict(set)
    judgeable = {label.group for label in labels if label.device is not None}
    for label in labels:
        if label.device is not None or label.group not in judgeable:
            strata[label.device].add(label.group)
    for part in (0.2, 0.25, 0.34, 0.5):
        # The lowest digests: as labels are added, a text mostly stays on its side, so that a version in use is seldom
        # judged by what it was fitted to.
        ordered = (sorted(groups, key=text_digest) for groups in strata.values())
        aside = {group for groups in ordered for group in groups[: math.ceil(part * len(groups))]}
        held_out = [label for label in labels if label.group in aside]
        taught = [label for label in labels if label.group not in aside]
        judging, teaching = _with_device(held_out), _with_device(taught)
        if judging >= max(LEAST_HELD_OUT, (judging + teaching) / 5) and teaching >= LEAST_TAUGHT:
            return Split(taught, held_out)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """What there is and what is missing, where `split` found too few labels.

    Args:
        labelled: texts with a device that would have been right.
        workloads: of how many different workloads they are; texts of one command are one workload.
        kind_only: texts of which only the kind of work was said, which cannot be judged by device.
        missing: so many more texts with a device, each of a workload of its own, are enough.
    """

    labelled: int
    workloads: int
    kind_only: int
    missing: int

    def because(self) -> str:
        """What is missing, in words."""
        texts = "1 description is labelled" if self.labelled == 1 else f"{self.labelled} descriptions are labelled"
        repeated = self.labelled - self.workloads
        workloads = "1 workload" if self.workloads == 1 else f"{self.workloads} different workloads"
        alike = f", but of {workloads} only (what runs the same command is one)" if repeated else ""
        unused = f" ({self.kind_only} more name a kind of work without a device)" if self.kind_only else ""
        return (
            f"{texts} with the right device{alike}{unused}; {self.missing} more, each of other work, are enough, so that "
            f"{LEAST_TAUGHT} can teach and {LEAST_HELD_OUT} others can judge"
        )


def shortage(labels: Sequence[Label]) -> Shortage:
    """What is missing before `split` finds enough; `missing` is found by trying, and 0 where nothing is."""
    own = [label for label in labels if label.device is not None]
    commonest = Counter(label.device for label in own).most_common(1)
    device = commonest[0][0] if commonest else DeviceType.CPU
    # Beyond what is usual, steps double: each try looks at all labels.
    tries = itertools.chain(range(_COUNTED_SINGLY), (_COUNTED_SINGLY * 2**step for step in itertools.count()))
    return Shortage(
        labelled=len(own),
        workloads=len({label.group for label in own}),
        kind_only=len(labels) - len(own),
        missing=next(count for count in tries if split([*labels, *_other_work(count, device)])),
    )


def text_digest(text: str) -> str:
    """SHA-256 of a text without regard to case and spacing, lowercase hex."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode(errors="replace")).hexdigest()


def _other_work(count: int, device: DeviceType | None) -> Iterable[Label]:
    for number in range(count):
        text = f"other work, number {number}"
        yield Label(text=text, device=device, kind=None, source=Source.CORRECTION, group=text_digest(text))


def _with_device(labels: Iterable[Label]) -> int:
    return sum(label.device is not None for label in labels)


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
