"""Check what a language model says about a description before anyone reads it.

Cue words must stand in the description and mean something there: punctuation, single letters, bare numbers and words of
any text ("the", "und", "pour") point at nothing. A sentence of the model's own may state no number that the description
does not state, and name no device type but the one that was decided; otherwise it is dropped whole, for a reader cannot
tell the true half of a sentence from the other.

Covered: any text a model may produce. Not covered: whether a sentence without numbers is true.
"""

import re
from typing import Final

from conductor.decisions.ports import Proposal
from conductor.domain.device import DeviceType
from conductor.domain.json import JsonObject

_MOST_CHARACTERS: Final = 240
_WORDS_OF_ANY_TEXT: Final = (
    "a about above after again all also am an and any are as at be been before being below between both but by can "
    "could did do does done during each few for from further get had has have he her here hers him his how i if in "
    "into is it its itself just let lets like make may me more most must my need needs no nor not now of off on once "
    "only or other our ours out over own per please pls same shall she should so some such than that the their them "
    "then there these they this those through to too under until up us use used using very via want was we were what "
    "when where which while who whom why will with within without would yes you your yours i'd i'll i'm it's let's "
    "aber alle als am an auf aus bei bitte das dass dem den der des die dies diese diesen dieser ein eine einem einen "
    "einer für hat ich ihr im in ist kann man mein meine mit nach nicht noch oder sich sie sind und uns unser unsere "
    "vom von vor was wie wir wird zu zum zur über "
    "al como con cual de del el ella en es esa ese esta este esto favor la las lo los me mi mis muy no para pero por "
    "que qué se sin sobre son su sus también un una uno y ya "
    "au aux avec ce ces cette dans des du elle est et il ils je l la le les leur ma mes moi mon ne nos notre nous on "
    "ou par pas plus pour que qui sa sans se ses son sont sur une vos votre vous à "
    "che col da dei del della delle di gli il nel nella per un una e o as com dos em na nas no nos os um uma"
)
_SAY_NOTHING: Final = frozenset(_WORDS_OF_ANY_TEXT.split())
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
    """The cue words that really stand in the description and say something about it, in the model's order, each once."""
    found = (_bare(cue) for cue in proposal.cues if cue in text)
    return tuple(dict.fromkeys(cue for cue in found if _says_something(cue)))


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


def _bare(cue: str) -> str:
    """A cue without the punctuation around it; `.wav` and `C++` keep what belongs to them."""
    word = cue.strip()
    while word and not word[-1].isalnum() and word[-1] not in "+#":
        word = word[:-1]
    while word and not word[0].isalnum() and not (word[0] == "." and word[1:2].isalnum()):
        word = word[1:]
    return word


def _says_something(cue: str) -> bool:
    return (len(cue) > 1 or cue > "\u2e80") and any(map(str.isalpha, cue)) and cue.casefold() not in _SAY_NOTHING
