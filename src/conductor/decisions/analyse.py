"""Read descriptions: surface features, embedding, class probabilities, and a language model's proposal if one is there.

This is the blocking part of a decision and depends on the text alone, so its results are kept by text. What memory and
fleet make of them is `recommend`.

Covered: batches, repeated texts, texts beyond what is read, a language model that fails (it is left out, and noted).
Not covered: pictures and sound attached to a description.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.decisions.evidence import DEVICES
from conductor.decisions.features import Features, features_of, readable
from conductor.decisions.memory import Nearest
from conductor.decisions.ports import FloatArray, LanguageModel, Proposal, TextEncoder
from conductor.domain.device import TaskKind
from conductor.domain.errors import ConductorError

KINDS: Final = tuple(TaskKind)
KEPT_DESCRIPTION_CHARACTERS: Final = 500
_LONGEST_KEY: Final = 2000
#: Weight of a language model's proposal in the mixture of class probabilities.
_PROPOSAL_WEIGHT: Final = 0.3


@dataclass(slots=True, kw_only=True)
class Analysis:
    """What one description says.

    `device_probabilities` is float64 [6] in the order of `DeviceType` and sums to 1. `nearest` is what was last found
    in memory for it; it is the one thing here that changes, and only `recommend` changes it.
    """

    key: str
    description: str
    features: Features
    sizes: Mapping[str, float]
    embedding: FloatArray
    device_probabilities: npt.NDArray[np.float64]
    task_kind: TaskKind
    kind_probability: float
    proposal: Proposal | None
    models: tuple[tuple[str, str], ...]
    nearest: Nearest = field(default_factory=Nearest)


class Analyst:
    """Analyses texts in batches and keeps the latest results; thread-safe."""

    def __init__(self, encoder: TextEncoder, language_model: LanguageModel | None = None, *, kept: int = 2048) -> None:
        self._encoder = encoder
        self._language_model = language_model
        self._kept = kept
        self._analyses: OrderedDict[str, Analysis] = OrderedDict()
        self._lock = Lock()

    def known(self, text: str) -> Analysis | None:
        """The kept analysis of a text, without any work; None when there is none."""
        key = _key(text)
        with self._lock:
            analysis = self._analyses.get(key)
            if analysis is not None:
                self._analyses.move_to_end(key)
            return analysis

    def analyse(self, texts: Sequence[str]) -> list[Analysis]:
        """Analyse texts, encoding in one batch those that are not kept; blocking."""
        found = {text: self.known(text) for text in dict.fromkeys(texts)}
        missing = [text for text, analysis in found.items() if analysis is None]
        fresh = dict(zip(missing, self._read(missing), strict=True)) if missing else {}
        with self._lock:
            for analysis in fresh.values():
                self._analyses[analysis.key] = analysis
            while len(self._analyses) > self._kept:
                self._analyses.popitem(last=False)
        return [found[text] or fresh[text] for text in texts]

    def _read(self, texts: Sequence[str]) -> list[Analysis]:
        parts = [readable(text)[0] for text in texts]
        encodings = self._encoder.encode(parts)
        proposals, failure = self._propose(parts)
        models = self._models(proposals)
        analyses = []
        for row, text in enumerate(texts):
            kinds = encodings.kind_probabilities[row]
            features = features_of(text)
            if failure:
                features = replace(features, notes=(*features.notes, failure))
            analyses.append(
                Analysis(
                    key=_key(text),
                    description=text[:KEPT_DESCRIPTION_CHARACTERS],
                    features=features,
                    sizes=features.sizes(),
                    embedding=np.array(encodings.embeddings[row], dtype=np.float32),
                    device_probabilities=_mixture(encodings.device_probabilities[row], proposals[row]),
                    task_kind=KINDS[int(np.argmax(kinds))],
                    kind_probability=float(kinds.max()),
                    proposal=proposals[row],
                    models=models,
                )
            )
        return analyses

    def _propose(self, texts: Sequence[str]) -> tuple[Sequence[Proposal | None], str]:
        if self._language_model is None:
            return [None] * len(texts), ""
        try:
            return self._language_model.propose(texts), ""
        except ConductorError as failure:
            # A decision without the language model is a good one; none at all is not.
            return [None] * len(texts), f"the language model did not take part: {failure.message}"

    def _models(self, proposals: Sequence[Proposal | None]) -> tuple[tuple[str, str], ...]:
        used: list[tuple[str, str]] = [(self._encoder.name, self._encoder.checksum)]
        if self._language_model is not None and any(proposals):
            used.append((self._language_model.name, self._language_model.checksum))
        return tuple(used)


def _mixture(encoder: FloatArray, proposal: Proposal | None) -> npt.NDArray[np.float64]:
    """Class probabilities as a weighted mean; a mean keeps calibrated inputs from growing overconfident together."""
    probabilities = encoder.astype(np.float64)
    if proposal is not None:
        proposed = np.array([proposal.device_probabilities.get(device, 0.0) for device in DEVICES])
        if proposed.sum() > 0:
            probabilities = (1 - _PROPOSAL_WEIGHT) * probabilities + _PROPOSAL_WEIGHT * proposed / proposed.sum()
    return np.asarray(probabilities / probabilities.sum(), dtype=np.float64)


def _key(text: str) -> str:
    return text if len(text) <= _LONGEST_KEY else hashlib.sha256(text.encode()).hexdigest()
