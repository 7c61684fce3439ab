"""What a file is, from its first bytes and headers alone, without any decoder: the part that always works.

The server does this itself, on bytes of strangers, so it is bounded and never raises for them. Measuring the content
with decoders is `measuring`, in a process of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from conductor.adapters.attachments.headers import movie_format, picture_size, wav_format
from conductor.adapters.attachments.media_type import HEAD_BYTES, media_type_of, medium_of, same_type
from conductor.domain.attachment import Attachment, Medium
from conductor.domain.json import JsonObject

#: What clients send when nobody told them a type.
_SAYS_NOTHING: Final = frozenset({"application/octet-stream", "application/x-www-form-urlencoded"})


class CannotMeasure(Exception):
    """A decoder is missing or refuses; the message completes "its content was not measured: …"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was found out about a file's content; the fields are those of `Attachment`."""

    media_type: str
    medium: Medium
    looks_like: str = ""
    sizes: Mapping[str, float] = field(default_factory=dict)
    facts: JsonObject = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    described: str = ""

    def with_note(self, note: str) -> "Reading":
        """The same with one more note."""
        return replace(self, notes=(*self.notes, note))

    def attachment(self, *, attachment_id: str, name: str, size_bytes: int, claimed: str | None) -> Attachment:
        """The attachment with this content; `claimed` is the media type that its sender named."""
        notes = self.notes
        if claimed and claimed not in _SAYS_NOTHING and not same_type(claimed, self.media_type):
            notes = (*notes, f"it was sent as {claimed[:100]}, but its content is {self.media_type}")
        return Attachment(
            attachment_id=attachment_id,
            name=name,
            media_type=self.media_type,
            size_bytes=size_bytes,
            medium=self.medium,
            looks_like=self.looks_like,
            sizes=self.sizes,
            facts=self.facts,
            notes=notes,
            described=self.described,
        )


def read_headers(path: Path) -> Reading:
    """Media type, and what the headers of common formats say about dimensions and length.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        media_type = media_type_of(file.read(HEAD_BYTES))
        size_bytes = file.seek(0, 2)
        file.seek(0)
        if size := picture_size(media_type, file):
            return _picture(media_type, *size)
        if media_type == "audio/wav" and (wav := wav_format(file, size_bytes)):
            facts = {"channels": wav.channels, "sample_rate_hz": wav.sample_rate_hz}
            return Reading(
                media_type=media_type, medium=Medium.AUDIO, sizes=_positive(seconds=wav.seconds), facts=facts
            )
        if medium_of(media_type) is Medium.VIDEO and (movie := movie_format(file, size_bytes)):
            return Reading(
                media_type=media_type,
                medium=Medium.VIDEO,
                sizes=_positive(pixels=float(movie.width * movie.height), seconds=movie.seconds),
                facts={"width": movie.width, "height": movie.height} if movie.width else {},
            )
    return Reading(media_type=media_type, medium=medium_of(media_type))


def _picture(media_type: str, width: int, height: int) -> Reading:
    return Reading(
        media_type=media_type,
        medium=Medium.IMAGE,
        sizes={"pixels": float(width * height)},
        facts={"width": width, "height": height},
    )


def _positive(**sizes: float) -> dict[str, float]:
    return {name: value for name, value in sizes.items() if value > 0}
