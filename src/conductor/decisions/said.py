"""Check what a language model says about a description before anyone reads it.

Cue words must stand in the description. A sentence of the model's own may state no number that the description does not
state, and name no device type but the one that was decided; otherwise it is dropped whole, for a reader cannot tell the
true half of a sentence from the other.

Covered: any text a model may produce. Not covered: whether a sentence without numbers is true.
"""

import re
from typing import Final

from conductor.decisions.ports import Proposal
from conductor.domain.device import DeviceType
from conductor.domain.json import JsonObject

_MOST_CHARACTERS: Final = 240
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_DEVICE: Final = re.compile(r"(?<!\w)(?:" + "|".join(DeviceType) + r")s?(?!\w)")


def as_facts(proposal: Proposal | None, text: str, device: DeviceType) -> JsonObject | None:
    """What may be repeated of a proposal, as plain JSON; None when no language model took part."""
    if proposal is None:
        return None
    favourite = max(proposal.device_probabilities, key=lambda name: proposal.device_probabilities[name])
    return {
        "device": favourite,
        "probability": round(float(proposal.device_probabilities[favourite]), 4),
        "cues": list(checked_cues(proposal, text)),
        "reason": checked_reason(proposal.reason, text, device),
    }


def checked_cues(proposal: Proposal, text: str) -> tuple[str, ...]:
    """The cue words that really stand in the description, in the model's order."""
    return tuple(cue for cue in proposal.cues if cue.strip() and cue in text)


def checked_reason(reason: str, text: str, device: DeviceType) -> str:
    """The model's sentence if it may be repeated; empty otherwise."""
    sentence = " ".join(reason.split())
    if not sentence or len(sentence) > _MOST_CHARACTERS or not sentence.isprintable():
        return ""
    stated = set(_NUMBER.findall(text))
    if any(number not in stated for number in _NUMBER.findall(sentence)):
        return ""
    named = {match.rstrip("s") for match in _DEVICE.findall(sentence)}
    return sentence if named <= {str(device)} else ""
