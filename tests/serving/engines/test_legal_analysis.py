"""Legal analysis: clauses by their numbers, quotations that stand in them, and silence that is told."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.engines.told_model import OneModelDesk, ToldModel, streamed, user_said

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Generation
from conductor.serving.engines.legal_analysis import LegalAnalysis, LegalOptions
from conductor.serving.law.checklists import CHECKLISTS
from conductor.serving.law.clauses import KINDS, USUAL, Depth, clauses, contract_type, units, usual_but_missing
from conductor.serving.law.findings import DISCLAIMER

NDA = """NON-DISCLOSURE AGREEMENT

This agreement is made by and between A Ltd and B GmbH.

1. Definitions. "Confidential Information" means all information.
   (a) whether oral or written; and
   (b) marked or not.

2. Confidentiality
2.1 The recipient shall keep Confidential Information secret.
2.2 The recipient is liable without limit for every breach.

3. Term. This agreement runs for five years.
"""


def judged(asked: Generation) -> str:
    """Rates what mentions `without limit` high, all else low, and quotes four words of each clause."""
    rows = []
    for one, text in re.findall(
        r"^id (c\d+), number [^\n]*:\n(.*?)(?=\n\nid c\d+|\n</clauses)", user_said(asked), re.S | re.M
    ):
        words = text.split()
        rows.append({
            "id": one, "kind": "other", "risk": "high" if "without limit" in text else "low",
            "reason": "as it is", "quotation": " ".join(words[-4:]),
        })  # fmt: skip
    return json.dumps({"clauses": rows})


def test_a_contract_is_split_at_its_numbers() -> None:
    found = clauses(NDA)
    assert [(one.number, one.heading, one.depth) for one in found] == [
        ("preamble", "", Depth.ARTICLE),
        ("1", "Definitions", Depth.CLAUSE),
        ("(a)", "", Depth.POINT),
        ("(b)", "", Depth.POINT),
        ("2", "Confidentiality", Depth.CLAUSE),
        ("2.1", "", Depth.PART),
        ("2.2", "", Depth.PART),
        ("3", "Term", Depth.CLAUSE),
    ]


def test_points_are_judged_with_their_clause_and_bare_headings_with_what_they_head() -> None:
    found = units(clauses(NDA))
    assert [(one.number, one.heading, one.kind) for one in found] == [
        ("preamble", "", "parties"),
        ("1", "Definitions", "definitions"),
        ("2.1", "Confidentiality", "confidentiality"),
        ("2.2", "Confidentiality", "confidentiality"),
        ("3", "Term", "term"),
    ]
    assert "(b) marked or not." in found[1].text


@pytest.mark.parametrize(
    ("line", "number", "heading"),
    [
        ("Article IV. Termination", "Article IV", "Termination"), ("ARTICLE 2 – PAYMENT", "ARTICLE 2", "PAYMENT"),
        ("Section 2.3: Governing Law", "Section 2.3", "Governing Law"), ("§ 3 Haftung", "§ 3", "Haftung"),
        ("§3a Kündigung", "§3a", "Kündigung"), ("Artikel 5 Laufzeit", "Artikel 5", "Laufzeit"),
        ("10) Notices", "10", "Notices"), ("4.2.1 Fees. The fee is due.", "4.2.1", "Fees"),
        ("**7. Warranty**", "7", "Warranty"), ("## 8. Assignment", "8", "Assignment"),
        ("5. The supplier shall deliver all goods within ten days of the order.", "5", ""),
    ],
)  # fmt: skip
def test_numbers_of_every_scheme_are_read(line: str, number: str, heading: str) -> None:
    found = clauses(f"{line}\nand more text here")[0]
    assert (found.number, found.heading) == (number, heading)


@pytest.mark.parametrize(
    "line", ["1,000 euros", "2024 was a year", "3.5 percent of it", "Section 4 shall survive", "10.10.2020"]
)
def test_a_line_that_was_broken_before_a_number_begins_no_clause(line: str) -> None:
    assert [one.number for one in clauses(f"The price comes to\n{line}")] == ["preamble"]


def test_a_contract_without_numbers_is_split_at_its_headings() -> None:
    found = clauses("PAYMENT TERMS\nYou pay.\n\nTERMINATION\nWe end it.\n")
    assert [(one.heading, one.kind) for one in found] == [("PAYMENT TERMS", "payment"), ("TERMINATION", "termination")]


@given(st.text(alphabet="ab 1.2()§\nArticle IV", max_size=300))
def test_clauses_do_not_overlap_and_lose_no_word(contract: str) -> None:
    found = clauses(contract)
    ends = 0
    for one in found:
        assert one.span.start >= ends
        ends = one.span.end
        assert contract[one.span.start : one.span.end].strip() == one.text
    assert "".join(contract.split()) == "".join("".join(one.text.split()) for one in found)
    assert "".join("".join(one.text.split()) for one in units(found)).count("a") <= contract.count("a")


def test_what_such_a_contract_usually_has_is_missed() -> None:
    assert contract_type(NDA) == "nda"
    assert usual_but_missing("nda", clauses(NDA)) == ["governing_law", "entire_agreement"]
    law = "4. Miscellaneous. It is governed by the laws of France and supersedes all prior agreements.\n"
    assert usual_but_missing("nda", clauses(NDA + law)) == []


def test_every_usual_clause_is_a_kind_and_nothing_is_told_of_an_unknown_type() -> None:
    assert {kind for usual in USUAL.values() for kind in usual} <= set(KINDS)
    assert (contract_type("A poem about the sea"), usual_but_missing("", clauses(NDA))) == ("", [])


@pytest.mark.anyio
async def test_the_table_has_a_row_for_each_clause_with_words_that_stand_in_it() -> None:
    told, answer, _ = await streamed(LegalAnalysis(OneModelDesk(ToldModel(judged))), NDA, LegalOptions(party="B GmbH"))
    rows = answer.facts["clauses"]
    assert isinstance(rows, list)
    assert [(row["clause"], row["risk"]) for row in rows] == [
        ("preamble", "low"), ("1", "low"), ("2.1", "low"), ("2.2", "high"), ("3", "low"),
    ]  # fmt: skip
    assert rows[3]["quotation"] == "limit for every breach."
    assert all(row["quotation"] in NDA for row in rows)
    assert answer.facts["missing_usual_clauses"] == ["governing_law", "entire_agreement"]
    assert answer.text == told
    assert answer.text.endswith(DISCLAIMER)
    assert answer.notes == ()


@pytest.mark.anyio
async def test_an_invented_quotation_is_left_out_and_told_even_if_another_clause_has_it() -> None:
    rows = [
        {"id": "c1", "kind": "other", "risk": "low", "reason": "r", "quotation": "runs for five years"},
        *({"id": f"c{at}", "kind": "other", "risk": "low", "reason": "r", "quotation": ""} for at in (2, 3, 4, 5)),
    ]
    answer = await LegalAnalysis(OneModelDesk(ToldModel([json.dumps({"clauses": rows})]))).generate(NDA, LegalOptions())
    [first, *_] = answer.facts["clauses"]  # type: ignore[misc]
    assert first["quotation"] is None
    assert answer.notes == ("clause preamble: the quotation given does not stand in it and was left out",)


def rows_for(*names: str, risk: str = "low") -> str:
    rows = [{"id": name, "kind": "other", "risk": risk, "reason": "r", "quotation": ""} for name in names]
    return json.dumps({"clauses": rows})


@pytest.mark.anyio
async def test_clauses_that_the_model_leaves_out_are_asked_for_once_more_on_their_own() -> None:
    model = ToldModel([rows_for("c1", "c3", "c5"), rows_for("c1", "c4", risk="high")])
    answer = await LegalAnalysis(OneModelDesk(model)).generate(NDA, LegalOptions())
    assert re.findall(r"^id (c\d)", user_said(model.asked[1]), re.M) == ["c2", "c4"]
    rows = answer.facts["clauses"]
    assert isinstance(rows, list)
    assert [row["risk"] for row in rows] == ["low", "not assessed", "low", "high", "low"]
    assert answer.notes == ("clause 1: the model did not judge it",)


@pytest.mark.anyio
async def test_a_model_that_writes_no_table_leaves_every_clause_not_assessed() -> None:
    answer = await LegalAnalysis(OneModelDesk(ToldModel(["Looks fine to me.", ""]))).generate(NDA, LegalOptions())
    assert len(answer.notes) == 5
    assert answer.text.count("| not assessed |") == 5


@pytest.mark.anyio
async def test_a_long_contract_is_judged_in_groups_that_fit() -> None:
    long = "SERVICES AGREEMENT\n" + "".join(
        f"\n{at}. Heading. Clause number {at} says a few words about things, at some length indeed.\n"
        for at in range(1, 61)
    )
    model = ToldModel(judged, context_tokens=1500, constrains=True)
    answer = await LegalAnalysis(OneModelDesk(model)).generate(long, LegalOptions())
    rows = answer.facts["clauses"]
    assert isinstance(rows, list)
    assert [row["clause"] for row in rows] == ["preamble", *map(str, range(1, 61))]
    assert len(model.asked) > 5
    assert all(asked.form is not None for asked in model.asked)


@pytest.mark.anyio
async def test_a_compliance_check_believes_words_that_stand_in_the_document_only() -> None:
    document = "The controller is A Ltd, privacy@a.example. We keep data for three years. You may complain."
    answers = [
        {"question": "controller", "found": True, "quotation": "The controller is A  Ltd"},
        {"question": "retention", "found": True, "quotation": "We delete data at once"},
        {"question": "access", "found": False, "quotation": ""},
    ]
    model = ToldModel([json.dumps({"answers": answers})])
    options = LegalOptions(work="compliance", regulation="GDPR")
    _, answer, _ = await streamed(LegalAnalysis(OneModelDesk(model)), document, options)
    rows = {row["question"]: (row["result"], row["quotation"]) for row in answer.facts["answers"]}  # type: ignore[union-attr]
    assert rows["controller"] == ("found", "The controller is A Ltd")
    assert rows["retention"] == ("not confirmed", None)
    assert rows["access"] == ("not found", None)
    assert rows["dpo"] == ("not assessed", None)
    assert len(rows) == len(CHECKLISTS["gdpr"])
    assert DISCLAIMER in answer.text


@pytest.mark.anyio
async def test_a_long_document_is_checked_in_parts_and_found_in_any() -> None:
    document = (
        "Filler words stand here. " * 400 + "Breaches are reported within 72 hours. " + "More filler here. " * 200
    )

    def reads(asked: Generation) -> str:
        there = "within 72 hours" in user_said(asked)
        quotation = "Breaches are reported within 72 hours." if there else ""
        return json.dumps({"answers": [{"question": "breach_report", "found": there, "quotation": quotation}]})

    model = ToldModel(reads, context_tokens=4000)
    answer = await LegalAnalysis(OneModelDesk(model)).generate(
        document, LegalOptions(work="compliance", regulation="hipaa")
    )
    [breach] = [row for row in answer.facts["answers"] if row["question"] == "breach_report"]  # type: ignore[union-attr]
    assert (breach["result"], breach["start"]) == ("found", document.index("Breaches"))
    assert len(model.asked) > 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("prompt", "options", "field"),
    [
        ("", LegalOptions(), "prompt"), ("x", LegalOptions(work="advice"), "work"),
        ("x", LegalOptions(work="compliance", regulation="ccpa"), "regulation"),
        ("x", LegalOptions(contract_type="marriage"), "contract_type"),
    ],
)  # fmt: skip
async def test_impossible_requests_name_their_field(prompt: str, options: LegalOptions, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await LegalAnalysis(OneModelDesk(ToldModel(["x"]))).generate(prompt, options)
    assert refused.value.field == field
