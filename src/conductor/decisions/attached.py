"""What attached files say about a task: what the text is about when it does not say, how large the work is, and why.

“Clean this up” means one thing with a photo and another with a recording. So a text that names no medium of its own is
read with its object spelled out, “clean this up (the attached photo)”, by the same encoder as every text; and the device
type made for the medium gets a push of `PULL` in log-odds. Both leave clear texts alone: “rename this file” with a photo
stays CPU work, because the encoder says so of the longer text as well, and the push moves 0.9 to no less than 0.66.

Covered: several files of one medium. Not covered: files of several media together, and what the picture shows (the words
of a multimodal model about it): they say nothing about the device here.
"""

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import numpy as np

from conductor.decisions.analyse import Analysis
from conductor.decisions.evidence import DEVICES
from conductor.decisions.features import features_of
from conductor.decisions.quantities import Quantity
from conductor.domain.attachment import Attachment, Medium
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.json import JsonObject, JsonValue
from conductor.domain.task import Submission
from conductor.domain.units import format_bytes

#: Odds of one to two become about two to one; other values are in ADR 0011.
PULL: Final = 1.5
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


def own_words(text: str, attachments: Sequence[Attachment]) -> str:
    """The description that `text_to_read` made a text of: what of it a person wrote, and may be quoted back."""
    medium = _medium(attachments)
    return text if medium is None else text.removesuffix(_spelled_out(medium, len(attachments)))


def weighed(analysis: Analysis, attachments: Sequence[Attachment]) -> Analysis:
    """The analysis of `text_to_read` with device probabilities moved by the medium of the attached files.

    `log p' = log p + PULL` for the type made for the medium, then normalised; only where the object was spelled out. When
    that type comes out first, the kind of work is one that is done on it.
    """
    medium = _medium(attachments)
    if medium is None or not analysis.description.endswith(_spelled_out(medium, len(attachments))):
        return analysis
    device, kinds = _MADE_FOR[medium]
    shares = analysis.device_probabilities * np.where([each is device for each in DEVICES], np.exp(PULL), 1.0)
    shares = np.asarray(shares / shares.sum(), dtype=np.float64)
    found = replace(analysis, device_probabilities=shares)
    if DEVICES[int(shares.argmax())] is not device or analysis.task_kind in kinds:
        return found
    return replace(found, task_kind=kinds[0], kind_probability=float(shares.max()))


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


def _lines(attachment: Attachment) -> list[str]:
    facts = ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in attachment.facts.items())
    lines = [f"{format_bytes(attachment.size_bytes)}, sha256 {attachment.attachment_id}"]
    return [*lines, *([facts] if facts else []), *(f"note: {note}" for note in attachment.notes)]


def _shown(value: JsonValue) -> str:
    """Plain values as they are, colours with their shares."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = [item for item in value if isinstance(item, dict)]
        return " ".join(f"{item.get('colour')} {item.get('share')}" for item in parts)
    return str(value)
