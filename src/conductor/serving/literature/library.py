"""Read a library of references from BibTeX or CSL-JSON text, and find in it what a citation points to.

Parsing is ours and small: no TeX is run and nothing is fetched. Accents in TeX notation become letters.

Covered: `@string`, `@comment`, `@preamble`, concatenation with `#`, nested braces; CSL-JSON items in a list.
Not covered: `crossref` inheritance, TeX macros beyond accents.

Source: BibTeX as described by Oren Patashnik, "BibTeXing", 1988; CSL-JSON schema 1.0.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from conductor.domain.errors import InvalidInput

_LONGEST_LIBRARY: Final = 5_000_000
_MOST_REFERENCES: Final = 10_000
_ACCENTS: Final = {"`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", '"': "\u0308", "c": "\u0327", "v": "\u030c",
                   "=": "\u0304", ".": "\u0307", "u": "\u0306", "H": "\u030b", "r": "\u030a", "k": "\u0328"}  # fmt: skip
_ACCENT: Final = re.compile(r"\\([`'^~\"=.]|[cvuHrk](?=[\s{]))\s*(?:\{\\?([A-Za-z])\}|\\?([A-Za-z]))")
_LETTERS: Final = {
    r"\ss": "ß", r"\o": "ø", r"\O": "Ø", r"\l": "ł", r"\L": "Ł", r"\ae": "æ", r"\AE": "Æ", r"\aa": "å",
    r"\AA": "Å", r"\oe": "œ", r"\i": "ı", r"\&": "&", r"\%": "%", r"\_": "_", r"\$": "$", r"\#": "#",
}  # fmt: skip
_YEAR: Final = re.compile(r"\b(1[5-9]\d\d|20\d\d)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One work: as much as the library says. `authors` are family names; identifiers are in their plain form."""

    key: str
    authors: tuple[str, ...] = ()
    year: int | None = None
    title: str = ""
    doi: str = ""
    arxiv: str = ""
    isbn: str = ""

    def line(self) -> str:
        """For a model and for people."""
        names = ", ".join(self.authors[:3]) + (" et al." if len(self.authors) > 3 else "")
        return f"{self.key}: {names or 'unknown'} ({self.year or 'n.d.'}). {self.title}" + (
            f". doi:{self.doi}" if self.doi else ""
        )


@dataclass(frozen=True)
class Library:
    """References that somebody has."""

    references: tuple[Reference, ...]

    def by_identifier(self, identifier: str) -> Reference | None:
        """By DOI, arXiv id or ISBN in its plain form."""
        return self._identified.get(identifier.casefold())

    def by_author_and_year(self, authors: Iterable[str], year: int | None, *, first_of: bool) -> list[Reference]:
        """Works of that year whose authors begin with these; with `first_of`, others may follow."""
        wanted = [plain_name(author) for author in authors]
        if not wanted:
            return []
        found = []
        for reference in self._by_first_author.get(wanted[0], ()):
            names = [plain_name(author) for author in reference.authors]
            same = names[: len(wanted)] == wanted if first_of else names == wanted
            if same and year == reference.year:
                found.append(reference)
        return found

    def by_title(self, text: str) -> Reference | None:
        """The work whose whole title stands in the text; titles of fewer than three words are no proof."""
        plain = f" {_plain(text)} "
        fits = [reference for title, reference in self._titled if f" {title} " in plain]
        return max(fits, key=lambda reference: len(reference.title), default=None)

    @cached_property
    def _identified(self) -> dict[str, Reference]:
        return {
            identifier.casefold(): reference
            for reference in self.references
            for identifier in (reference.doi, reference.arxiv, reference.isbn)
            if identifier
        }

    @cached_property
    def _by_first_author(self) -> dict[str, list[Reference]]:
        found: dict[str, list[Reference]] = {}
        for reference in self.references:
            if reference.authors:
                found.setdefault(plain_name(reference.authors[0]), []).append(reference)
        return found

    @cached_property
    def _titled(self) -> list[tuple[str, Reference]]:
        titled = ((_plain(reference.title), reference) for reference in self.references)
        return [(title, reference) for title, reference in titled if len(title.split()) >= 3]


# Read twice for one answer: for the question, and for what was written.
@lru_cache(maxsize=2)
def read_library(text: str) -> Library:
    """The library that a BibTeX or CSL-JSON text is.

    Raises:
        InvalidInput: it is neither, is too large, or an entry is not closed; the line is named.
    """
    if len(text) > _LONGEST_LIBRARY:
        raise InvalidInput(f"library: at most {_LONGEST_LIBRARY:,} characters are read", field="library")
    references = tuple(_csl(text) if text.lstrip().startswith(("[", "{")) else _bibtex(text))
    if not references:
        raise InvalidInput("library: there is no BibTeX entry and no CSL-JSON item in it", field="library")
    if len(references) > _MOST_REFERENCES:
        raise InvalidInput(f"library: at most {_MOST_REFERENCES:,} references are read", field="library")
    return Library(references)


def plain_name(name: str) -> str:
    """A family name without accents and case, so that `Müller` is `muller`."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", name).casefold() if sign.isalnum())


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text).casefold()
    return " ".join(re.findall(r"\w+", "".join(sign for sign in letters if not unicodedata.combining(sign))))


def _csl(text: str) -> Iterator[Reference]:
    try:
        items = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as broken:
        raise InvalidInput(f"library: no valid JSON: {broken}", field="library") from None
    for place, item in enumerate(items if isinstance(items, list) else [items]):
        if not isinstance(item, dict):
            raise InvalidInput(f"library[{place}]: an item is an object", field="library")
        authors = item.get("author")
        named = [one for one in authors if isinstance(one, dict)] if isinstance(authors, list) else []
        yield Reference(
            key=str(item.get("id", place)),
            authors=tuple(str(one.get("family") or one.get("literal") or "") for one in named),
            year=_csl_year(item.get("issued")),
            title=str(item.get("title", "")),
            doi=_bare_doi(str(item.get("DOI", ""))),
            isbn=_bare_isbn(str(item.get("ISBN", ""))),
            arxiv=_bare_arxiv(str(item.get("number", "")) if "arxiv" in str(item).casefold() else ""),
        )


def _csl_year(issued: object) -> int | None:
    found = _YEAR.search(json.dumps(issued)) if isinstance(issued, dict) else None
    return int(found[0]) if found else None


def _bibtex(text: str) -> Iterator[Reference]:
    macros: dict[str, str] = {}
    at = 0
    while (opened := re.compile(r"@\s*(\w+)\s*([{(])").search(text, at)) is not None:
        kind = opened[1].casefold()
        end = _closing(text, opened.end() - 1)
        body, at = text[opened.end() : end], end + 1
        if kind == "string":
            macros |= _fields(body, macros)
        elif kind not in {"comment", "preamble"}:
            key, _, rest = body.partition(",")
            yield _reference(key.strip(), _fields(rest, macros))


def _closing(text: str, opened: int) -> int:
    closes = {"{": "}", "(": ")"}[text[opened]]
    depth = 0
    for found in re.compile(r"[{}()]").finditer(text, opened):
        at, sign = found.start(), found[0]
        if sign == "{" or (sign == "(" and at == opened):
            depth += 1
        elif sign == "}" or (sign == closes and depth == 1):
            depth -= 1
            if depth == 0:
                return at
    line = text.count("\n", 0, opened) + 1
    raise InvalidInput(f"library: the entry that begins in line {line} is not closed", field="library")


def _fields(body: str, macros: Mapping[str, str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    at = 0
    while (name := re.compile(r"\s*,?\s*([A-Za-z][\w-]*)\s*=\s*").match(body, at)) is not None:
        value, at = _value(body, name.end(), macros)
        fields[name[1].casefold()] = value
    return fields


def _value(body: str, at: int, macros: Mapping[str, str]) -> tuple[str, int]:
    parts = []
    while True:
        if body[at : at + 1] == "{":
            end = _closing(body, at)
            parts.append(body[at + 1 : end])
            at = end + 1
        elif body[at : at + 1] == '"':
            end = at + 1
            depth = 0
            while end < len(body) and (body[end] != '"' or depth):
                depth += {"{": 1, "}": -1}.get(body[end], 0)
                end += 1
            parts.append(body[at + 1 : end])
            at = end + 1
        else:
            bare = re.compile(r"[^\s,#{}\"]*").match(body, at)
            word = bare[0] if bare else ""
            parts.append(macros.get(word.casefold(), word))
            at += len(word)
        more = re.compile(r"\s*#\s*").match(body, at)
        if more is None:
            return "".join(parts), at
        at = more.end()


def _reference(key: str, fields: Mapping[str, str]) -> Reference:
    year = _YEAR.search(fields.get("year", "") or fields.get("date", ""))
    eprint = fields.get("eprint", "") if "arxiv" in fields.get("archiveprefix", "arxiv").casefold() else ""
    return Reference(
        key=key,
        authors=tuple(
            _family(name) for name in " ".join(fields.get("author", "").split()).split(" and ") if name.strip()
        ),
        year=int(year[0]) if year else None,
        title=_text(fields.get("title", "")),
        doi=_bare_doi(fields.get("doi", "")),
        arxiv=_bare_arxiv(eprint),
        isbn=_bare_isbn(fields.get("isbn", "")),
    )


def _family(name: str) -> str:
    if re.fullmatch(r"\{[^{}]*\}", name.strip()):
        return _text(name)  # an institution: `{World Health Organization}`
    name = _text(name)
    family, comma, _ = name.partition(",")
    if comma:
        return family.strip()
    words = name.split()
    # `Ludwig van Beethoven`: the small words before the last belong to the family name.
    start = next((place for place, word in enumerate(words[:-1]) if word[:1].islower()), len(words) - 1)
    return " ".join(words[start:])


def _text(value: str) -> str:
    if "\\" in value:
        value = _without_tex(value)
    return " ".join(value.replace("{", "").replace("}", "").replace("~", " ").split())


def _without_tex(value: str) -> str:
    value = _ACCENT.sub(lambda found: unicodedata.normalize("NFC", (found[2] or found[3]) + _ACCENTS[found[1]]), value)
    for macro, letter in _LETTERS.items():
        value = re.sub(re.escape(macro) + r"(?![A-Za-z])(?:\s|\{\})?", letter, value)
    return value


def _bare_doi(doi: str) -> str:
    return re.sub(r"^(?:https?://(?:dx\.)?doi\.org/|doi:\s*)", "", doi.strip(), flags=re.IGNORECASE)


def _bare_arxiv(eprint: str) -> str:
    return re.sub(r"v\d+$", "", re.sub(r"^arxiv:\s*", "", eprint.strip(), flags=re.IGNORECASE))


def _bare_isbn(isbn: str) -> str:
    return re.sub(r"[^0-9Xx]", "", isbn).upper()
