"""Hold other people's text: fence it for a model, find a quotation in it, and mark places in it.

A model that quotes is believed only where its quotation stands in the source, word for word. What may differ is what
copying changes: white space, typographic against plain quotation marks and dashes, and marks of omission at the ends.

Not covered: quotations that leave something out in the middle (they are not verbatim and are not found).
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

_ALIKE: Final = str.maketrans({
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'", "`": "'",
    "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-", "\u00a0": " ", "\u202f": " ",
})  # fmt: skip
_QUOTES_AROUND: Final = "\"' \t\n…"


class Span(NamedTuple):
    """Characters of a text, from the first to behind the last."""

    start: int
    end: int


def fenced(label: str, text: str) -> str:
    """The text between tags that it cannot close itself: the tag is lengthened until the text does not contain it."""
    tag = label
    while f"<{tag}>" in text or f"</{tag}>" in text:
        tag += "_"
    return f"<{tag}>\n{text}\n</{tag}>"


def without_fence(label: str, written: str) -> str:
    """What a model wrote, less the tags that it repeated around it."""
    repeated = re.fullmatch(rf"\s*<({re.escape(label)}_*)>\n?(.*?)\n?</\1>\s*", written, re.DOTALL)
    return repeated[2] if repeated else written.strip()


def find_quotation(quotation: str, source: str) -> Span | None:
    """Where the quotation stands in the source, or None; an empty one stands nowhere."""
    wanted = quotation.translate(_ALIKE).strip(_QUOTES_AROUND)
    wanted = re.sub(r"^\.{3}|\.{3}$", "", wanted).strip()
    words = wanted.split()
    if not words:
        return None
    pattern = r"\s+".join(re.escape(word) for word in words)
    # One character is replaced by one, so that places in the plain form are places in the source.
    found = re.search(pattern, source.translate(_ALIKE))
    return Span(*found.span()) if found else None


def marked(text: str, spans: Iterable[Span], mark: str) -> str:
    """The text with the mark behind each span; a span within another is not marked again."""
    ends: list[int] = []
    behind = 0
    for span in sorted(set(spans), key=lambda span: (span.start, -span.end)):
        if span.end > behind:
            behind = span.end
            ends.append(span.end)
    parts, at = [], 0
    for end in ends:
        # Behind the address of a Markdown link, not in it.
        end = end + 1 if _in_link(text, end) else end
        parts += [text[at:end], mark]
        at = end
    return "".join((*parts, text[at:]))


def _in_link(text: str, end: int) -> bool:
    opened = text.rfind("](", 0, end)
    return opened >= 0 and text[end : end + 1] == ")" and not re.search(r"[\s)]", text[opened + 2 : end])
