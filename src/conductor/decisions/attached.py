"""What attached files say about a task: what the text is about when it does not say, how large the work is, and why.

“Clean this up” means one thing with a photo and another with a recording. So a text that names no medium of its own is
read with its object spelled out, “clean this up (the attached photo)”, by the same encoder as every text; and the device
type made for the medium gets a push of `PULL` in log-odds. Both leave clear texts alone: “rename this file” with a photo
stays CPU work, because the encoder says so of the longer text as well, and the push moves 0.9 to no less than 0.66.

What a model that sees says about a picture is foreign text, and the picture may have told it what to say. So it is read
beside the text, in a reading of its own, which moves no device by more than `NUDGE`: it settles what words leave open and
turns nothing that is three quarters certain. Priority, quantities and quotations come from the person's words alone, and
a description that gives orders to the scheduler is not read at all.

Covered: several files of one medium. Not covered: files of several media together.
"""

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.decisions.analyse import Analysis
from conductor.decisions.evidence import DEVICES
from conductor.decisions.features import features_of
from conductor.decisions.quantities import Quantity
from conductor.decisions.urgency import urgency_of
from conductor.domain.attachment import LONGEST_DESCRIBED, Attachment, Medium
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.json import JsonObject, JsonValue
from conductor.domain.task import Submission
from conductor.domain.units import format_bytes

_Shares = npt.NDArray[np.float64]

#: Odds of one to two become about two to one; other values are in ADR 0011.
PULL: Final = 1.5
#: In log-odds, of either sign: odds between two types change by a factor of e at most.
NUDGE: Final = 0.5
#: Nothing is impossible; also keeps logarithms finite.
_LEAST_SHARE: Final = 1e-9
#: In longer texts the object has been named in some way, and a few words more would say little.
_SHORT_CHARACTERS: Final = 200
_WORDS: Final = MappingProxyType({Medium.IMAGE: "photo", Medium.AUDIO: "audio recording", Medium.VIDEO: "video"})
#: The device type made for a medium, and the kinds of work that are done on it, the commonest first.
_MADE_FOR: Final = MappingProxyType(
    {
        Medium.IMAGE: (DeviceType.ISP, (TaskKind.IMAGE_PROCESSING,)),
        Medium.AUDIO: (DeviceType.DSP, (TaskKind.AUDIO_PROCESSING, TaskKind.SIGNAL_PROCESSING)),
        Medium.VIDEO: (DeviceType.VIDEO, (TaskKind.VIDEO_TRANSCODE, TaskKind.VIDEO_ANALYSIS)),
    }
)


def text_to_read(submission: Submission) -> str:
    """The description, with its object spelled out where only the attached files show it."""
    medium = _medium(submission.attachments)
    if medium is None or not _is_vague(submission.description):
        return submission.description
    return submission.description + _spelled_out(medium, len(submission.attachments))


def texts_to_read(submissions: Sequence[Submission]) -> list[str]:
    """Each one's `text_to_read` in order, and after these every `shown_text` there is."""
    return [*map(text_to_read, submissions), *filter(None, map(shown_text, submissions))]


def shown_text(submission: Submission) -> str:
    """The vague description with what a model saw on its pictures spelled out; empty where there is nothing to add."""
    attachments = submission.attachments
    said = [words for each in attachments if (words := _believed(each))]
    if not said or _medium(attachments) is not Medium.IMAGE or not _is_vague(submission.description):
        return ""
    words = _spelled_out(Medium.IMAGE, len(attachments)).removesuffix(")")
    return f"{submission.description}{words}: {'; '.join(said)[:LONGEST_DESCRIBED]})"


def own_words(text: str, attachments: Sequence[Attachment]) -> str:
    """The description that `text_to_read` made a text of: what of it a person wrote, and may be quoted back."""
    medium = _medium(attachments)
    return text if medium is None else text.removesuffix(_spelled_out(medium, len(attachments)))


def weighed(analysis: Analysis, attachments: Sequence[Attachment], shown: Analysis | None = None) -> Analysis:
    """The analysis of `text_to_read` with device probabilities moved by the medium of the attached files.

    `log p' = log p + PULL` for the type made for the medium, then normalised; only where the object was spelled out. When
    that type comes out first, the kind of work is one that is done on it. Then `nudged` by the reading of `shown_text`.
    """
    medium = _medium(attachments)
    if medium is None or not analysis.description.endswith(_spelled_out(medium, len(attachments))):
        return analysis
    device, kinds = _MADE_FOR[medium]
    shares = _pulled(analysis.device_probabilities, device)
    found = replace(analysis, device_probabilities=shares)
    if DEVICES[int(shares.argmax())] is device and analysis.task_kind not in kinds:
        found = replace(found, task_kind=kinds[0], kind_probability=float(shares.max()))
    if shown is None:
        return found
    return nudged(found, replace(shown, device_probabilities=_pulled(shown.device_probabilities, device)))


def nudged(analysis: Analysis, other: Analysis) -> Analysis:
    """The analysis moved towards another one, by `NUDGE` at most.

    `log p' = log p + clip(log q - log p, -NUDGE, NUDGE)`, then normalised. Where that makes another device the first, the
    kind of work is the other analysis'.
    """
    ours = np.log(np.maximum(analysis.device_probabilities, _LEAST_SHARE))
    theirs = np.log(np.maximum(other.device_probabilities, _LEAST_SHARE))
    shares = np.exp(ours + np.clip(theirs - ours, -NUDGE, NUDGE))
    found = replace(analysis, device_probabilities=np.asarray(shares / shares.sum(), dtype=np.float64))
    if shares.argmax() == ours.argmax():
        return found
    return replace(found, task_kind=other.task_kind, kind_probability=other.kind_probability)


def _pulled(shares: _Shares, device: DeviceType) -> _Shares:
    moved = shares * np.where([each is device for each in DEVICES], np.exp(PULL), 1.0)
    return np.asarray(moved / moved.sum(), dtype=np.float64)


def attached_quantities(attachments: Sequence[Attachment]) -> tuple[Quantity, ...]:
    """Sizes in the sense of `Features`: the largest of each, and how many there are, for the table of priors."""
    found = [Quantity("bytes", float(sum(each.size_bytes for each in attachments)), "attached")]
    for name in ("pixels", "seconds"):
        largest = max((each.sizes.get(name, 0.0) for each in attachments), default=0.0)
        if largest > 0:
            found.append(Quantity(name, largest, "attached"))
    items = sum(max(each.sizes.get("frames", 1.0), 1.0) for each in attachments)
    return (*found, Quantity("count", items, "attached")) if items > 1 else tuple(found)


def attached_sizes(attachments: Sequence[Attachment]) -> dict[str, float]:
    """Named totals for the estimator, such as `attached.pixels`; what is learned from runs depends on these."""
    sizes = {"attached.files": float(len(attachments)), "attached.size_bytes": 0.0}
    for each in attachments:
        sizes["attached.size_bytes"] += each.size_bytes
        for name, value in each.sizes.items():
            sizes[f"attached.{name}"] = sizes.get(f"attached.{name}", 0.0) + value
    return {name: size for name, size in sizes.items() if size > 0}


def attached_evidence(attachments: Sequence[Attachment]) -> JsonObject:
    """What reasoning and explanation may cite; empty without attachments."""
    if not attachments:
        return {}
    return {
        "attachments": [
            {
                "attachment_id": each.attachment_id,
                "name": each.name,
                "media_type": each.media_type,
                "noun": each.noun,
                "extent": each.extent,
                "described": _believed(each),
                "lines": [*_lines(each)],
            }
            for each in attachments
        ]
    }


def _medium(attachments: Sequence[Attachment]) -> Medium | None:
    """The one medium of the attached files; None for none, for several, and for files without one."""
    media = {each.medium for each in attachments}
    return next(iter(media)) if len(media) == 1 and Medium.OTHER not in media else None


def _spelled_out(medium: Medium, count: int) -> str:
    return f" (the attached {_WORDS[medium]}{'s' if count > 1 else ''})"


def _is_vague(description: str) -> bool:
    return len(description) <= _SHORT_CHARACTERS and not features_of(description).media


def _believed(attachment: Attachment) -> str:
    """What a model said about it, unless that gives orders to the scheduler."""
    return "" if urgency_of(attachment.described).commands else attachment.described


def _lines(attachment: Attachment) -> list[str]:
    facts = ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in attachment.facts.items())
    lines = [f"{format_bytes(attachment.size_bytes)}, sha256 {attachment.attachment_id}"]
    shown = [f"shows, as a model says: “{attachment.described}”"] if attachment.described else []
    if shown and not _believed(attachment):
        shown.append("these words give orders to the scheduler, and were left out of the decision")
    return [*lines, *([facts] if facts else []), *shown, *(f"note: {note}" for note in attachment.notes)]


def _shown(value: JsonValue) -> str:
    """Plain values as they are, colours with their shares."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = [item for item in value if isinstance(item, dict)]
        return " ".join(f"{item.get('colour')} {item.get('share')}" for item in parts)
    return str(value)
