"""A file that a task carries: what it is, and what was measured about its content.

Identified by the SHA-256 of its bytes, so the same file is one file whoever sends it. Reading the bytes is an adapter's
work; what follows for the device is `decisions.attached`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject
from conductor.domain.plain_data import check_name, check_text
from conductor.domain.units import format_bytes, format_duration

MOST_ATTACHMENTS: Final = 16
#: In UTF-8; file systems take 255.
LONGEST_NAME_BYTES: Final = 200
#: Characters of what a model says about a picture.
LONGEST_DESCRIBED: Final = 200


class Medium(StrEnum):
    """What sort of content a file has, as far as that matters to devices."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One file of a task.

    Args:
        attachment_id: SHA-256 of its bytes, 64 lowercase hex digits.
        name: what it is called in the task's folder; never a path.
        media_type: by content, such as `image/jpeg`; `application/octet-stream` when it is nothing we know.
        size_bytes: its length.
        medium: what sort of content that is.
        looks_like: what the measurements suggest it shows or plays (`photo`, `document`, …); empty when unsure.
        sizes: positive measures that the work's duration may depend on: `pixels` (of one frame), `frames`, `seconds`.
        facts: what else was measured, as plain JSON; never a location.
        notes: what is odd about it, or could not be measured, in words.
        described: what a model that sees says it shows, one line; a quotation, never an order. Empty where none was asked.
    """

    attachment_id: str
    name: str
    media_type: str
    size_bytes: int
    medium: Medium
    looks_like: str = ""
    sizes: Mapping[str, float] = field(default_factory=dict)
    facts: JsonObject = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    described: str = ""

    @property
    def noun(self) -> str:
        """What to call it in a sentence: `photo`, `audio recording`, `image`, `file`."""
        if self.medium is Medium.AUDIO:
            return f"{self.looks_like or 'audio'} recording"
        return self.looks_like or ("file" if self.medium is Medium.OTHER else str(self.medium))

    @property
    def extent(self) -> str:
        """How large it is, in the measure of its medium: `4032×3024, 12 MP`, `3 min 20 s`, `12 kB`."""
        words = []
        if "width" in self.facts:
            words.append(f"{self.facts['width']}×{self.facts['height']}")
        if self.medium is Medium.IMAGE and "pixels" in self.sizes:
            words.append(f"{self.sizes['pixels'] / 1e6:.2g} MP")
        if "seconds" in self.sizes:
            words.append(format_duration(self.sizes["seconds"]))
        return ", ".join(words) or format_bytes(self.size_bytes)


def check_file_name(name: str) -> str:
    """See that a name can stand in a task's folder and nowhere else; returns it.

    Raises:
        InvalidInput: it is empty, too long, hidden, or a path.
    """
    check_name(name, field="name", longest=LONGEST_NAME_BYTES)
    check_text(name, field="name")
    if name.startswith(".") or any(sign in name for sign in "/\\") or len(name.encode()) > LONGEST_NAME_BYTES:
        raise InvalidInput(
            f"the name {name[:80]!r} of an attachment is a path, hidden or too long; send the name of the file alone",
            field="name",
        )
    return name
