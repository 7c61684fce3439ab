"""Find citations in a text and check their form: identifiers by their rules, entries by the style they are written in.

A good form proves nothing about the work: whether it exists is only ever said of works in a library that was handed in.
What cannot be found there is `unresolved`, whatever it looks like.

Covered: DOI, arXiv ids (both schemes), ISBN-10 and -13, author-year and numbered citations in the text, entries of a
reference list in APA and IEEE style, and whether the two agree with each other.
Not covered: footnote styles, legal citations, entries without a list heading.

Source: APA Publication Manual 7, 8.11 and 9.4; IEEE Reference Guide 2023. Identifiers: `identifiers`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from conductor.domain.json import JsonObject
from conductor.serving.literature.identifiers import (
    arxiv_problems,
    arxiv_year,
    doi_is_right,
    isbn_is_right,
    unpunctuated,
)
from conductor.serving.literature.library import Library, plain_name
from conductor.serving.texts.quotations import Span


class Style(StrEnum):
    """How references are written."""

    APA = "apa"
    IEEE = "ieee"


class CitationKind(StrEnum):
    """What a citation is made of."""

    DOI = "doi"
    ARXIV = "arxiv"
    ISBN = "isbn"
    AUTHOR_YEAR = "author_year"
    NUMBERED = "numbered"
    ENTRY = "entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """One citation.

    Args:
        key: the identifier in its plain form; for others what tells them apart.
        problems: what is wrong with its form, a sentence each.
        resolved: keys of the library's works that it points to; empty where it points to none.
        et_al: whether more authors follow than are named.
    """

    kind: CitationKind
    text: str
    span: Span
    key: str
    authors: tuple[str, ...] = ()
    et_al: bool = False
    year: int | None = None
    problems: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()

    def facts(self) -> JsonObject:
        """As plain JSON."""
        return {
            "kind": self.kind.value,
            "text": self.text,
            "start": self.span.start,
            "end": self.span.end,
            "key": self.key,
            "year": self.year,
            "problems": list(self.problems),
            "resolved": list(self.resolved),
        }


_DOI: Final = re.compile(r"(?:doi:\s{0,3}|https?://(?:dx\.)?doi\.org/)?\b(10\.[^\s\"<>]{1,300})", re.IGNORECASE)
_DOI_LABEL: Final = re.compile(r"\bdoi:\s{0,3}(\S{1,300})|https?://(?:dx\.)?doi\.org/(\S{1,300})", re.IGNORECASE)
_ARXIV: Final = re.compile(
    r"(?:arxiv:\s*|https?://arxiv\.org/(?:abs|pdf)/)([a-z-]+(?:\.[A-Z]{2})?/\d+|\d+\.\d+)(v\d+)?", re.IGNORECASE
)
_ISBN: Final = re.compile(r"\bISBN(?:-1[03])?:?\s*((?:97[89][-\s]?)?[\dX](?:[-\s]?[\dX]){6,14})", re.IGNORECASE)
_PARTICLES: Final = "van|von|de|der|den|del|della|di|da|dos|la|le|ter|ten|al|el|bin"
# Bounded and tied to the beginning of a word, so that a long run of letters is not tried from each of its letters.
_NAME: Final = rf"\b(?:(?:{_PARTICLES})\s+){{0,3}}[^\W\d_a-zà-ÿ][\w'’.-]{{0,40}}"
_AUTHORS: Final = rf"{_NAME}(?:\s{_NAME})?(?:,\s{_NAME}){{0,5}}(?:,?\s(?:&|and|und|et|y)\s{_NAME})?(?:,?\set\sal\.)?"
_YEAR: Final = r"((?:1[5-9]|20|21)\d\d)[a-z]?"
_IN_BRACKETS: Final = re.compile(rf"({_AUTHORS}),?\s{_YEAR}(?:,\s(?:pp?|S)\.\s?[\d–-]+)?")
_BRACKETS: Final = re.compile(r"\(([^()\n]{4,300}?(?:1[5-9]|20|21)\d\d[a-z]?[^()\n]{0,40})\)")
_NARRATIVE: Final = re.compile(rf"({_AUTHORS})\s\({_YEAR}(?:,\s(?:pp?|S)\.\s?[\d–-]+)?\)")
_NUMBERED: Final = re.compile(r"(?<![\w\]!])\[(\d{1,3}(?:\s*[,–-]\s*\d{1,3})*)\](?!\()")
_HEADING: Final = re.compile(
    r"^\s{0,3}(?:#{1,6}\s*|\*\*)?(?:references|bibliography|works cited|literatur|quellen)\s*:?(?:\*\*)?\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_HEADING: Final = re.compile(r"^#{1,6}\s", re.MULTILINE)
_BULLET: Final = re.compile(r"^\s*(?:[-*•]\s+)?")
_APA_ENTRY: Final = re.compile(rf"(.{{2,400}}?)\s\({_YEAR}(?:,\s[^)]+)?\)\.\s(.+)", re.DOTALL)
_APA_NAMES: Final = re.compile(r"[^\W\d_][\w'’. -]*,\s(?:[^\W\d_]\.[ -]?)+|[^,&]{2,}\.?")
_IEEE_NUMBER: Final = re.compile(r"\[(\d{1,3})\]\s+(.*)", re.DOTALL)
_NUMBERED_ENTRY: Final = re.compile(r"(\d{1,3})\.\s+(.*)", re.DOTALL)
_TITLE_IN_QUOTES: Final = re.compile(r"[“\"]([^”\"]{3,300})[”\"]")


def citations(text: str, *, style: Style, this_year: int | None) -> list[Citation]:
    """All citations, in order; the form is judged without a library.

    Args:
        this_year: later years are a problem; None leaves years alone.
    """
    body_end, list_end = _list_of(text)
    entries = _entries(text, body_end, list_end, style)
    found = [*_identifiers(text, this_year)]
    body = text[:body_end] + " " * (list_end - body_end) + text[list_end:]
    cited = [*_author_years(body), *_numbers(body)]
    found += _agreeing(cited, entries)
    found += entries if not cited else [_cited(entry, cited) for entry in entries]
    return sorted((_timely(one, this_year) for one in found), key=lambda one: (one.span.start, -one.span.end))


def resolve(found: Iterable[Citation], library: Library) -> list[Citation]:
    """The same citations, with the keys of the works in the library that they point to."""
    pointed = [replace(one, resolved=tuple(_works(one, library))) for one in found]
    by_number = {one.key: one.resolved for one in pointed if one.kind is CitationKind.ENTRY}
    return [_numbered(one, by_number) if one.kind is CitationKind.NUMBERED else one for one in pointed]


def _numbered(one: Citation, by_number: Mapping[str, tuple[str, ...]]) -> Citation:
    """`[1, 7]` is resolved if both of its entries are."""
    works = [by_number.get(number, ()) for number in one.key.split(",")]
    return replace(one, resolved=tuple(key for keys in works for key in keys) if all(works) else ())


def _works(one: Citation, library: Library) -> Iterator[str]:
    if one.kind in {CitationKind.DOI, CitationKind.ARXIV, CitationKind.ISBN}:
        work = library.by_identifier(one.key)
        if work is not None:
            yield work.key
    elif one.kind is CitationKind.AUTHOR_YEAR:
        yield from (work.key for work in library.by_author_and_year(one.authors, one.year, first_of=one.et_al))
    elif one.kind is CitationKind.ENTRY:
        work = library.by_title(one.text)
        if work is not None and (one.year is None or work.year in {None, one.year}):
            yield work.key


def _identifiers(text: str, this_year: int | None) -> Iterator[Citation]:
    seen: set[int] = set()
    for label in (*_DOI_LABEL.finditer(text), *_DOI.finditer(text)):
        start = label.start(label.lastindex or 1)
        if start in seen or _inside_address(text, start, label.start()):
            continue
        seen.add(start)
        doi = unpunctuated(label[label.lastindex or 1])
        good = doi_is_right(doi)
        if not good and label.re is _DOI:
            continue  # without a label it is some number that begins with `10.`
        problems = () if good else (f"{doi!r} has not the shape of a DOI (10.NNNN/suffix)",)
        yield Citation(
            kind=CitationKind.DOI, text=text[label.start() : start + len(doi)], key=doi, problems=problems,
            span=Span(label.start(), start + len(doi)),
        )  # fmt: skip
    for paper in _ARXIV.finditer(text):
        yield Citation(
            kind=CitationKind.ARXIV, text=paper[0], span=Span(*paper.span()), key=paper[1],
            year=arxiv_year(paper[1]), problems=tuple(arxiv_problems(paper[1])),
        )  # fmt: skip
    for book in _ISBN.finditer(text):
        isbn = re.sub(r"[^0-9X]", "", book[1].upper())
        wrong = () if isbn_is_right(isbn) else (f"the ISBN {isbn} has a wrong check digit or length",)
        yield Citation(kind=CitationKind.ISBN, text=book[0], span=Span(*book.span()), key=isbn, problems=wrong)


def _inside_address(text: str, start: int, begins: int) -> bool:
    """Whether it is a part of some other address or number."""
    return begins == start and re.search(r"[\w/.@=-]$", text[:start][-1:]) is not None


def _author_years(body: str) -> Iterator[Citation]:
    for bracket in _BRACKETS.finditer(body):
        at = bracket.start(1)
        for part in re.split(r"(;\s*)", bracket[1]):
            cited = _IN_BRACKETS.search(part)
            if cited is not None and not part.startswith(";"):
                yield _author_year(cited, at)
            at += len(part)
    for cited in _NARRATIVE.finditer(body):
        yield _author_year(cited, 0)


def _author_year(cited: re.Match[str], at: int) -> Citation:
    et_al = "et al" in cited[1]
    names = re.split(r",\s|,?\s(?:&|and|und|et|y)\s", re.sub(r",?\set\sal\.", "", cited[1]))
    authors = tuple(name.strip() for name in names if name.strip())
    return Citation(
        kind=CitationKind.AUTHOR_YEAR, text=cited[0], span=Span(at + cited.start(), at + cited.end()),
        key=f"{plain_name(authors[0])} {cited[2]}", authors=authors, et_al=et_al, year=int(cited[2]),
    )  # fmt: skip


def _numbers(body: str) -> Iterator[Citation]:
    for cited in _NUMBERED.finditer(body):
        wanted: list[str] = []
        for part in cited[1].split(","):
            edges = [int(edge) for edge in re.findall(r"\d+", part)]
            wanted += [str(number) for number in range(edges[0], min(edges[-1], edges[0] + 99) + 1)] or [str(edges[0])]
        yield Citation(kind=CitationKind.NUMBERED, text=cited[0], span=Span(*cited.span()), key=",".join(wanted))


def _list_of(text: str) -> tuple[int, int]:
    headings = list(_HEADING.finditer(text))
    if not headings:
        return len(text), len(text)
    start = headings[-1].end()
    following = _NEXT_HEADING.search(text, start)
    return start, following.start() if following else len(text)


def _entries(text: str, start: int, end: int, style: Style) -> list[Citation]:
    found = []
    at = start
    blocks = re.split(r"(\n\s*\n|\n(?=\s*(?:[-*•]\s|\[\d|\d{1,3}\.\s)))", text[start:end])
    single = len([block for block in blocks if block.strip()]) == 1
    for block in re.split(r"(\n)", text[start:end]) if single else blocks:
        entry = block.strip()
        if len(entry) > 12 and any(sign.isalpha() for sign in entry):
            begins = at + block.index(entry)
            found.append(_entry(entry, Span(begins, begins + len(entry)), style))
        at += len(block)
    return found


def _entry(text: str, span: Span, style: Style) -> Citation:
    bare = _BULLET.sub("", text)
    number = _IEEE_NUMBER.fullmatch(bare) or _NUMBERED_ENTRY.fullmatch(bare)
    apa = _APA_ENTRY.fullmatch(bare)
    year = re.search(rf"\b{_YEAR}\b", bare)
    authors = (re.match(r"[^,(]+", apa[1]) if apa else None) if style is Style.APA else None
    family = authors[0].strip() if authors else ""
    told = number[1] if number else f"{plain_name(family)} {apa[2]}" if apa and family else bare[:40]
    problems = _apa_problems(bare) if style is Style.APA else _ieee_problems(bare)
    return Citation(
        kind=CitationKind.ENTRY, text=text, span=span, key=told, authors=(family,) if family else (),
        year=int(apa[2]) if apa else int(year[1]) if year else None, problems=tuple(problems),
    )  # fmt: skip


def _apa_problems(entry: str) -> Iterator[str]:
    shaped = _APA_ENTRY.fullmatch(entry)
    if shaped is None:
        yield "the entry is not in APA form: Author, A. A. (year). Title. Source."
        return
    names = re.sub(r"(?:\(Eds?\.\)|et al\.|…|\. \. \.)", "", shaped[1])
    if _APA_NAMES.match(names.strip()) is None or re.match(r"(?:[A-Z]\.\s?)+[A-Z]", names.strip()):
        yield "APA names authors by family name, then initials"
    if not re.search(r"(?:\.|/\S+|https?://\S+)[*_]*$", shaped[3].strip()):
        yield "an APA entry ends with a full stop or an address"


def _ieee_problems(entry: str) -> Iterator[str]:
    if _IEEE_NUMBER.fullmatch(entry) is None:
        yield "an IEEE entry begins with its number in brackets"
    if _TITLE_IN_QUOTES.search(entry) is None and "*" not in entry and "_" not in entry:
        yield "IEEE writes the title of an article in quotation marks, that of a book in italics"
    if re.search(rf"\b{_YEAR}\b", entry) is None:
        yield "the entry has no year"
    if not re.search(r"(?:\.|https?://\S+)[*_]*$", entry.strip()):
        yield "an IEEE entry ends with a full stop or an address"


def _agreeing(cited: Iterable[Citation], entries: list[Citation]) -> Iterator[Citation]:
    listed = {entry.key for entry in entries}
    for one in cited:
        wanted = one.key.split(",") if one.kind is CitationKind.NUMBERED else [one.key]
        absent = [key for key in wanted if key not in listed]
        if not absent:
            yield one
        elif one.kind is CitationKind.NUMBERED:
            yield replace(one, problems=(f"no entry {', '.join(absent)} in the list of references",))
        elif entries:
            yield replace(one, problems=("it has no entry in the list of references",))
        else:
            yield replace(one, problems=("there is no list of references",))


def _cited(entry: Citation, cited: Iterable[Citation]) -> Citation:
    if any(entry.key in one.key.split(",") for one in cited):
        return entry
    return replace(entry, problems=(*entry.problems, "nothing in the text cites it"))


def _timely(one: Citation, this_year: int | None) -> Citation:
    if this_year is None or one.year is None or one.year <= this_year:
        return one
    return replace(one, problems=(*one.problems, f"the year {one.year} is in the future"))
