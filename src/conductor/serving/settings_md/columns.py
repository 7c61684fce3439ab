"""Know the columns of the model table by their names, whatever their order, case, markup and usual variants."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from conductor.serving.settings_md.markdown import Cell, Row, plain_text
from conductor.serving.settings_md.problems import Problem, at_line, nearest, shown


class Column(StrEnum):
    """The columns, as we write them."""

    CATEGORY = "Category/Area"
    TITLE = "Best Open Source Model"
    MEMORY = "VRAM/RAM Requirements"
    NAME = "Technical Model Name"
    STAY_LOADED = "Stay Loaded"
    PRECISION = "Precision"


_NAMES: Final[Mapping[str, Column]] = {
    **dict.fromkeys(("category area", "category", "area", "task", "task category"), Column.CATEGORY),
    **dict.fromkeys(
        ("best open source model", "best model", "open source model", "model", "model title"), Column.TITLE
    ),
    **dict.fromkeys(
        (
            "vram ram requirements", "vram ram requirement", "vram ram", "vram requirements", "vram requirement", "vram",
            "ram requirements", "ram requirement", "ram", "memory requirements", "memory requirement", "memory",
        ),
        Column.MEMORY,
    ),
    **dict.fromkeys(("technical model name", "technical name", "model name", "model id"), Column.NAME),
    **dict.fromkeys(("stay loaded", "stays loaded", "keep loaded"), Column.STAY_LOADED),
    **dict.fromkeys(("precision", "quantization", "quantisation"), Column.PRECISION),
}  # fmt: skip
#: A table with so many of our columns is meant to be the model table.
_TELLING: Final = 3


def column_of(written: str) -> Column | None:
    """The column that a header cell names."""
    return _NAMES.get(" ".join(re.findall(r"[^\W_]+", plain_text(written).casefold())))


def looks_like_ours(header: Row) -> bool:
    """Whether a header is meant to be that of the model table."""
    return len({column for cell in header.cells if (column := column_of(cell.raw))}) >= _TELLING


def read_header(header: Row) -> tuple[dict[Column, int], list[Problem], list[Problem]]:
    """Where each column stands; what is wrong; what is remarkable."""
    places: dict[Column, int] = {}
    problems: list[Problem] = []
    strange: list[Cell] = []
    for place, cell in enumerate(header.cells):
        column = column_of(cell.raw)
        if column is None:
            strange.append(cell)
        elif column in places:
            message = f"the column {column} is there twice"
            problems.append(at_line(header.line, message, column=cell.column, remedy="remove one of the two"))
        else:
            places[column] = place
    missing = [column for column in Column if column not in places]
    meant = {cell: nearest(plain_text(cell.raw), missing) for cell in strange}
    for column in missing:
        instead = next((cell for cell in strange if meant[cell] == column), None)
        problems.append(_missing(header, column, instead))
    remarks = [_of_no_use(header, cell) for cell in strange if not meant[cell]]
    return places, problems, remarks


def _missing(header: Row, column: Column, instead: Cell | None) -> Problem:
    if instead is None:
        return at_line(header.line, f"there is no column {column}", remedy="add it")
    message = f"there is no column {column}, and {shown(plain_text(instead.raw))} is none of ours"
    return at_line(header.line, message, column=instead.column, nearest=column.value)


def _of_no_use(header: Row, cell: Cell) -> Problem:
    message = f"the column {shown(plain_text(cell.raw))} means nothing here and is left alone"
    return at_line(header.line, message, column=cell.column)
