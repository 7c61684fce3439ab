"""Read the rows of the model table, cell by cell."""

from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

from conductor.domain.model import Category, ModelName, Precision, ServedModel
from conductor.serving.settings_md.cells import (
    NOTHING,
    Unreadable,
    precision_in_size,
    read_precision,
    read_size,
    read_truth,
)
from conductor.serving.settings_md.columns import Column
from conductor.serving.settings_md.markdown import Cell, Line, Row, Table, plain_text
from conductor.serving.settings_md.names import check_name, has_precision
from conductor.serving.settings_md.problems import Findings, Problem, at_line, nearest
from conductor.serving.settings_md.table import plain_title, slug

#: What stands for a precision that does not count and was left out.
LEFT_OUT: Final = Precision.FP16
#: Asked by `/v1/embeddings` itself, so there is no engine for it.
_WITHOUT_ENGINE: Final = frozenset({Category("embeddings")})

V = TypeVar("V")


def read_rows(
    block: Table, places: Mapping[Column, int], known: Collection[str], found: Findings
) -> list[tuple[ServedModel, str]]:
    """The rows that can be read, each with its category as written; the others become problems in `found`."""
    rows: list[tuple[ServedModel, str]] = []
    first: dict[Category, Line] = {}
    for row in block.rows:
        if len(row.cells) != len(block.header.cells):
            found.problems.append(_wrong_count(row, len(block.header.cells)))
            continue
        cells = _Cells(row, places, found)
        served = cells.served()
        category = slug(cells.text(Column.CATEGORY))
        if category in first:
            found.problems.append(
                cells.problem(
                    Column.CATEGORY,
                    f"a second model for {category}; line {first[category].number} has the first",
                    remedy="keep one of the two rows",
                )
            )
        elif category:
            first[category] = row.line
            cells.warn(category, known)
        if served is not None:
            rows.append((served, cells.text(Column.CATEGORY)))
    return rows


def _wrong_count(row: Row, wanted: int) -> Problem:
    count = len(row.cells)
    if count == 1 and not row.line.text.lstrip().startswith("|"):
        remedy = "leave a line free between the table and what follows"
    elif count > wanted:
        remedy = "write \\| for a bar that belongs to the text, or remove what is too much"
    else:
        remedy = "add what is missing; – says that it is not known"
    return at_line(row.line, f"{count} cell{'s' * (count != 1)} where the header has {wanted}", remedy=remedy)


class _Cells:
    """The cells of one row by column; what cannot be read becomes a problem."""

    def __init__(self, row: Row, places: Mapping[Column, int], found: Findings) -> None:
        self._row = row
        self._places = places
        self._found = found

    def served(self) -> ServedModel | None:
        """The row, unless one of its cells or columns is wrong."""
        before = len(self._found.problems)
        category = slug(self.text(Column.CATEGORY))
        if not category and Column.CATEGORY in self._places:
            self._found.problems.append(
                self.problem(
                    Column.CATEGORY, "the row names no category", remedy="write one, such as Conversational Chat"
                )
            )
        name = self._value(Column.NAME, check_name, ModelName(""), text=plain_text(self._cell(Column.NAME).raw))
        memory = self._value(Column.MEMORY, read_size, None)
        stay_loaded = self._value(Column.STAY_LOADED, read_truth, False)
        precision = self._precision(name)
        if len(self._found.problems) > before or len(self._places) < len(Column):
            return None
        return ServedModel(
            category=category,
            title=self.text(Column.TITLE),
            name=name,
            memory_bytes=memory,
            stay_loaded=stay_loaded,
            precision=precision,
        )

    def warn(self, category: Category, known: Collection[str]) -> None:
        """Say what is remarkable: a category without an engine, a size that is told of another precision."""
        if known and category not in known and category not in _WITHOUT_ENGINE:
            meant = nearest(category, known)
            self._found.warnings.append(
                self.problem(
                    Column.CATEGORY,
                    f"no engine serves {category}",
                    nearest=plain_title(Category(meant)) if meant else "",
                    remedy=f"there are {', '.join(sorted(known))}",
                )
            )
        told = precision_in_size(self.text(Column.MEMORY))
        asked = self.text(Column.PRECISION)
        if told is not None and asked.casefold() not in NOTHING:
            try:
                differs = read_precision(asked) is not told
            except Unreadable:  # is told as a problem
                return
            if differs:
                message = f"the size is told of {told}, the precision is {read_precision(asked)}"
                self._found.warnings.append(self.problem(Column.MEMORY, message))

    def text(self, column: Column) -> str:
        """A cell without markup, its spaces single."""
        return " ".join(plain_text(self._cell(column).raw).split())

    def problem(self, column: Column, message: str, *, nearest: str = "", remedy: str = "") -> Problem:
        """A problem at a cell."""
        return at_line(self._row.line, message, column=self._cell(column).column, nearest=nearest, remedy=remedy)

    def _cell(self, column: Column) -> Cell:
        place = self._places.get(column)
        return Cell("", 1) if place is None else self._row.cells[place]

    def _precision(self, name: ModelName) -> Precision:
        if self.text(Column.PRECISION).casefold() in NOTHING and name and not has_precision(name):
            return LEFT_OUT
        return self._value(Column.PRECISION, read_precision, LEFT_OUT)

    def _value(self, column: Column, reader: Callable[[str], V], otherwise: V, *, text: str | None = None) -> V:
        """What a cell says; `otherwise` where it cannot be read, or where the column is missing altogether."""
        if column not in self._places:
            return otherwise
        try:
            return reader(self.text(column) if text is None else text)
        except Unreadable as wrong:
            self._found.problems.append(self.problem(column, wrong.message, nearest=wrong.meant, remedy=wrong.remedy))
            return otherwise
