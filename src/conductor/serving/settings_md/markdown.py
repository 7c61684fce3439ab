"""Read as much of Markdown as a page of settings needs: lines, headings, what is code or comment, tables.

Source: CommonMark 0.31.2 (fenced code, HTML blocks of kind 2, ATX headings) and GitHub Flavored Markdown 0.29, section 4.10
(tables), with one kindness: a comment between two rows does not end a table, so that a row can be commented out.
Not covered: tables in quotations and lists (they are no tables here), underlined headings.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

_ENDING: Final = re.compile(r"(\r\n|\n|\r)")  # str.splitlines would also split at form feeds and the like
_FENCE: Final = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_HEADING: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)")
_DELIMITER: Final = re.compile(r":?-+:?")
_PIPE: Final = re.compile(r"\\.|(\|)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_TAB: Final = 4


class Kind(Enum):
    """What a line belongs to."""

    TEXT = auto()
    CODE = auto()
    COMMENT = auto()


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its ending; `number` counts from 1."""

    number: int
    text: str
    ending: str
    kind: Kind

    @property
    def is_indented(self) -> bool:
        """Whether it stands so far in that it begins no table, heading or fence."""
        space = self.text[: len(self.text) - len(self.text.lstrip(" \t"))]
        return len(space.expandtabs(_TAB)) >= _TAB

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing to see."""
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading line."""

    line: Line
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands between two pipes, as written; `column` is that of its first visible character."""

    raw: str
    column: int


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table."""

    line: Line
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its header, the line below that draws the columns, and what follows."""

    header: Row
    delimiter: Row
    rows: tuple[Row, ...]

    @property
    def line_numbers(self) -> range:
        """From the header to the last row."""
        last = self.rows[-1].line if self.rows else self.delimiter.line
        return range(self.header.line.number, last.number + 1)


def read_lines(text: str) -> list[Line]:
    """The lines of a page, each with what it belongs to."""
    parts = _ENDING.split(text)
    texts, endings = parts[::2], [*parts[1::2], ""]
    kinds = _kinds(texts)
    return [
        Line(number, text, ending, kind)
        for number, (text, ending, kind) in enumerate(zip(texts, endings, kinds, strict=True), start=1)
    ]


def heading_of(line: Line) -> Heading | None:
    """The heading that a line is."""
    found = _HEADING.match(line.text) if line.kind is Kind.TEXT else None
    if found is None:
        return None
    title = re.sub(r"(^|[ \t])#+$", "", line.text[found.end() :].strip())
    return Heading(line, len(found[1]), plain_text(title))


def tables(lines: Sequence[Line]) -> list[Table]:
    """Every table of the page, in order."""
    found: list[Table] = []
    at = 0
    while at + 1 < len(lines):
        table = _table_at(lines, at)
        if table is None:
            at += 1
        else:
            found.append(table)
            at = table.line_numbers.stop - 1  # numbers count from 1, places from 0
    return found


def row_of(line: Line) -> Row:
    """A line's cells; a pipe at the beginning and one at the end only frame them."""
    text = line.text
    begin, end = len(text) - len(text.lstrip()), len(text.rstrip())
    pipes = [found.start() for found in _PIPE.finditer(text, begin, end) if found[1]]
    if pipes and pipes[0] == begin:
        begin = pipes.pop(0) + 1
    if pipes and pipes[-1] == end - 1:
        end = pipes.pop()
    cells = []
    for stop in [*pipes, end]:
        raw = text[begin:stop]
        cells.append(Cell(raw, begin + len(raw) - len(raw.lstrip()) + 1))
        begin = stop + 1
    return Row(line, tuple(cells))


def has_pipe(line: Line) -> bool:
    """Whether a line could be one of a table."""
    return line.kind is Kind.TEXT and any(found[1] for found in _PIPE.finditer(line.text))


def plain_text(raw: str) -> str:
    """What a cell says: without bold type, italics, code marks and backslashes before punctuation."""
    text = raw.strip()
    while (inner := _unwrapped(text)) is not None:
        text = inner
    code = re.fullmatch(r"(`+)(?!`)(.+?)(?<!`)\1", text, re.DOTALL)
    if code is not None and code[1] not in re.findall(r"`+", code[2]):
        return code[2].replace("\\|", "|").strip()
    return _ESCAPED.sub(r"\1", text)


def escaped(text: str) -> str:
    """Text as a cell that `plain_text` gives back; the text has no spaces around it and no line break in it."""
    marked = re.sub(r"[\\|`*]", r"\\\g<0>", text)
    return re.sub(r"^_", r"\\_", marked)


def _unwrapped(text: str) -> str | None:
    """What stands within bold or italic marks that hold all of it."""
    for mark in ("**", "__", "*", "_"):
        if len(text) <= 2 * len(mark) or not (text.startswith(mark) and text.endswith(mark)):
            continue
        inner = text[len(mark) : -len(mark)]
        is_escaped = (len(inner) - len(inner.rstrip("\\"))) % 2 == 1
        if not is_escaped and mark not in _ESCAPED.sub("", inner) and inner == inner.strip():
            return inner
    return None


def _kinds(texts: Sequence[str]) -> Iterator[Kind]:
    fence, in_comment = "", False
    for text in texts:
        if fence:
            yield Kind.CODE
            mark = text.strip()
            closes = len(text) - len(text.lstrip(" ")) < _TAB and set(mark) == {fence[0]} and len(mark) >= len(fence)
            fence = "" if closes else fence
        elif in_comment or _opens_comment(text):
            yield Kind.COMMENT
            in_comment = "-->" not in text
        elif opened := _FENCE.match(text):
            fence = opened[1]
            yield Kind.CODE
        else:
            yield Kind.TEXT


def _opens_comment(text: str) -> bool:
    return text.lstrip(" ").startswith("<!--") and not text.startswith(" " * _TAB)


def _table_at(lines: Sequence[Line], at: int) -> Table | None:
    header, below = lines[at], lines[at + 1]
    if not has_pipe(header) or not has_pipe(below) or header.is_indented:
        return None
    drawn = row_of(below)
    if not all(_DELIMITER.fullmatch(cell.raw.strip()) for cell in drawn.cells):
        return None
    rows = []
    for line in lines[at + 2 :]:
        if line.kind is Kind.COMMENT:
            continue
        if line.is_blank or line.kind is Kind.CODE or heading_of(line) or line.text.lstrip().startswith(">"):
            break
        rows.append(row_of(line))
    return Table(row_of(header), drawn, tuple(rows))
