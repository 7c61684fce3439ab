"""Read descriptions: surface features, embedding, class probabilities, and a language model's proposal if one is there.

This is the blocking part of a decision and depends on the text alone, so its results are kept by text. What memory and
fleet make of them is `recommend`.

Covered: batches, repeated texts, texts beyond what is read, a language model that fails (it is left out, and noted).
Not covered: attached files; what they add to the text is `attached`.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.decisions.features import Features, features_of, readable
from conductor.decisions.fusion import pooled
from conductor.decisions.memory import Nearest
from conductor.decisions.ports import Adjuster, FloatArray, LanguageModel, Probabilities, Proposal, TextEncoder
from conductor.domain.device import TaskKind
from conductor.domain.errors import ConductorError

KINDS: Final = tuple(TaskKind)
KEPT_DESCRIPTION_CHARACTERS: Final = 500
_LONGEST_KEY: Final = 2000


@dataclass(slots=True, kw_only=True)
class Analysis:
    """What one description says.

    `device_probabilities` is float64 [6] in the order of `DeviceType` and sums to 1; `encoder_probabilities` is the
    encoder's part in it. `nearest` is what was last found
    in memory for it; it is the one thing here that changes, and only `recommend` changes it.
    """

    key: str
    description: str
    features: Features
    sizes: Mapping[str, float]
    embedding: FloatArray
    encoder_probabilities: FloatArray
    device_probabilities: npt.NDArray[np.float64]
    task_kind: TaskKind
    kind_probability: float
    kind_probabilities: Probabilities
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
        self._adjuster: Adjuster | None = None
        self._remark = ""

    def retune(self, adjuster: Adjuster | None, remark: str = "") -> None:
        """Let another tuned version, or none, take part from now on; every decision notes a `remark`."""
        with self._lock:
            self._adjuster, self._remark = adjuster, remark
            self._analyses.clear()

    def untuned(self, texts: Sequence[str]) -> list[Analysis]:
        """What the models say without a tuned version; blocking, and nothing is kept."""
        return self._read(texts, None)

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
        with self._lock:
            adjuster, remark = self._adjuster, self._remark
        fresh = dict(zip(missing, self._read(missing, adjuster, remark), strict=True)) if missing else {}
        with self._lock:
            # What was read while the version changed is used once, and not kept.
            for analysis in fresh.values() if adjuster is self._adjuster else ():
                self._analyses[analysis.key] = analysis
            while len(self._analyses) > self._kept:
                self._analyses.popitem(last=False)
        return [found[text] or fresh[text] for text in texts]

    def _read(self, texts: Sequence[str], adjuster: Adjuster | None, remark: str = "") -> list[Analysis]:
        parts = [readable(text)[0] for text in texts]
        encodings = self._encoder.encode(parts)
        proposals, failure = self._propose(parts)
        models = self._models(proposals, adjuster)
        analyses = []
        for row, text in enumerate(texts):
            kinds = encodings.kind_probabilities[row].astype(np.float64)
            devices = pooled(encodings.device_probabilities[row], proposals[row])
            if adjuster is not None:
                adjusted = adjuster.adjust(encodings.embeddings[row], devices, kinds)
                devices, kinds = adjusted.devices, adjusted.kinds
            features = features_of(text)
            features = replace(features, notes=(*features.notes, *filter(None, (failure, remark))))
            analyses.append(
                Analysis(
                    key=_key(text),
                    description=text[:KEPT_DESCRIPTION_CHARACTERS],
                    features=features,
                    sizes=features.sizes(),
                    embedding=np.array(encodings.embeddings[row], dtype=np.float32),
                    encoder_probabilities=encodings.device_probabilities[row],
                    device_probabilities=devices,
                    task_kind=KINDS[int(np.argmax(kinds))],
                    kind_probability=float(kinds.max()),
                    kind_probabilities=kinds,
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

    def _models(self, proposals: Sequence[Proposal | None], adjuster: Adjuster | None) -> tuple[tuple[str, str], ...]:
        used: list[tuple[str, str]] = [(self._encoder.name, self._encoder.checksum)]
        if self._language_model is not None and any(proposals):
            used.append((self._language_model.name, self._language_model.checksum))
        if adjuster is not None:
            used.append((adjuster.name, adjuster.checksum))
        return tuple(used)


def _key(text: str) -> str:
    return text if len(text) <= _LONGEST_KEY else hashlib.sha256(text.encode()).hexdigest()
