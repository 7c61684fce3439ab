"""Tell what a reasoning model thought aloud from what it answers.

Covered: `<think>`, `<thinking>` and `<reasoning>` at the beginning, also where the opening tag was part of the prompt and
only the closing one is written, and where the thinking was cut off.
"""

import re
from typing import Final

_TAG: Final = r"(?:think|thinking|reasoning)"
_OPENING: Final = re.compile(rf"\s*<{_TAG}>", re.IGNORECASE)
_CLOSING: Final = re.compile(rf"</{_TAG}>", re.IGNORECASE)


def thoughts_apart(written: str) -> tuple[str, str]:
    """Thoughts and answer, both stripped; thoughts that never ended leave an empty answer."""
    closing = _CLOSING.search(written)
    opening = _OPENING.match(written)
    start = opening.end() if opening else 0
    if closing:
        return written[start : closing.start()].strip(), written[closing.end() :].strip()
    if opening:
        return written[start:].strip(), ""
    return "", written.strip()


def without_thoughts(written: str, source: str) -> str:
    """What was answered about a source; where that speaks of such tags itself, only thoughts that begin the answer go."""
    if _CLOSING.search(source) and not _OPENING.match(written):
        return written.strip()
    return thoughts_apart(written)[1]
