"""Measure prose, and join its parts.

Words are runs of letters and digits with what joins them (apostrophes, hyphens); in scripts without spaces between words
each character counts as one. Not covered: hyphenation at line ends.
"""

import re
from typing import Final

_UNSPACED: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f"
_WORD: Final = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[\w])+(?:['’\-](?:(?![{_UNSPACED}])\w)+)*")
_LONGEST_OVERLAP: Final = 600
_SHORTEST_OVERLAP: Final = 12
_LONGEST_WORD: Final = 40


def word_count(text: str) -> int:
    """How many words a text has."""
    return sum(1 for _ in _WORD.finditer(text))


def lines_with_text(text: str) -> list[str]:
    """Lines that are not empty."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def whole_words(text: str) -> int:
    """How many characters there are up to the last finished word; a run without any space counts as finished."""
    last = re.search(r"\S*\Z", text)
    begun = len(last[0]) if last else 0
    return len(text) if begun > _LONGEST_WORD else len(text[: len(text) - begun].rstrip())


def overlap(before: str, after: str) -> int:
    """How many characters at the beginning of `after` repeat the end of `before`; short chances do not count."""
    start = len(after) - len(after.lstrip())
    ending, beginning = before.rstrip(), after[start:]
    for size in range(min(len(ending), len(beginning), _LONGEST_OVERLAP), _SHORTEST_OVERLAP - 1, -1):
        if ending.endswith(beginning[:size]):
            return start + size
    return 0


def seam(before: str, after: str) -> str:
    """What has to stand between two parts: nothing, a space, or a new paragraph after a finished sentence."""
    if not before or not after or before[-1].isspace() or after[0].isspace() or after[0] in ",.;:!?)”’":
        return ""
    return "\n\n" if before[-1] in ".!?”\"'…" else " "
