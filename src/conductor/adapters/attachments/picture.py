"""Decode a picture within bounds, read what the camera noted (never where), and measure it.

Bounded by pixels after the decoder's own reduction (JPEG can be decoded at an eighth of its size), by one format per
media type, and by one frame. Larger pictures are described, not decoded.

Not covered: colour profiles (values are taken as sRGB), HEIC, depth maps, and every frame but the first.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from PIL import Image

from conductor.adapters.attachments.picture_measures import Pixels, looks_like, measures_of
from conductor.adapters.attachments.reading import CannotMeasure, Reading
from conductor.domain.attachment import Medium
from conductor.domain.json import JsonValue

MOST_DECODED_PIXELS: Final = 50_000_000
#: Pictures are measured at this many pixels on the longer side, so that figures compare between sizes.
MEASURED_SIDE: Final = 1024
_FORMATS: Final = MappingProxyType(
    {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/tiff": "TIFF", "image/webp": "WEBP",
     "image/bmp": "BMP", "image/avif": "AVIF"}
)  # fmt: skip
#: Tags of EXIF 2.32 that say how a picture was taken. GPSInfo (34853) is left alone on purpose.
_CAMERA_TAGS: Final = MappingProxyType({271: "camera_make", 272: "camera_model"})
_CAPTURE_TAGS: Final = MappingProxyType(
    {36867: "taken_at", 33434: "exposure_s", 33437: "f_number", 34855: "iso", 37386: "focal_length_mm"}
)
_ORIENTATION, _EXIF_IFD = 274, 34665
#: How a picture that the camera held otherwise is turned; mirrored ones are left.
_UPRIGHT: Final[Mapping[object, Image.Transpose]] = MappingProxyType(
    {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
)


def measured(path: Path, media_type: str) -> Reading:
    """Facts and measurements of a picture.

    Raises:
        CannotMeasure: it is too large, damaged, or of a format without decoder.
    """
    with _opened(path, media_type) as image:
        return _measured(image)


def small_copy(path: Path, media_type: str) -> bytes:
    """The first frame as a JPEG of at most `MEASURED_SIDE` pixels on its longer side, without metadata.

    Raises:
        CannotMeasure: as `measured`.
        OSError, SyntaxError, ValueError: it is damaged.
    """
    with _opened(path, media_type) as image:
        turn = _UPRIGHT.get(_orientation(image))
        image.draft("RGB", (MEASURED_SIDE, MEASURED_SIDE))
        if image.size[0] * image.size[1] > MOST_DECODED_PIXELS:
            raise CannotMeasure("it is too large")
        copy = Image.fromarray(_decoded(image))
    if turn is not None:
        copy = copy.transpose(turn)
    written = io.BytesIO()
    copy.save(written, "JPEG", quality=85)
    return written.getvalue()


@contextlib.contextmanager
def _opened(path: Path, media_type: str) -> Iterator[Image.Image]:
    if media_type not in _FORMATS:
        raise CannotMeasure(f"{media_type} has no decoder here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about large pictures; the bounds here decide
        try:
            with Image.open(path, formats=[_FORMATS[media_type]]) as image:
                yield image
        except Image.DecompressionBombError as bomb:
            raise CannotMeasure(f"it would be too large ({bomb})") from bomb


def _measured(image: Image.Image) -> Reading:
    width, height = image.size
    frames = int(getattr(image, "n_frames", 1))
    camera = _camera(image)
    found = Reading(
        media_type="",
        medium=Medium.IMAGE,
        sizes={"pixels": float(width * height), "frames": float(frames)},
        facts={"width": width, "height": height, "mode": image.mode, "frames": frames, **camera},
    )
    image.draft("RGB", (MEASURED_SIDE, MEASURED_SIDE))
    if image.size[0] * image.size[1] > MOST_DECODED_PIXELS:
        return found.with_note(
            f"its content was not measured: {width}×{height} is more than {MOST_DECODED_PIXELS / 1e6:.0f} MP decoded"
        )
    try:
        pixels = _decoded(image)
    except (OSError, SyntaxError, ValueError) as damaged:
        return found.with_note(f"its content was not measured, it is damaged or ends early: {damaged}")
    measures = measures_of(pixels)
    kind = looks_like(measures, has_camera="exposure_s" in camera or "camera_make" in camera)
    return Reading(
        media_type="",
        medium=Medium.IMAGE,
        looks_like=kind,
        sizes=found.sizes,
        facts={**found.facts, **measures.facts()},
    )


def _decoded(image: Image.Image) -> Pixels:
    """The first frame, transparent parts on white, at most `MEASURED_SIDE` on its longer side: uint8 [rows, columns, 3]."""
    if image.mode in ("I", "I;16", "I;16B", "F"):  # more than 8 bits of grey: stretched to what there is
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        low, high = float(values.min()), float(values.max())
        image = Image.fromarray(((values - low) * (255.0 / max(high - low, 1e-9))).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    image = image.convert("RGB")
    image.thumbnail((MEASURED_SIDE, MEASURED_SIDE), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.uint8)


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # as in `_camera`
        return None


def _camera(image: Image.Image) -> dict[str, JsonValue]:
    try:
        exif = image.getexif()
        capture = exif.get_ifd(_EXIF_IFD)
    except Exception:  # EXIF blocks are broken in every way, and nothing depends on them
        return {}
    named = {
        **{name: exif.get(tag) for tag, name in _CAMERA_TAGS.items()},
        **{name: capture.get(tag) for tag, name in _CAPTURE_TAGS.items()},
    }
    found = _plain(named)
    orientation = exif.get(_ORIENTATION)
    return found | {"orientation": orientation} if orientation in range(1, 9) else found


def _plain(named: Mapping[str, object]) -> dict[str, JsonValue]:
    """Texts without control characters, and finite numbers; everything else is left out."""
    found: dict[str, JsonValue] = {}
    for name, value in named.items():
        if isinstance(value, str):
            text = "".join(ch for ch in value if ch.isprintable()).strip()[:100]
            if text:
                found[name] = text
        elif value is not None:
            number = _number(value)
            if math.isfinite(number) and number > 0:
                found[name] = round(number, 6)
    return found


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # rationals and integers; what is neither raises
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return math.nan
