"""Measure a file's content with decoders; runs in the confined worker, and in the caller's own process for his own files.

Pillow decodes pictures and libsndfile decodes sound, both from the extra `media`. Without them, or when a file defeats
them, what the headers say stays, with a note.
"""

from dataclasses import replace
from pathlib import Path

from conductor.adapters.attachments.reading import CannotMeasure, Reading, read_headers
from conductor.domain.attachment import Medium


def measure(path: Path) -> Reading:
    """Headers and measurements of a file; whatever the file holds is told, never raised.

    Raises:
        OSError: the file cannot be opened.
    """
    reading = read_headers(path)
    try:
        if reading.medium is Medium.IMAGE:
            from conductor.adapters.attachments import picture

            return _joined(reading, picture.measured(path, reading.media_type))
        if reading.medium is Medium.AUDIO:
            from conductor.adapters.attachments import sound

            return _joined(reading, sound.measured(path))
    except ModuleNotFoundError as missing:
        return reading.with_note(f"its content was not measured: {missing.name} is missing; install conductor[media]")
    except CannotMeasure as why:
        return reading.with_note(f"its content was not measured: {why}")
    except Exception as error:  # decoders fail on hostile files with any exception there is; the file stays a file
        what = " ".join(str(error).split())[:200]
        return reading.with_note(f"its content was not measured: {type(error).__name__}: {what}")
    return reading


def _joined(headers: Reading, measured: Reading) -> Reading:
    """Measurements win over headers."""
    return replace(
        measured,
        media_type=headers.media_type,
        sizes={**headers.sizes, **measured.sizes},
        facts={**headers.facts, **measured.facts},
        notes=(*headers.notes, *measured.notes),
    )
