"""Read the few header fields that need no library: dimensions of PNG, JPEG and GIF, the format of a WAV, MP4 boxes.

Everything here is bounded by the bytes handed in or by a count of steps, and answers None for what is malformed.
Sources: PNG (ISO/IEC 15948) 11.2.2, JPEG (ITU-T T.81) B.2.2, GIF89a 18, RIFF/WAVE, ISO/IEC 14496-12 (mvhd, tkhd).

Not covered: frames of a GIF, compressed WAV, Matroska and AVI durations.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

#: Markers of a JPEG frame header; C4, C8 and CC among them are something else.
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MOST_STEPS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class WavFormat:
    """What the header of a WAV file says."""

    channels: int
    sample_rate_hz: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieFormat:
    """What the boxes of an MP4 file say; width and height are 0 when no track has any."""

    seconds: float
    width: int
    height: int


def picture_size(media_type: str, file: BinaryIO) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG or GIF; None when the header does not say."""
    try:
        if media_type == "image/png":
            head = file.read(24)
            size = struct.unpack(">II", head[16:24]) if head[12:16] == b"IHDR" else (0, 0)
        elif media_type == "image/gif":
            size = struct.unpack("<HH", file.read(10)[6:10])
        elif media_type == "image/jpeg":
            size = _jpeg_size(file)
        else:
            return None
    except struct.error:
        return None
    return (size[0], size[1]) if size[0] > 0 and size[1] > 0 else None


def wav_format(file: BinaryIO, size_bytes: int) -> WavFormat | None:
    """Channels, rate and length of a WAV with plain samples; never longer than its bytes can hold."""
    file.seek(12)
    channels = rate = bytes_per_s = 0
    for _ in range(_MOST_STEPS):
        head = file.read(8)
        if len(head) < 8:
            return None
        name, length = head[:4], int.from_bytes(head[4:], "little")
        if name == b"fmt " and length >= 16:
            body = file.read(16)
            if len(body) < 16:
                return None
            _, channels, rate, bytes_per_s = struct.unpack("<HHII", body[:12])
            file.seek(length - 16 + length % 2, 1)
        elif name == b"data":
            held = min(length, max(size_bytes - file.tell(), 0))
            known = channels > 0 and rate > 0 and bytes_per_s > 0
            return WavFormat(channels=channels, sample_rate_hz=rate, seconds=held / bytes_per_s) if known else None
        else:
            file.seek(length + length % 2, 1)
    return None


def movie_format(file: BinaryIO, size_bytes: int) -> MovieFormat | None:
    """Duration and largest frame of an MP4 or MOV from its `moov` box; None when it has none."""
    seconds, width, height = 0.0, 0, 0
    pending = [(0, size_bytes)]
    for _ in range(_MOST_STEPS):
        if not pending:
            break
        start, end = pending.pop()
        box = _box(file, start, end)
        if box is None:
            continue
        name, body, stop = box
        pending.append((stop, end))
        if name in (b"moov", b"trak"):
            pending.append((body, stop))
        elif name == b"mvhd":
            seconds = _movie_seconds(file, body)
        elif name == b"tkhd":
            wide, high = _track_size(file, body)
            width, height = max((width, height), (wide, high), key=lambda size: size[0] * size[1])
    return MovieFormat(seconds=seconds, width=width, height=height) if seconds > 0 or width > 0 else None


def _jpeg_size(file: BinaryIO) -> tuple[int, int]:
    file.seek(2)
    for _ in range(_MOST_STEPS):
        marker = file.read(2)
        if len(marker) < 2 or marker[0] != 0xFF:
            break
        if marker[1] == 0xFF:  # filling before a marker
            file.seek(-1, 1)
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if marker[1] in _FRAME_HEADERS:
            _, height, width = struct.unpack(">BHH", file.read(5))
            return width, height
        if length < 2:
            break
        file.seek(length - 2, 1)
    return 0, 0


def _box(file: BinaryIO, start: int, end: int) -> tuple[bytes, int, int] | None:
    """Name, start of the body and end of the box at `start`; None where there is none."""
    if start + 8 > end:
        return None
    file.seek(start)
    head = file.read(16)
    if len(head) < 8:
        return None
    length, body = int.from_bytes(head[:4], "big"), start + 8
    if length == 1 and len(head) == 16:
        length, body = int.from_bytes(head[8:], "big"), start + 16
    stop = end if length == 0 else start + length
    return (head[4:8], body, stop) if body <= stop <= end else None


def _movie_seconds(file: BinaryIO, body: int) -> float:
    file.seek(body)
    data = file.read(32)
    long = data[:1] == b"\x01"
    fields = data[20:32] if long else data[12:20]
    if len(fields) < (12 if long else 8):
        return 0.0
    scale, length = struct.unpack(">IQ" if long else ">II", fields)
    return length / scale if scale else 0.0


def _track_size(file: BinaryIO, body: int) -> tuple[int, int]:
    file.seek(body)
    data = file.read(96)
    at = 88 if data[:1] == b"\x01" else 76
    fields = data[at : at + 8]
    if len(fields) < 8:
        return 0, 0
    wide, high = struct.unpack(">II", fields)  # 16.16 fixed point
    return wide >> 16, high >> 16
