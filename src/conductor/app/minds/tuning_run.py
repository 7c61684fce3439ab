"""One fit: read all texts with the models as they are, fit on the taught ones, judge on the others.

Blocking and long (as many readings as texts), so it runs in a thread; texts are read in small batches, between which
decisions of the running server get their turn.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from conductor.adapters.mind_tuning.guard import Guard
from conductor.decisions.analyse import Analysis
from conductor.decisions.keeping import Judgement, judge
from conductor.decisions.labels import Label, Split, text_digest
from conductor.decisions.tuning import (
    Adjustment,
    Examples,
    Head,
    Matrix,
    TunedMind,
    class_weights,
    fit,
    log_losses,
)
from conductor.domain.device import DeviceType, TaskKind

DEVICES: Final = tuple(DeviceType)
KINDS: Final = tuple(TaskKind)
_PER_BATCH: Final = 8
#: What a rehearsed text counts, against a correction's 1.
_REHEARSAL: Final = 1.0
#: Fewer texts with a kind of work named do not move the kinds.
_LEAST_KINDS: Final = 10

Reader = Callable[[Sequence[str]], list[Analysis]]


@dataclass(frozen=True, slots=True)
class Material:
    """Labelled texts and guard texts, each with what the models say of it untuned."""

    parts: Split
    guard: Guard
    read: dict[str, Analysis]

    @property
    def models(self) -> tuple[tuple[str, str], ...]:
        """Name and SHA-256 of the models that read the texts."""
        return next(iter(self.read.values())).models

    def digests(self) -> dict[str, str]:
        """SHA-256 over the texts and labels of each side, which tells whether two fits had the same data."""
        return {"taught": _digest(self.parts.taught), "held_out": _digest(self.parts.held_out)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fit and what is to be thought of it."""

    adjustment: Adjustment
    judgement: Judgement


def read_material(read: Reader, parts: Split, guard: Guard, progress: Callable[[int, int], None]) -> Material:
    """Read every text once; `progress` hears of texts done and texts in all. Blocking."""
    labelled = [label.text for label in (*parts.taught, *parts.held_out)]
    texts = list(dict.fromkeys([*labelled, *(text.text for text in (*guard.rehearsed, *guard.judging))]))
    found: dict[str, Analysis] = {}
    for start in range(0, len(texts), _PER_BATCH):
        progress(start, len(texts))
        batch = texts[start : start + _PER_BATCH]
        found.update(zip(batch, read(batch), strict=True))
    progress(len(texts), len(texts))
    return Material(parts, guard, found)


def tune(material: Material, in_use: TunedMind | None) -> Outcome:
    """Fit to the taught texts and compare with the version in use, or with none; blocking."""
    parts, guard = material.parts, material.guard
    adjustment = Adjustment(_device_head(material), _kind_head(material))
    asked = [(label.text, label.device) for label in parts.held_out if label.device is not None]
    held_out = [material.read[text] for text, _ in asked]
    judging = [material.read[text.text] for text in guard.judging]
    before = Adjustment.zero(adjustment.device.weights.shape[1]) if in_use is None else in_use.adjustment
    return Outcome(
        adjustment,
        judge(
            held_out=(_devices(before.device, held_out), _devices(adjustment.device, held_out)),
            guard=(_devices(before.device, judging), _devices(adjustment.device, judging)),
            held_out_targets=_one_hot([DEVICES.index(device) for _, device in asked], len(DEVICES)),
            guard_targets=np.array([[float(device in text.accept) for device in DEVICES] for text in guard.judging]),
        ),
    )


def _device_head(material: Material) -> Head:
    taught = [label for label in material.parts.taught if label.device is not None]
    rehearsed = material.guard.rehearsed
    classes = np.array([DEVICES.index(label.device) for label in taught if label.device is not None])
    calm = [material.read[text.text] for text in rehearsed]
    untuned = np.array([analysis.device_probabilities for analysis in calm])
    read = [material.read[label.text] for label in taught]
    weights = np.array([label.weight for label in taught]) * class_weights(classes)
    return fit(
        Examples(
            embeddings=np.array([analysis.embedding for analysis in (*read, *calm)]),
            probabilities=np.array([analysis.device_probabilities for analysis in (*read, *calm)]),
            targets=np.concatenate([_one_hot(classes.tolist(), len(DEVICES)), untuned]),
            weights=np.concatenate([weights, np.full(len(calm), _REHEARSAL)]),
        )
    )


def _kind_head(material: Material) -> Head:
    """The head for kinds of work; none where too few people named one, or where it does not help on the hold-out."""
    taught = _with_kinds(material, material.parts.taught)
    held_out = _with_kinds(material, material.parts.held_out)
    zero = Head.zero(len(KINDS), taught.embeddings.shape[1])
    if len(taught) < _LEAST_KINDS or not len(held_out):
        return zero
    head = fit(taught)
    before, after = (
        log_losses(found.apply(held_out.embeddings, held_out.probabilities), held_out.targets).mean()
        for found in (zero, head)
    )
    return head if after < before else zero


def _with_kinds(material: Material, labels: Sequence[Label]) -> Examples:
    named = [(material.read[label.text], label.kind) for label in labels if label.kind is not None]
    width = len(next(iter(material.read.values())).embedding)
    return Examples(
        embeddings=np.array([analysis.embedding for analysis, _ in named]).reshape(-1, width),
        probabilities=np.array([analysis.kind_probabilities for analysis, _ in named]).reshape(-1, len(KINDS)),
        targets=_one_hot([KINDS.index(kind) for _, kind in named], len(KINDS)),
        weights=np.ones(len(named)),
    )


def _devices(head: Head, analyses: Sequence[Analysis]) -> Matrix:
    return head.apply(
        np.array([analysis.embedding for analysis in analyses]),
        np.array([analysis.device_probabilities for analysis in analyses]),
    )


def _one_hot(places: Sequence[int], classes: int) -> Matrix:
    return np.eye(classes)[np.array(places, dtype=np.intp)]


def _digest(labels: Sequence[Label]) -> str:
    lines = sorted(f"{text_digest(label.text)} {label.device} {label.kind} {label.source}" for label in labels)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
