"""Classical measures of a picture, and a guess at what sort of picture it is by simple rules on them.

| measure | meaning |
| --- | --- |
| brightness, contrast | mean and standard deviation of luma (Rec. 709 weights), 0–1 |
| sharpness | variance of the 4-neighbour Laplacian of luma in steps of 1/255 (Pech-Pacheco et al. 2000) |
| colourfulness | mean of the largest minus the smallest channel, 0–1 |
| flat | share of pixels exactly equal to their right and lower neighbours: sensors are noisy, drawing programs are not |
| paper, ink | share of light colourless, and of dark pixels |

The rules, in order: mostly paper with some ink → `document` (a scan, or a page of text on a screen); flat in more than
half → `graphic` (a drawing or a screenshot); hardly flat, or taken by a camera → `photo`; else nothing is said. Telling
drawings from screenshots by the directions of their edges was tried on 30 pictures and did not hold.

Not covered: photos of screens, rendered scenes (they pass for photos), line art (it passes for a document).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.domain.json import JsonValue

Pixels = npt.NDArray[np.uint8]
_LUMA: Final = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
_COLOURS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureMeasures:
    """See the module; `colours` are the commonest ones as `#rrggbb`, with the share of pixels near each."""

    brightness: float
    contrast: float
    sharpness: float
    colourfulness: float
    flat: float
    paper: float
    ink: float
    colours: tuple[tuple[str, float], ...]

    def facts(self) -> dict[str, JsonValue]:
        """For the record and for people."""
        return {
            "brightness": round(self.brightness, 3),
            "contrast": round(self.contrast, 3),
            "sharpness": round(self.sharpness, 1),
            "colourfulness": round(self.colourfulness, 3),
            "colours": [{"colour": colour, "share": round(share, 3)} for colour, share in self.colours],
        }


def measures_of(pixels: Pixels) -> PictureMeasures:
    """Measure a picture.

    Args:
        pixels: uint8 [rows, columns, 3], at least one pixel.
    """
    channels = pixels.astype(np.float32) / np.float32(255)
    luma: npt.NDArray[np.float32] = np.asarray(channels @ _LUMA, dtype=np.float32)  # [rows, columns]
    chroma = channels.max(axis=2) - channels.min(axis=2)
    return PictureMeasures(
        brightness=float(luma.mean()),
        contrast=float(luma.std()),
        sharpness=_sharpness(luma),
        colourfulness=float(chroma.mean()),
        flat=_flat(pixels),
        paper=float(((luma > 0.7) & (chroma < 0.15)).mean()),
        ink=float((luma < 0.45).mean()),
        colours=_colours(pixels),
    )


def looks_like(measures: PictureMeasures, *, has_camera: bool) -> str:
    """`document`, `graphic`, `photo`, or nothing when the rules do not tell."""
    is_page = measures.paper > 0.6 and 0.003 < measures.ink < 0.35 and measures.colourfulness < 0.1
    if is_page:
        return "document"
    if measures.flat > 0.5 and not has_camera:
        return "graphic"
    return "photo" if measures.flat < 0.35 or has_camera else ""


def _sharpness(luma: npt.NDArray[np.float32]) -> float:
    if min(luma.shape) < 3:
        return 0.0
    middle = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4.0 * middle
    return float((laplacian * 255.0).var())


def _flat(pixels: Pixels) -> float:
    if min(pixels.shape[:2]) < 2:
        return 1.0
    here = pixels[:-1, :-1]
    equal = (here == pixels[:-1, 1:]).all(axis=2) & (here == pixels[1:, :-1]).all(axis=2)
    return float(equal.mean())


def _colours(pixels: Pixels) -> tuple[tuple[str, float], ...]:
    """The fullest cells of a cube of 8 × 8 × 8, each told by the mean of its pixels."""
    flat = pixels.reshape(-1, 3)
    steps = (flat >> 5).astype(np.int32)
    cells = steps[:, 0] << 6 | steps[:, 1] << 3 | steps[:, 2]
    counts = np.bincount(cells, minlength=512)
    sums = [np.bincount(cells, weights=flat[:, channel], minlength=512) for channel in range(3)]
    found = []
    for cell in np.argsort(-counts, kind="stable")[:_COLOURS]:
        count = int(counts[cell])
        if count:
            red, green, blue = (round(float(total[cell]) / count) for total in sums)
            found.append((f"#{red:02x}{green:02x}{blue:02x}", count / len(flat)))
    return tuple(found)
