"""Turn labelled task descriptions into what the language model learns: text, the five answers, and the cue words.

Device and kind are people's labels. Priority, compute units and duration are what the product's own rules say of the
text (`urgency`, `priors`), since nobody measured these tasks: the model learns the rules' knowledge together with its
exceptions in wording, and measured history replaces both. Cue words are the words of the text without which the letter
expert would believe least in the right device.

Covered: texts altered while training (answers follow the altered text, cue words that were altered away are dropped).
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from recipes.encoder.data import DEVICES, KINDS, Row, targets
from recipes.encoder.letters import Letters

from conductor.decisions.features import features_of
from conductor.decisions.form import PRIORITIES, nearest_duration, nearest_units
from conductor.decisions.priors import prior_compute_units, prior_duration_s
from conductor.domain.device import DeviceType, TaskKind

MOST_CUES = 3
_LEAST_PULL = 0.15
_WORD = re.compile(r"[^\s,;:!?()\[\]{}\"']+")
HURRY: Mapping[int, Sequence[str]] = {
    2: (
        " asap",
        " - urgent!",
        ", urgent",
        " as soon as possible",
        " right now",
        ", dringend",
        ", urgente",
        ", es eilt",
    ),
    4: (
        ", no rush",
        " whenever you can",
        " - low priority",
        ", can wait",
        ", keine Eile",
        ", sin prisa",
        ", pas urgent",
    ),
    5: (" when idle", " in the background", " if idle", ", lowest priority", " im Hintergrund laufen"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One text with its labels; `accept` is float32 [devices], the cue words stand in the text."""

    text: str
    accept: npt.NDArray[np.float32]
    best: int
    kind: int
    cues: tuple[str, ...]


def examples(rows: Sequence[Row], letters: Letters) -> list[Example]:
    """Labels and cue words of labelled rows."""
    truth = targets(rows)
    return [
        Example(
            text=row.text,
            accept=truth.accept[index],
            best=int(truth.best[index]),
            kind=int(truth.kind[index]),
            cues=cues,
        )
        for index, (row, cues) in enumerate(zip(rows, _cues(rows, letters), strict=True))
    ]


def _cues(rows: Sequence[Row], letters: Letters) -> list[tuple[str, ...]]:
    """For each row the words that speak most for its best device, strongest first."""
    texts: list[str] = []
    owners: list[tuple[int, str]] = []
    for index, row in enumerate(rows):
        for word in dict.fromkeys(_WORD.findall(row.text)):
            owners.append((index, word))
            texts.append(row.text.replace(word, " "))
    whole = _support(letters, [row.text for row in rows])
    without = _support(letters, texts)
    pulls: list[list[tuple[float, str]]] = [[] for _ in rows]
    for (index, word), support in zip(owners, without, strict=True):
        best = DEVICES.index(rows[index].best)
        pull = float(whole[index, best] - support[best])
        if pull > _LEAST_PULL and len(word) > 1:
            pulls[index].append((pull, word))
    return [tuple(word for _, word in sorted(found, reverse=True)[:MOST_CUES]) for found in pulls]


def _support(letters: Letters, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    parts = [letters.logits(texts[at : at + 4096]) for at in range(0, len(texts), 4096)]
    logits = torch.cat(parts)
    return np.asarray((logits - logits.mean(1, keepdim=True)).numpy(), dtype=np.float32)


def hurried(text: str, rng: random.Random) -> str:
    """Every tenth text says how urgent it is, so that the model sees all priorities."""
    if rng.random() < 0.1:
        return text.rstrip(" .!?") + rng.choice(HURRY[rng.choice(list(HURRY))])
    return text


def rule_answers(text: str, device: DeviceType, kind: TaskKind) -> tuple[int, int, int]:
    """What the product's rules say: columns of priority, compute units and duration."""
    features = features_of(text)
    seconds = prior_duration_s(kind, features, features.sizes(), on_substitute=False)
    return (
        PRIORITIES.index(features.urgency.priority),
        nearest_units(prior_compute_units(kind, device)),
        nearest_duration(seconds),
    )


def answers_of(text: str, example: Example) -> tuple[int, int, int, int, int]:
    """The five answers for a text that may be an altered form of the example's."""
    rest = rule_answers(text, DEVICES[example.best], KINDS[example.kind])
    return (example.best, example.kind, *rest)
