"""Make findings of what a model said about clauses and questions: rows whose quotations stand in the text, and a table.

A row exists for every clause and every question, whatever the model said; where it said nothing, or nothing that can be
believed, the row says so. Every answer ends with the disclaimer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from conductor.domain.json import JsonObject, JsonValue
from conductor.serving.engine import Answer
from conductor.serving.filling import judged, rows_of
from conductor.serving.law.checklists import Question
from conductor.serving.law.clauses import KINDS, Clause, clauses, contract_type, usual_but_missing
from conductor.serving.texts.quotations import find_quotation

DISCLAIMER: Final = (
    "This was written by a language model. It is no legal advice, it may be wrong or incomplete, and it does not replace "
    "a lawyer who knows the facts and the law that applies."
)
_RISKS: Final = ("low", "medium", "high")
_NOT_JUDGED: Final = "not assessed"

#: Clauses by ids for one request.
Group = Mapping[str, Clause]


def review_form(group: Group) -> JsonObject:
    """JSON Schema of judgements about these clauses."""
    return _list_form(
        "clauses",
        {
            "id": {"enum": list(group)},
            "kind": {"enum": [*KINDS, "other"]},
            "risk": {"enum": list(_RISKS)},
            "reason": {"type": "string", "maxLength": 400},
            "quotation": {"type": "string", "maxLength": 400},
        },
    )


def compliance_form(questions: Sequence[Question]) -> JsonObject:
    """JSON Schema of answers to these questions."""
    return _list_form(
        "answers",
        {
            "question": {"enum": [one.question_id for one in questions]},
            "found": {"type": "boolean"},
            "quotation": {"type": "string", "maxLength": 500},
        },
    )


def _list_form(name: str, properties: JsonObject) -> JsonObject:
    row: JsonObject = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {name: {"type": "array", "items": row}},
        "required": [name],
        "additionalProperties": False,
    }


def by_id(judgeable: Sequence[Clause]) -> Group:
    """Clauses by ids of our own: numbers such as `(a)` occur again and again."""
    return {f"c{place}": clause for place, clause in enumerate(judgeable, start=1)}


def judgements(written: str, group: Group) -> dict[str, JsonObject]:
    """Rows that name a clause of the group and a risk, by the clauses' ids."""
    rows = rows_of(judged(written, lambda value: []).value, "clauses")
    return {str(row["id"]): row for row in rows if row.get("id") in group and row.get("risk") in _RISKS}


def review_rows(told: Mapping[str, JsonObject], group: Group) -> tuple[list[JsonObject], list[str]]:
    """A row for each clause, and notes about what was not judged or not quoted from it."""
    rows: list[JsonObject] = []
    notes: list[str] = []
    for name, clause in group.items():
        row = told.get(name, {})
        risk = row.get("risk")
        quotation = str(row.get("quotation") or "")
        at = find_quotation(quotation, clause.text)
        if quotation and at is None:
            notes.append(f"clause {clause.number}: the quotation given does not stand in it and was left out")
        if risk not in _RISKS:
            notes.append(f"clause {clause.number}: the model did not judge it")
        kind = row.get("kind")
        rows.append({
            "clause": clause.number,
            "heading": clause.heading,
            "kind": clause.kind or (str(kind) if kind in KINDS else "other"),
            "risk": str(risk) if risk in _RISKS else _NOT_JUDGED,
            "reason": str(row.get("reason") or ""),
            "quotation": clause.text[at.start : at.end] if at else None,
            "start": clause.span.start,
            "end": clause.span.end,
        })  # fmt: skip
    return rows, notes


def review_answer(contract: str, told_type: str, rows: list[JsonObject], notes: tuple[str, ...]) -> Answer:
    """The table, what such a contract usually has and this one lacks, and the disclaimer; an empty type is found out."""
    kind = told_type or contract_type(contract)
    lacks = usual_but_missing(kind, clauses(contract))
    said = [table_head(), *map(table_row, rows)]
    if lacks:
        named = ", ".join(_words(name) for name in lacks)
        said.append(f"\nUsual in such a contract ({_words(kind)}), not recognised here: {named}.\n")
    told = list(notes)
    if not kind:
        told.append(
            "the type of contract could not be told, so nothing is said about missing clauses; name contract_type"
        )
    return Answer(
        text="".join((*said, f"\n{DISCLAIMER}")),
        facts={
            "contract_type": kind or None,
            "contract_type_told": bool(told_type),
            "clauses": rows,
            "missing_usual_clauses": list(lacks),
            "disclaimer": DISCLAIMER,
        },
        notes=tuple(told),
    )


def compliance_rows(
    values: Iterable[JsonValue], document: str, questions: Sequence[Question]
) -> tuple[list[JsonObject], list[str]]:
    """A row for each question: found only with words that stand in the document, in whichever part it was."""
    told = [row for value in values for row in rows_of(value, "answers")]
    rows: list[JsonObject] = []
    notes: list[str] = []
    for one in questions:
        about = [row for row in told if row.get("question") == one.question_id]
        said_found = [str(row.get("quotation") or "") for row in about if row.get("found") is True]
        places = [at for at in (find_quotation(quotation, document) for quotation in said_found) if at]
        if said_found and not places:
            notes.append(f"{one.question_id}: said to be found, but without words that stand in the document")
        if not about:
            notes.append(f"{one.question_id}: the model did not answer it")
        at = places[0] if places else None
        result = "found" if at else "not confirmed" if said_found else "not found" if about else _NOT_JUDGED
        rows.append({
            "question": one.question_id, "text": one.text, "rule": one.rule, "result": result,
            "quotation": document[at.start : at.end] if at else None,
            "start": at.start if at else None, "end": at.end if at else None,
        })  # fmt: skip
    return rows, notes


def compliance_answer(rows: list[JsonObject], notes: tuple[str, ...], regulation: str) -> Answer:
    """The table of questions, and the disclaimer."""
    head = "| Question | Rule | Result | Quotation |\n| --- | --- | --- | --- |\n"
    lines = (_line(row["text"], row["rule"], row["result"], row["quotation"]) for row in rows)
    counts = {
        result: sum(row["result"] == result for row in rows) for result in ("found", "not found", "not confirmed")
    }
    return Answer(
        text=f"{head}{''.join(lines)}\n{DISCLAIMER}",
        facts={
            "regulation": regulation,
            "answers": rows,
            "counts": counts,
            "disclaimer": DISCLAIMER,
        },
        notes=notes,
    )


def table_head() -> str:
    """The first lines of the table of clauses."""
    return "| Clause | Heading | Kind | Risk | Reason | Quotation |\n| --- | --- | --- | --- | --- | --- |\n"


def table_row(row: JsonObject) -> str:
    """One clause's line of the table."""
    return _line(row["clause"], row["heading"], _words(str(row["kind"])), row["risk"], row["reason"], row["quotation"])


def _line(*cells: JsonValue) -> str:
    return f"| {' | '.join(_cells(cells))} |\n"


def _cells(cells: Iterable[JsonValue]) -> Iterator[str]:
    for cell in cells:
        yield " ".join(str(cell if cell is not None else "").split()).replace("|", "\\|")


def _words(name: str) -> str:
    return name.replace("_", " ")
