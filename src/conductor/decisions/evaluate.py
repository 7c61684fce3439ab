"""Judge decisions against labels: accuracy, per class, calibration of both stated numbers.

A decision is right when its device is in the `accept` set of the row (LABELS: the one or two devices an expert would
not call wrong). Two numbers say how sure it was: the probability of the device, and the four-part confidence; the
expected calibration error of each (15 equal bins, Guo et al. 2017, arXiv:1706.04599) and the Brier score tell whether
to believe them.

Pure: judged rows in, a report out. `IdleFleet` is what evaluations decide for, so that they judge the reading of texts
and not how busy this machine happens to be.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from conductor.domain.decision import Need, NodeScore, Ranking
from conductor.domain.device import DeviceType
from conductor.domain.node import NodeId

_BINS: Final = 15


class IdleFleet:
    """A fleet of one node that has every type of device, and nothing to do."""

    def offered_devices(self) -> frozenset[DeviceType]:
        """All six."""
        return frozenset(DeviceType)

    def rank(self, need: Need) -> Ranking:
        """The one node, wholly free."""
        node = NodeScore(node_id=NodeId("idle"), score=1.0, thermal=1.0, queue=1.0, capability=1.0, history=1.0)
        return Ranking(device=need.device, best=(node,), rejected=(), node_availability=1.0, resource_availability=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One decided row with its labels.

    `alone` holds what each part of the decision would have chosen by itself: its name, the device, the probability.
    """

    row_id: str
    accept: frozenset[DeviceType]
    best: DeviceType
    chosen: DeviceType
    probability: float
    confidence: float
    hard: bool
    language: str
    alone: tuple[tuple[str, DeviceType, float], ...] = ()

    @property
    def right(self) -> bool:
        """Whether the chosen device is acceptable."""
        return self.chosen in self.accept


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """One device type against `best`, where a choice that `accept` allows counts as the best one.

    Precision and recall are 0 where nothing was chosen, or nothing was there to be found.
    """

    device: DeviceType
    count: int
    chosen: int
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """How good one part of the decisions is by itself; shares and errors in 0–1."""

    name: str
    accept: float
    best: float
    ece: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How good a set of decisions is; shares and errors in 0–1, groups as name → (share right, count)."""

    count: int
    accept: float
    best: float
    macro_f1: float
    ece_probability: float
    ece_confidence: float
    brier_probability: float
    brier_confidence: float
    classes: tuple[ClassReport, ...]
    groups: tuple[tuple[str, float, int], ...]
    parts: tuple[PartReport, ...]
    wrong: tuple[str, ...]

    def text(self) -> str:
        """The report as a table for people."""
        lines = [
            f"rows {self.count}",
            f"right (in accept)   {self.accept:.4f}",
            f"right (best)        {self.best:.4f}",
            f"macro F1            {self.macro_f1:.4f}",
            f"ECE, probability    {self.ece_probability:.4f}   Brier {self.brier_probability:.4f}",
            f"ECE, confidence     {self.ece_confidence:.4f}   Brier {self.brier_confidence:.4f}",
            "",
            f"{'device':8}{'rows':>6}{'chosen':>8}{'precision':>11}{'recall':>8}",
        ]
        lines += [
            f"{entry.device:8}{entry.count:6}{entry.chosen:8}{entry.precision:11.3f}{entry.recall:8.3f}"
            for entry in self.classes
        ]
        lines += ["", f"{'part':24}{'accept':>8}{'best':>8}{'ECE':>8}"]
        lines += [f"{part.name:24}{part.accept:8.4f}{part.best:8.4f}{part.ece:8.4f}" for part in self.parts]
        lines += ["", f"{'group':16}{'rows':>6}{'right':>8}"]
        lines += [f"{name:16}{count:6}{share:8.3f}" for name, share, count in self.groups]
        return "\n".join(lines)


def evaluate(rows: Sequence[Judged]) -> Report:
    """Judge decided rows; an empty list gives zeros."""
    rights = [row.right for row in rows]
    classes = tuple(_class_report(device, rows) for device in DeviceType)
    present = [entry.f1 for entry in classes if entry.count or entry.chosen]
    probabilities = [row.probability for row in rows]
    confidences = [row.confidence for row in rows]
    return Report(
        count=len(rows),
        accept=_mean(rights),
        best=_mean(row.chosen is row.best for row in rows),
        macro_f1=_mean(present),
        ece_probability=expected_calibration_error(probabilities, rights),
        ece_confidence=expected_calibration_error(confidences, rights),
        brier_probability=_brier(probabilities, rights),
        brier_confidence=_brier(confidences, rights),
        classes=classes,
        groups=_groups(rows),
        parts=_parts(rows),
        wrong=tuple(row.row_id for row in rows if not row.right),
    )


def expected_calibration_error(stated: Sequence[float], right: Sequence[bool]) -> float:
    """Mean gap between what was stated and what was right, over 15 equal bins, weighted by their rows."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(_BINS)]
    for value, was_right in zip(stated, right, strict=True):
        bins[min(int(value * _BINS), _BINS - 1)].append((value, was_right))
    gaps = (abs(sum(value for value, _ in entries) - sum(hit for _, hit in entries)) for entries in bins)
    return sum(gaps) / max(len(stated), 1)


def _class_report(device: DeviceType, rows: Sequence[Judged]) -> ClassReport:
    # What counts as found: the best device, or one accepted in its stead (then the choice is its own class).
    truth = [row.chosen if row.right else row.best for row in rows]
    chosen = [row.chosen for row in rows]
    hits = sum(1 for true, choice in zip(truth, chosen, strict=True) if true is device and choice is device)
    return ClassReport(
        device=device,
        count=truth.count(device),
        chosen=chosen.count(device),
        precision=hits / max(chosen.count(device), 1),
        recall=hits / max(truth.count(device), 1),
    )


def _groups(rows: Sequence[Judged]) -> tuple[tuple[str, float, int], ...]:
    members: dict[str, list[bool]] = {"hard": [], "not hard": []}
    for row in rows:
        members["hard" if row.hard else "not hard"].append(row.right)
        members.setdefault(f"language {row.language}", []).append(row.right)
    ordered = sorted(members.items(), key=lambda item: (item[0].startswith("language"), -len(item[1]), item[0]))
    return tuple((name, _mean(rights), len(rights)) for name, rights in ordered if rights)


def _parts(rows: Sequence[Judged]) -> tuple[PartReport, ...]:
    """Each part alone, then all of them fused."""
    fused = [(row, row.chosen, row.probability) for row in rows]
    members: dict[str, list[tuple[Judged, DeviceType, float]]] = {}
    for row in rows:
        for name, device, probability in row.alone:
            members.setdefault(name, []).append((row, device, probability))
    return tuple(
        PartReport(
            name=name,
            accept=_mean(device in row.accept for row, device, _ in chosen),
            best=_mean(device is row.best for row, device, _ in chosen),
            ece=expected_calibration_error(
                [probability for *_, probability in chosen], [device in row.accept for row, device, _ in chosen]
            ),
        )
        for name, chosen in (*members.items(), ("fused", fused))
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def _brier(stated: Sequence[float], right: Sequence[bool]) -> float:
    return _mean((value - was_right) ** 2 for value, was_right in zip(stated, right, strict=True))
