"""Tell a file's media type from its first bytes, never from its name.

Signatures are those of the formats' own specifications, as collected in the WHATWG MIME Sniffing standard. SVG and other
markup count as text: nothing in it is followed or fetched.

Not covered: office documents (they are archives here), raw camera formats built on TIFF, and polyglot files, which are
what their first bytes say.
"""

from types import MappingProxyType
from typing import Final

from conductor.domain.attachment import Medium

#: So many bytes are enough to tell.
HEAD_BYTES: Final = 4096
UNKNOWN: Final = "application/octet-stream"

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\x1a\x45\xdf\xa3", "video/x-matroska"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
)
#: The form inside a container whose first four bytes are shared by several types.
_RIFF: Final = MappingProxyType({b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"})
_BRANDS: Final = MappingProxyType(
    {b"avif": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heic",
     b"M4A ": "audio/mp4", b"qt  ": "video/quicktime"}
)  # fmt: skip
#: What people write for the same thing.
_ALIASES: Final = MappingProxyType(
    {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav", "audio/vnd.wave": "audio/wav",
     "audio/x-flac": "audio/flac", "audio/mp3": "audio/mpeg", "audio/x-aiff": "audio/aiff", "video/webm":
     "video/x-matroska", "application/ogg": "audio/ogg", "image/svg+xml": "text/plain"}
)  # fmt: skip


def media_type_of(head: bytes) -> str:
    """The media type of a file that begins with these bytes; `application/octet-stream` if it is none we know.

    Args:
        head: the first `HEAD_BYTES` bytes, fewer if the file has fewer.
    """
    for signature, media_type in _SIGNATURES:
        if head.startswith(signature):
            return media_type
    form = head[8:12]
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF.get(form, UNKNOWN)
    if head[:4] == b"FORM" and form in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(form, "video/mp4")
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "image/bmp"
    if _is_mpeg_audio(head):
        return "audio/mpeg"
    return "text/plain" if _is_text(head) else UNKNOWN


def medium_of(media_type: str) -> Medium:
    """The sort of content that a media type stands for."""
    family = media_type.partition("/")[0]
    return Medium(family) if family in ("image", "audio", "video") else Medium.OTHER


def same_type(one: str, other: str) -> bool:
    """Whether two names mean the same media type; parameters and habits of spelling do not count."""
    return _plain(one) == _plain(other)


def _plain(media_type: str) -> str:
    word = media_type.partition(";")[0].strip().lower()
    return _ALIASES.get(word, word)


def _is_mpeg_audio(head: bytes) -> bool:
    """A frame header of MPEG audio: eleven set bits, then no reserved version, layer, bit rate or sampling rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer, rate, sampling = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer != 0 and rate not in (0, 15) and sampling != 3


def _is_text(head: bytes) -> bool:
    if not head or any(byte < 32 and byte not in b"\t\n\r\f" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"  # cut inside a character
    return True
