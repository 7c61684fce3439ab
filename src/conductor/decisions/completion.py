"""Let a language model that only answers text fill in the form: ask, check strictly, ask once more, or give up.

An answer counts only if it is exactly the form. Such a model gives one answer and no probabilities, so a certainty is
assumed for it: `CERTAINTY`, with the rest spread evenly over the other devices. It is an assumption, not a measurement:
high enough to tip a close decision, low enough that a clear reading of the encoder stands against it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from conductor.decisions.form import ANSWERS, DEVICES, DURATIONS, LONGEST_REASON, schema
from conductor.decisions.ports import Completer, Proposal
from conductor.decisions.prompt import CLOSING, INSTRUCTIONS, OPENING, quoted
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import ModelError

#: Of the one answer such a model gives.
CERTAINTY: Final = 0.8
_REQUEST: Final = "Answer with one JSON object that has exactly the fields of the form, and nothing else."
_FENCE: Final = re.compile(r"\A\s*```(?:json)?\s*(\{.*\})\s*```\s*\Z", re.DOTALL)
_SECONDS: Final = {words: seconds for seconds, words in DURATIONS}


class NotTheForm(ValueError):
    """An answer is not the form; says where."""


class CompletionReader:
    """The `LanguageModel` of a `Completer`."""

    def __init__(self, completer: Completer) -> None:
        self._completer = completer

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._completer.name

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights; empty where they are out of reach."""
        return self._completer.checksum

    def propose(self, texts: Sequence[str]) -> Sequence[Proposal]:
        """Ask about each description, one after the other; blocking, thread-safe.

        Raises:
            ModelError: no answer came, or two answers in a row were not the form.
        """
        return [self._proposal(text) for text in texts]

    def _proposal(self, text: str) -> Proposal:
        prompt = f"{INSTRUCTIONS}\n{OPENING}{quoted(text)}{CLOSING}\n{_REQUEST}"
        try:
            return parse(self._completer.complete(prompt, schema()))
        except NotTheForm as first:
            again = f"{prompt}\nYour last answer could not be used: {first}."
        try:
            return parse(self._completer.complete(again, schema()))
        except NotTheForm as second:
            raise ModelError(
                f"{self.name} answered twice with something else than the form: {second}; "
                "choose a model that follows instructions, or one that runs here, where the form is enforced",
                field="mind.model",
            ) from second


def parse(answer: str) -> Proposal:
    """Read an answer that is exactly the form; a code fence around it is forgiven.

    Raises:
        NotTheForm: it is anything else; the message names the field and never quotes more than a few characters.
    """
    fenced = _FENCE.match(answer)
    try:
        found = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError) as wrong:
        raise NotTheForm(f"it is no JSON ({str(wrong)[:80]})") from wrong
    if not isinstance(found, dict):
        raise NotTheForm("it is no JSON object")
    _check(found)
    device = DeviceType(found["device"])
    others = (1 - CERTAINTY) / (len(DEVICES) - 1)
    return Proposal(
        device_probabilities={each: CERTAINTY if each is device else others for each in DEVICES},
        task_kind=TaskKind(found["task_kind"]),
        kind_probability=CERTAINTY,
        priority=int(found["priority"]),
        compute_units=float(found["compute_units"]),
        duration_s=_SECONDS[found["duration"]],
        reason="".join(ch if ch.isprintable() else " " for ch in found["reason"]).strip(),
    )


def _check(found: Mapping[str, object]) -> None:
    names = {*ANSWERS, "reason"}
    if wrong := sorted(names ^ found.keys()):
        raise NotTheForm(f"{wrong[0][:40]!r} is {'missing' if wrong[0] in names else 'no field of the form'}")
    for name, answers in ANSWERS.items():
        value = found[name]
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value not in answers:
            raise NotTheForm(f"{name} must be one of {', '.join(map(str, answers))}")
    reason = found["reason"]
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
        raise NotTheForm(f"reason must be a text of at most {LONGEST_REASON} characters")
