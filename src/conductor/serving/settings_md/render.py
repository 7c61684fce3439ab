"""Write a page: a new one for a table (`render`), or a present one with other rows and all else as it was (`replace_rows`).

What is written is read again before it is handed out; a table that no page can say (a persona with a heading of its own,
a title with a line break) is refused rather than written differently.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from conductor.domain.errors import InvalidInput, SettingsError
from conductor.domain.model import Category, ModelName, ServedModel
from conductor.serving.settings_md.cells import NOTHING, write_size
from conductor.serving.settings_md.columns import Column
from conductor.serving.settings_md.markdown import Row, escaped, plain_text
from conductor.serving.settings_md.names import has_precision
from conductor.serving.settings_md.parse import PERSONA, Reading, parse, read
from conductor.serving.settings_md.problems import shown
from conductor.serving.settings_md.rows import LEFT_OUT
from conductor.serving.settings_md.table import ModelTable

_WIDEST: Final = 60


def render(table: ModelTable) -> str:
    """A page that says exactly this table.

    Raises:
        InvalidInput: no page can say it; names persona or row.
    """
    persona = f"{table.persona}\n\n" if table.persona else ""
    rows = [_cells(row, table.title_of(row.category)) for row in table.rows]
    header = {column: str(column) for column in Column}
    widths = {column: min(_WIDEST, max(len(row[column]) for row in (header, *rows))) for column in Column}
    lines = [_line(header, widths), _line({column: "-" * widths[column] for column in Column}, widths)]
    lines += [_line(row, widths) for row in rows]
    page = f"# LLM Server Settings\n\n## {PERSONA}\n\n{persona}" + "\n".join(lines) + "\n"
    _check(page, table)
    return page


def replace_rows(page: str, rows: Sequence[ServedModel], *, titles: Mapping[Category, str] | None = None) -> str:
    """The page with these rows; every line that does not have to change stays as it is.

    Rows keep their places, new ones come last, whatever their order in `rows`. Comments, prose, further columns, line
    endings and the spelling of unchanged cells stay.

    Args:
        page: a valid page.
        titles: how to write the categories of new rows.

    Raises:
        SettingsError: the page is not valid.
        InvalidInput: no page can say these rows.
    """
    reading = read(page)
    wanted = {row.category: row for row in rows}
    if len(wanted) < len(rows):
        raise InvalidInput("two of the rows are of one category; a category has one model", field="rows")
    kept = {row.category: reading.table.title_of(row.category) for row in reading.table.rows}
    named = ModelTable(persona=reading.table.persona, rows=tuple(rows), titles={**(titles or {}), **kept})
    written = _rewritten(reading, wanted, named)
    mark = "\ufeff" if page.startswith("\ufeff") else ""
    changed = mark + "".join(written)
    _check(changed, named)
    return changed


def _rewritten(reading: Reading, wanted: Mapping[Category, ServedModel], named: ModelTable) -> list[str]:
    """Every line of the page with its ending, the table's as they are to be."""
    before = reading.table.served()
    categories = {
        row.line.number: had.category for row, had in zip(reading.block.rows, reading.table.rows, strict=True)
    }
    at_row = {row.line.number: row for row in reading.block.rows}
    ending = reading.block.header.line.ending
    last = reading.block.line_numbers[-1]
    new = [row for category, row in wanted.items() if category not in before]
    written = []
    for line in reading.lines:
        row = at_row.get(line.number)
        if row is None:
            written.append(line.text + line.ending)
        elif (served := wanted.get(categories[line.number])) is not None:
            written.append(_row(reading, row, before[served.category], served) + line.ending)
        if line.number == last and new:
            if not written[-1].endswith(("\r", "\n")):  # the page ended without one
                written[-1] += ending
            written += [_new_row(reading, served, named) + ending for served in new]
    return written


def _row(reading: Reading, row: Row, before: ServedModel, now: ServedModel) -> str:
    """A row of the page; only cells that say something else now are written anew."""
    old, new = _cells(before, ""), _cells(now, "")
    text = row.line.text
    said = plain_text(row.cells[reading.places[Column.PRECISION]].raw).casefold()
    if said in NOTHING and (has_precision(now.name) or now.precision is not LEFT_OUT):
        old[Column.PRECISION] = ""
    changed = {place: new[column] for column, place in reading.places.items() if old[column] != new[column]}
    for place in sorted(changed, reverse=True):
        cell = row.cells[place]
        begin = cell.column - 1
        text = text[:begin] + changed[place] + text[begin + len(cell.raw.strip()) :]
    return text


def _new_row(reading: Reading, served: ServedModel, named: ModelTable) -> str:
    cells = _cells(served, named.title_of(served.category))
    by_place = {place: cells[column] for column, place in reading.places.items()}
    return f"| {' | '.join(by_place.get(place, '') for place in range(len(reading.block.header.cells)))} |"


def _cells(row: ServedModel, title: str) -> dict[Column, str]:
    return {
        Column.CATEGORY: f"**{escaped(title)}**",
        Column.TITLE: escaped(row.title),
        Column.MEMORY: write_size(row.memory_bytes),
        Column.NAME: _name(row.name),
        Column.STAY_LOADED: "true" if row.stay_loaded else "false",
        Column.PRECISION: row.precision.value,
    }


def _name(name: ModelName) -> str:
    """In code marks, unless they would have to be escaped themselves."""
    return escaped(name) if "`" in name or "\\" in name else f"`{name.replace('|', chr(92) + '|')}`"


def _line(cells: Mapping[Column, str], widths: Mapping[Column, int]) -> str:
    return f"| {' | '.join(cells[column].ljust(widths[column]) for column in Column)} |"


def _check(page: str, wanted: ModelTable) -> None:
    """See that a page says what it should."""
    try:
        said = parse(page)
    except SettingsError as wrong:
        raise InvalidInput(f"no page can say this table: {wrong.message}", field="rows") from wrong
    if said.persona != wanted.persona:
        raise InvalidInput(
            f"no page can say the persona {shown(wanted.persona)}; leave out headings, comments, rows of tables and spaces "
            "at its ends",
            field="persona",
        )
    wrong_rows = [row for row in wanted.rows if _named(said, row.category) != (row, wanted.title_of(row.category))]
    if wrong_rows or len(wanted.rows) != len(said.rows):
        which = f"the row of {wrong_rows[0].category}" if wrong_rows else "two rows of one category"
        raise InvalidInput(
            f"no page can say {which}; category, title and name are single lines without spaces at their ends",
            field="rows",
        )


def _named(table: ModelTable, category: Category) -> tuple[ServedModel | None, str]:
    return table.served().get(category), table.title_of(category)
