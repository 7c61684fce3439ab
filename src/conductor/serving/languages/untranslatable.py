"""Find what a translation must carry over unchanged, and tell what it lost.

Placeholders, addresses, tags and code must come back character by character; numbers by their digits, because languages
write 1,234.5 as 1.234,5 or ١٬٢٣٤٫٥. Fenced code blocks are not shown to the model at all (`code_apart`).

Not covered: numbers that a translation writes as words are told as missing; units are not converted, so not checked.
"""

import re
import unicodedata
from collections import Counter
from typing import Final, NamedTuple

_KEPT: Final = re.compile(
    r"""
      `[^`\n]+`                                                   # code in the line
    | (?:https?|ftp)://[^\s<>"'`]+                                # addresses
    | (?<![\w.+-])[\w.+-]{1,64}+@[\w-]{1,63}+(?:\.[\w-]{1,63}+)+                      # mail
    | \{\{[^{}\n]{1,80}\}\} | \$\{[^{}\n]{1,80}\} | \{[\w.!:\[\]-]{0,80}\}   # {{x}} ${x} {x} {0:.2f}
    | %\([\w.]{1,80}\)[#0 +-]*\d*(?:\.\d+)?[diouxXeEfFgGcrsa]     # %(x)s
    | %(?:\d+\$)?[#0+-]*\d*(?:\.\d+)?[diouxXeEfFgGcrsa@](?![\w%]) # %s %1$d; `100 % der` is none
    | </?[A-Za-z][\w:-]{0,40}(?:\s[^<>\n]{0,200})?/?>             # tags
    """,
    re.VERBOSE,
)
_NUMBER: Final = re.compile(r"\d(?:[\d.,٬٫'’\u00a0\u202f]*\d)?")
_CODE_BLOCK: Final = re.compile(r"^(`{3,}+|~{3,}+)[^\n]*+\n.*?^\1[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_TRAILING: Final = ".,;:!?)»”"


class Stretch(NamedTuple):
    """A stretch of a text that is translated, or kept as it is."""

    text: str
    kept: bool


def code_apart(text: str) -> list[Stretch]:
    """Code blocks apart from what is translated, white space at the edges of that likewise; together they are the text."""
    found, at = [], 0
    for block in _CODE_BLOCK.finditer(text):
        found += [*_edges_apart(text[at : block.start()]), Stretch(block[0], kept=True)]
        at = block.end()
    return [stretch for stretch in (*found, *_edges_apart(text[at:])) if stretch.text]


def _edges_apart(text: str) -> list[Stretch]:
    core = text.strip()
    if not any(sign.isalpha() for sign in core):
        return [Stretch(text, kept=True)]
    start = text.index(core)
    return [
        Stretch(text[:start], kept=True),
        Stretch(core, kept=False),
        Stretch(text[start + len(core) :], kept=True),
    ]


def kept_parts(text: str) -> Counter[str]:
    """Placeholders, addresses, tags and code in the line, and how often each occurs."""
    return Counter(_plain(found[0]) for found in _KEPT.finditer(text))


def numbers(text: str) -> Counter[str]:
    """The numbers outside of `kept_parts` as ASCII digits without separators, and how often each occurs."""
    rest = _KEPT.sub(" ", text)
    return Counter(_digits(found[0]) for found in _NUMBER.finditer(rest))


def missing(source: str, translation: str) -> list[str]:
    """What of the source the translation lacks; a number that became part of another one is missing too."""
    lost = kept_parts(source) - kept_parts(translation)
    lost_numbers = numbers(source) - numbers(translation)
    return [*lost.elements(), *lost_numbers.elements()]


def _plain(part: str) -> str:
    return part.rstrip(_TRAILING) if "://" in part else part


def _digits(number: str) -> str:
    return "".join(str(unicodedata.digit(sign)) for sign in number if sign.isdigit())
