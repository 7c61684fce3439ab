"""Judge identifiers of works by the rules of their makers: DOI, arXiv id, ISBN.

A good form proves nothing about the work; it only says that the identifier may be one.

Not covered: whether a DOI's prefix was ever given out, or an arXiv number reached in its month.

Source: DOI Handbook 2.2; Crossref, "DOIs and matching regular expressions"; arXiv identifier scheme (info.arxiv.org);
ISO 2108.
"""

import re
from collections.abc import Iterator
from typing import Final

_DOI_FORM: Final = re.compile(r"10\.\d{4,9}(?:\.\d+)*/[-._;()/:a-z0-9+\[\]<>&#,]*[a-z0-9)\]+>]", re.IGNORECASE)

#: The arXiv began with papers of July 1991 in the old scheme, and changed the scheme with April 2007, the length of the
#: number with January 2015.
_FIRST_ARXIV: Final = 9107
_NEW_SCHEME: Final = 704
_FIVE_DIGITS: Final = 1501


def doi_is_right(doi: str) -> bool:
    """Whether it has the shape `10.NNNN/suffix`."""
    return _DOI_FORM.fullmatch(doi) is not None


def isbn_is_right(isbn: str) -> bool:
    """Whether the check digit of an ISBN-10 or ISBN-13 without separators is right (ISO 2108)."""
    if re.fullmatch(r"\d{9}[\dX]", isbn):
        return sum((10 - place) * (10 if sign == "X" else int(sign)) for place, sign in enumerate(isbn)) % 11 == 0
    if re.fullmatch(r"97[89]\d{10}", isbn):
        return sum(int(sign) * (3 if place % 2 else 1) for place, sign in enumerate(isbn)) % 10 == 0
    return False


def unpunctuated(identifier: str) -> str:
    """Without what belongs to the sentence around it: stops, and brackets that were not opened in it."""
    trimmed = re.sub(r"[.,;:!?*_`'”’]+$", "", identifier)
    while trimmed.endswith((")", "]", ">")) and not _balanced(trimmed):
        trimmed = re.sub(r"[.,;:!?]+$", "", trimmed[:-1])
    return trimmed


def _balanced(text: str) -> bool:
    return all(text.count(opens) >= text.count(closes) for opens, closes in ("()", "[]", "<>"))


def arxiv_problems(paper: str) -> Iterator[str]:
    """What is wrong with an arXiv id without its version, a sentence each."""
    archive, _, told = paper.rpartition("/")
    digits, _, number = told.partition(".")
    if archive and len(digits) != 7:
        yield f"arXiv:{paper} is not in the scheme used until March 2007 (archive/YYMMNNN)"
    elif not archive and len(digits) != 4:
        yield f"arXiv:{paper} is not in the scheme used since April 2007 (YYMM.number)"
    elif not 1 <= int(digits[2:4]) <= 12:
        yield f"arXiv:{paper} names a month that is none"
    else:
        yield from _arxiv_problems_of_time(paper, bool(archive), int(digits[:4]), number)


def _arxiv_problems_of_time(paper: str, old: bool, issued: int, number: str) -> Iterator[str]:
    if old and _NEW_SCHEME <= issued < _FIRST_ARXIV:
        yield f"arXiv:{paper} has the scheme used until March 2007, and a later month or one before the first"
    elif not old and issued < _NEW_SCHEME:
        yield f"arXiv:{paper} has the scheme used since April 2007, and an earlier month"
    elif not old and (len(number) != (5 if issued >= _FIVE_DIGITS else 4) or int(number) == 0):
        yield f"arXiv:{paper} has a number of the wrong length for its month"


def arxiv_year(paper: str) -> int | None:
    """The year that an arXiv id tells."""
    digits = paper.rpartition("/")[2]
    if not digits[:2].isdigit():
        return None
    return (1900 if "/" in paper and int(digits[:2]) >= 91 else 2000) + int(digits[:2])
