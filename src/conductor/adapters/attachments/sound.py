"""Decode the beginning of a sound file within bounds, and measure it.

| measure | meaning |
| --- | --- |
| rms_dbfs, peak_dbfs | level against full scale, over all channels; -120 for silence |
| clipped | share of samples within a thousandth of full scale or beyond it |
| silent | share of 50 ms windows below -50 dBFS |
| centroid_hz | mean frequency weighted by the magnitude of the spectrum (Scheirer and Slaney 1997), windows of 1,024 |

Nothing is said about speech or music: thresholds for that would need recordings to check them on.

Not covered: sound after the first two minutes, files in MPEG-4 and Matroska (libsndfile does not read them).
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile

from conductor.adapters.attachments.reading import CannotMeasure, Reading
from conductor.domain.attachment import Medium
from conductor.domain.json import JsonValue

MEASURED_S: Final = 120.0
#: Two minutes of stereo at 48 kHz; more channels or higher rates are measured for less time.
MOST_SAMPLES: Final = 12_000_000
_QUIETEST_DB: Final = -120.0
_SILENCE: Final = 10 ** (-50 / 20)
_FULL_SCALE: Final = 0.999
_WINDOW: Final = 1024
_MOST_WINDOWS: Final = 4000

Samples = npt.NDArray[np.float32]


def measured(path: Path) -> Reading:
    """Facts and measurements of a sound file.

    Raises:
        CannotMeasure: it is damaged, empty, or of a format without decoder.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels = int(file.samplerate), int(file.channels)
            if rate <= 0 or channels <= 0:
                raise CannotMeasure("its header names no rate or no channels")
            wanted = min(int(MEASURED_S * rate), MOST_SAMPLES // channels)
            samples: Samples = file.read(wanted, dtype="float32", always_2d=True)  # [time, channels]
            # Some headers promise more than there is: what was read to its end is believed over the promise.
            frames = len(samples) if len(samples) < wanted else max(int(file.frames), len(samples))
            encoding = f"{file.format} {file.subtype}"
    except (soundfile.LibsndfileError, RuntimeError) as damaged:
        raise CannotMeasure(f"it is damaged or not readable ({' '.join(str(damaged).split())[-160:]})") from damaged
    facts: dict[str, JsonValue] = {"channels": channels, "sample_rate_hz": rate, "encoding": encoding}
    if not len(samples):
        return Reading(media_type="", medium=Medium.AUDIO, facts=facts, notes=("it holds no sound",))
    notes: tuple[str, ...] = ()
    broken = ~np.isfinite(samples)
    if broken.any():
        samples = np.where(broken, np.float32(0), samples)
        notes = (f"{float(broken.mean()):.1%} of its samples are no numbers; they count as silence",)
    if frames > len(samples):
        notes = (*notes, f"its first {len(samples) / rate:.0f} s were measured")
    return Reading(
        media_type="",
        medium=Medium.AUDIO,
        looks_like="silent" if not samples.any() else "",
        sizes={"seconds": frames / rate},
        facts=facts | measures_of(samples, rate),
        notes=notes,
    )


def measures_of(samples: Samples, rate: int) -> dict[str, JsonValue]:
    """Measure sound.

    Args:
        samples: float32 [time, channels], finite, full scale at ±1, at least one instant.
        rate: instants per second.
    """
    wide = samples.astype(np.float64)
    mono = wide.mean(axis=1)
    return {
        "rms_dbfs": _decibels(float(np.sqrt((wide**2).mean()))),
        "peak_dbfs": _decibels(float(np.abs(wide).max())),
        "clipped": round(float((np.abs(wide) >= _FULL_SCALE).mean()), 6),
        "silent": round(_silent_share(mono, rate), 4),
        "centroid_hz": round(_centroid_hz(mono, rate), 1),
    }


def _decibels(amplitude: float) -> float:
    return round(max(20 * float(np.log10(max(amplitude, 1e-12))), _QUIETEST_DB), 2)


def _silent_share(mono: npt.NDArray[np.float64], rate: int) -> float:
    length = max(min(rate // 20, len(mono)), 1)
    windows = mono[: len(mono) // length * length].reshape(-1, length)
    return float((np.sqrt((windows**2).mean(axis=1)) < _SILENCE).mean())


def _centroid_hz(mono: npt.NDArray[np.float64], rate: int) -> float:
    """Windows are spread evenly over the sound when there are more than `_MOST_WINDOWS`."""
    padded = np.pad(mono, (0, max(_WINDOW - len(mono), 0)))
    windows = padded[: len(padded) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    windows = windows[:: max(len(windows) // _MOST_WINDOWS, 1)]
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), axis=1)).sum(axis=0)
    total = float(spectrum.sum())
    frequencies = np.fft.rfftfreq(_WINDOW, 1.0 / rate)
    return float(frequencies @ spectrum) / total if total > 1e-9 else 0.0
