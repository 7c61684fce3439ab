"""Read a page into the model table, or say everything that is wrong with it.

Source of the form: the seed document of the LLM server, section "Configuration". The persona is the text below the heading
"Conversational Persona", up to the table or the next heading of the same rank; comments are not part of it. The table is the
one whose columns are ours; tables, fences and comments around it are prose.

Not covered: whether models exist (the backends), whether they fit (the memory budget).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from conductor.serving.settings_md.columns import Column, looks_like_ours, read_header
from conductor.serving.settings_md.markdown import Kind, Line, Table, heading_of, plain_text, read_lines, row_of, tables
from conductor.serving.settings_md.problems import Findings, Problem, at_line, on_page, refusal
from conductor.serving.settings_md.rows import read_rows
from conductor.serving.settings_md.table import ModelTable, plain_title, slug

LARGEST_BYTES: Final = 1024**2
PERSONA: Final = "Conversational Persona"
_PLACEHOLDER: Final = "[your conversational persona here]"
_EXAMPLE: Final = "`conductor settings validate --example` prints a page to start from"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A valid page: what it says, what is remarkable, and where the table stands.

    Args:
        warnings: nothing that keeps the page from being used.
        lines: the page, line by line, without a byte order mark.
        block: the model table as written.
        places: which cell of a row is which column.
    """

    table: ModelTable
    warnings: tuple[Problem, ...]
    lines: tuple[Line, ...]
    block: Table
    places: Mapping[Column, int]


def parse(text: str, *, known: Collection[str] = ()) -> ModelTable:
    """What a page says; see `read`."""
    return read(text, known=known).table


def read(text: str, *, known: Collection[str] = ()) -> Reading:
    """Read a page.

    Args:
        text: Markdown, any line endings.
        known: the categories that have engines; a row of another one is remarkable. Empty checks nothing.

    Raises:
        SettingsError: the page cannot be used; all problems at once, each with line, column, what was probably meant.
    """
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_BYTES:
        raise refusal([on_page("the page is larger than 1 MiB", remedy="keep prose elsewhere")])
    lines = read_lines(text.removeprefix("\ufeff"))
    found = Findings(problems=list(_control_characters(lines)))
    block = _the_table(lines, found)
    persona = _persona(lines, block, found)
    if block is None:
        raise refusal(found.problems)
    places, problems, remarks = read_header(block.header)
    found.problems += problems
    found.warnings += remarks
    _check_delimiter(block, found)
    rows = read_rows(block, places, known, found)
    if found.problems:
        raise refusal(found.problems)
    titles = {row.category: title for row, title in rows if title != plain_title(row.category)}
    table = ModelTable(persona=persona, rows=tuple(row for row, _ in rows), titles=titles)
    return Reading(table=table, warnings=tuple(sorted(found.warnings)), lines=tuple(lines), block=block, places=places)


def decode(page: bytes) -> str:
    """A page's bytes as text.

    Raises:
        SettingsError: it is no UTF-8; says where.
    """
    if page.startswith(_UTF16):
        raise refusal([on_page("the page is saved as UTF-16", remedy="save it as UTF-8")])
    try:
        return page.decode("utf-8")
    except UnicodeDecodeError as wrong:
        before = page[: wrong.start].decode("utf-8")
        last_line = before[max(before.rfind("\n"), before.rfind("\r")) + 1 :]
        raise refusal(
            [
                Problem(
                    line=len(read_lines(before)),
                    column=len(last_line.removeprefix("\ufeff")) + 1,
                    message=f"the byte {page[wrong.start]:#04x} is no UTF-8",
                    remedy="save the page as UTF-8",
                )
            ]
        ) from None


def _control_characters(lines: Iterable[Line]) -> Iterator[Problem]:
    """The first one of each line; tabs are space."""
    for line in lines:
        if line.text.isprintable():
            continue
        for column, sign in enumerate(line.text, start=1):
            if (sign < " " and sign != "\t") or sign == "\x7f" or "\ud800" <= sign <= "\udfff":
                name = "a NUL character" if sign == "\0" else f"the control character U+{ord(sign):04X}"
                yield at_line(line, f"{name} stands in the page", column=column, remedy="remove it")
                break


def _the_table(lines: list[Line], found: Findings) -> Table | None:
    """The model table; what looks like a piece of one elsewhere is a problem."""
    everything = tables(lines)
    ours = [table for table in everything if looks_like_ours(table.header)]
    for further in ours[1:]:
        found.problems.append(
            at_line(
                further.header.line,
                f"a second model table; the first one begins in line {ours[0].header.line.number}",
                remedy="put all rows into one table",
            )
        )
    taken = {number for table in everything for number in table.line_numbers}
    columns = len(ours[0].header.cells) if ours else 0
    found.problems += _strays([line for line in lines if line.number not in taken], columns)
    if not ours and not found.problems:
        found.problems.append(_no_table(lines, everything))
    return ours[0] if ours else None


def _strays(lines: Iterable[Line], columns: int) -> Iterator[Problem]:
    """Lines that look like rows and belong to no table; `columns` are those of the model table, 0 without one."""
    for line in lines:
        if line.kind is not Kind.TEXT or "|" not in line.text:
            continue
        row = row_of(line)
        is_framed = line.text.lstrip().startswith("|") and len(row.cells) > 1
        if is_framed and looks_like_ours(row) and line.is_indented:
            yield at_line(
                line, "the header of the table is indented, so it is code", remedy="remove the space before it"
            )
        elif is_framed and looks_like_ours(row):
            message = "below the header of the table, the line that draws the columns is missing or wrong"
            yield at_line(line, message, nearest=f"|{'---|' * len(row.cells)}")
        elif columns and (is_framed or len(row.cells) == columns):
            remedy = "move it into the table, without free lines between"
            yield at_line(line, "a row outside the table", remedy=remedy)


def _no_table(lines: list[Line], others: list[Table]) -> Problem:
    hidden = [line for line in lines if line.kind is not Kind.TEXT and looks_like_ours(row_of(line))]
    if hidden:
        within = "a code block" if hidden[0].kind is Kind.CODE else "a comment"
        return at_line(hidden[0], f"the model table stands in {within}", remedy="take it out, so that it counts")
    if others:
        columns = ", ".join(Column)
        return at_line(
            others[0].header.line, "no table of the page is the model table", remedy=f"its columns are {columns}"
        )
    return on_page("the page has no model table", remedy=_EXAMPLE)


def _persona(lines: list[Line], block: Table | None, found: Findings) -> str:
    headings = [heading for line in lines if (heading := heading_of(line))]
    ours = [heading for heading in headings if _is_persona(heading.title)]
    for second in ours[1:]:
        message = f"a second persona; the first one begins in line {ours[0].line.number}"
        found.problems.append(at_line(second.line, message, remedy="keep one"))
    if not ours:
        _warn_of_odd_headings(lines, found)
        return ""
    begin = ours[0].line.number
    ends = [
        heading.line.number for heading in headings if heading.line.number > begin and heading.level <= ours[0].level
    ]
    if block is not None and block.header.line.number > begin:
        ends.append(block.header.line.number)
    kept = [line.text for line in lines[begin : min(ends, default=len(lines) + 1) - 1] if line.kind is not Kind.COMMENT]
    persona = "\n".join(kept).strip()
    if persona.casefold() == _PLACEHOLDER:
        found.warnings.append(at_line(ours[0].line, "the persona is still the placeholder and is left out"))
        return ""
    return persona


def _is_persona(title: str) -> bool:
    return slug(title) in ("conversational_persona", "persona")


def _warn_of_odd_headings(lines: Iterable[Line], found: Findings) -> None:
    for line in lines:
        if line.kind is Kind.TEXT and _is_persona(plain_text(line.text)):
            found.warnings.append(
                at_line(line, "this is no heading, so there is no persona", remedy=f"write it as `## {PERSONA}`")
            )


def _check_delimiter(block: Table, found: Findings) -> None:
    wanted, drawn = len(block.header.cells), len(block.delimiter.cells)
    if wanted != drawn:
        found.problems.append(
            at_line(
                block.delimiter.line,
                f"{drawn} columns are drawn below a header of {wanted}",
                nearest=f"|{'---|' * wanted}",
            )
        )
