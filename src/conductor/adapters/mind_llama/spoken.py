"""Let another engine fill in the form with our own model, such as llama.cpp with its GGUF export.

The same tokens in the same order as `form_filling`, asked one text at a time of a `TokenModel`. Cue words are left out:
engines charge per question.
"""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conductor.adapters.mind_llama.form_filling import TEXT_TOKENS, Filled
from conductor.adapters.mind_llama.gguf_export import FORM_KEY
from conductor.adapters.mind_llama.model import MAX_CHARACTERS, Form, parse_form, proposal_of
from conductor.decisions.ports import Proposal, TokenModel
from conductor.domain.errors import ModelError


def spoken_form(path: Path) -> dict[str, Any] | None:
    """What a GGUF file says of the form it speaks; None for every model that is not ours.

    Raises:
        ModelError: the package `gguf` is missing.
    """
    try:
        import gguf
    except ImportError as missing:
        raise ModelError(
            "reading GGUF needs the package gguf; install it with `pip install 'conductor[gguf]'`"
        ) from missing
    field = gguf.GGUFReader(path).get_field(FORM_KEY)
    return None if field is None else dict(json.loads(field.contents()))


class SpokenMind:
    """Our model behind a `TokenModel`.

    Args:
        model: any engine that shows logits.
        form: as `spoken_form` found it.
    """

    def __init__(self, model: TokenModel, form: dict[str, Any]) -> None:
        self.name = model.name
        self.checksum = model.checksum
        self._model = model
        self._form: Form = parse_form(model.name, form)
        self._begin = int(form["begin"])
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Nothing has to be read beforehand."""

    def propose(self, texts: Sequence[str]) -> list[Proposal]:
        """Fill in the decision form for each text; blocking, thread-safe."""
        with self._lock:
            return [proposal_of(self._filled(text[:MAX_CHARACTERS]), self._form) for text in texts]

    def _filled(self, text: str) -> Filled:
        """One forward pass per field."""
        tongue = self._form.tongue
        unread = [self._begin, *self._model.tokens(text, start=False)[: TEXT_TOKENS - 2], tongue.end]
        session = self._model.open()
        columns: list[npt.NDArray[np.float64]] = []
        for answers, temperature in zip(tongue.fields, self._form.temperatures, strict=True):
            logits = session.extend(unread, among=answers)[list(answers)].astype(np.float64) / temperature
            shares = np.exp(logits - logits.max())
            columns.append(shares / shares.sum())
            unread = [answers[int(logits.argmax())]]
        return Filled(tuple(columns), ())
