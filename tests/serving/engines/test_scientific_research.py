"""Research: citations found, their form judged by the rules, and only a library says that a work exists."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.engines.told_model import OneModelDesk, ToldModel, streamed, user_said

from conductor.domain.errors import InvalidInput
from conductor.serving.engines.scientific_research import ResearchOptions, ScientificResearch
from conductor.serving.languages.untranslatable import code_apart, missing
from conductor.serving.law.clauses import clauses, units
from conductor.serving.literature.citations import CitationKind, Style, citations, resolve
from conductor.serving.literature.identifiers import isbn_is_right
from conductor.serving.literature.library import read_library
from conductor.serving.texts.splitting import sentences
from conductor.serving.texts.unsupported import unsupported_numbers

BIBTEX = r"""
@comment{ not an @entry }
@string{neurips = "Advances in Neural " # "Information Processing Systems"}
@inproceedings{vaswani17,
  author = {Vaswani, Ashish and Noam Shazeer and {\"U}mit M{\"u}ller},
  title  = {{A}ttention Is All You Need},
  booktitle = neurips, year = 2017, eprint = {1706.03762v7}, archivePrefix = "arXiv"
}
@book(knuth84, author = "Donald E. Knuth", title = "The {\TeX} book of all things", year = {1984}, isbn = {0-201-13447-0})
@article{who20, author = {{World Health Organization}}, title = {A report on health and things}, date = {2020-03-11},
  doi = {https://doi.org/10.1000/ABC.1(2)} }
"""


class Year2026:
    def now_unix_s(self) -> float:
        return 1_780_000_000.0  # 28 May 2026

    def monotonic_s(self) -> float:
        return 0.0


def problems_of(text: str, kind: CitationKind, style: Style = Style.APA) -> list[tuple[str, bool]]:
    """Keys of the citations of a kind, and whether their form is right."""
    return [(one.key, not one.problems) for one in citations(text, style=style, this_year=2026) if one.kind is kind]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("doi:10.1000/xyz123.", [("10.1000/xyz123", True)]),
        ("(https://doi.org/10.1016/S0140-6736(20)30183-5)", [("10.1016/S0140-6736(20)30183-5", True)]),
        ("see 10.1038/nature14539, and", [("10.1038/nature14539", True)]),
        ("doi: 11.1000/abc", [("11.1000/abc", False)]),
        ("doi:10.12/abc", [("10.12/abc", False)]),
        ("https://doi.org/nothing", [("nothing", False)]),
        ("version 10.15 of it, 10.000 euros", []),
        ("https://example.org/10.1000/abc", []),
    ],
)  # fmt: skip
def test_dois_are_found_and_judged_by_their_shape(text: str, found: list[tuple[str, bool]]) -> None:
    assert problems_of(text, CitationKind.DOI) == found


@pytest.mark.parametrize(
    ("paper", "right"),
    [
        ("1706.03762", True), ("1706.03762v5", True), ("0704.0001", True), ("1412.6980", True), ("1501.00001", True),
        ("2605.00123", True), ("hep-th/9901001", True), ("math.GT/0309136", True), ("cs/9108001", True),
        ("1713.00001", False), ("1700.00001", False), ("1706.3762", False), ("1412.06980", False), ("0703.0001", False),
        ("1706.00000", False), ("3001.00001", False), ("hep-th/0704001", False), ("hep-th/990100", False),
        ("hep-th/9913001", False),
    ],
)  # fmt: skip
def test_arxiv_ids_follow_the_scheme_of_their_month(paper: str, right: bool) -> None:
    [(_, judged)] = problems_of(f"arXiv:{paper}", CitationKind.ARXIV)
    assert judged is right


@given(st.from_regex(r"arXiv:([a-z]{1,3}/)?[0-9]{1,8}(\.[0-9]{1,6})?(v[0-9])?", fullmatch=True))
def test_any_arxiv_id_is_judged_and_a_right_one_says_its_month(paper: str) -> None:
    for one in citations(paper, style=Style.APA, this_year=None):
        if one.kind is CitationKind.ARXIV and not one.problems:
            assert 1 <= int(one.key.rpartition("/")[2][2:4]) <= 12


@pytest.mark.parametrize(
    ("isbn", "right"),
    [
        ("0-306-40615-2", True), ("978-0-306-40615-7", True), ("0-8044-2957-X", True), ("9783161484100", True),
        ("0-306-40615-3", False), ("978-0-306-40615-8", False), ("0-306-4061-2", False),
    ],
)  # fmt: skip
def test_isbns_are_judged_by_their_check_digit(isbn: str, right: bool) -> None:
    [(_, judged)] = problems_of(f"ISBN {isbn}", CitationKind.ISBN)
    assert judged is right


@given(st.from_regex(r"97[89][0-9]{10}", fullmatch=True))
def test_exactly_one_last_digit_makes_an_isbn_right(isbn: str) -> None:
    assert sum(isbn_is_right(isbn[:-1] + str(digit)) for digit in range(10)) == 1


@given(st.from_regex(r"97[89][0-9]{10}", fullmatch=True), st.integers(0, 12), st.integers(1, 9))
def test_no_single_wrong_digit_goes_unseen(isbn: str, place: int, by: int) -> None:
    wrong = isbn[:place] + str((int(isbn[place]) + by) % 10) + isbn[place + 1 :]
    assert not (isbn_is_right(isbn) and isbn_is_right(wrong))


REVIEW = """Attention was introduced by Vaswani et al. (2017) and refined (van der Berg & Lee, 2019; Müller, 2020a, p. 3).
Others doubt it (Nobody, 2031).

## References

- Vaswani, A., Shazeer, N., & Müller, Ü. (2017). Attention is all you need. *Advances*, 30, 5998–6008.
- van der Berg, A., & Lee, B. (2019). A title of some kind. Journal, 1(2), 3–4. https://doi.org/10.1000/xyz
- M. Müller, A title without a form 2020
- Idle, I. (2001). Nobody cites this. Journal.
"""


def test_citations_in_the_text_are_matched_with_the_list() -> None:
    found = citations(REVIEW, style=Style.APA, this_year=2026)
    cited = {one.key: one.problems for one in found if one.kind is CitationKind.AUTHOR_YEAR}
    assert cited == {
        "vaswani 2017": (),
        "vanderberg 2019": (),
        "muller 2020": ("it has no entry in the list of references",),
        "nobody 2031": ("it has no entry in the list of references", "the year 2031 is in the future"),
    }
    entries = [(one.text[2:12], one.problems) for one in found if one.kind is CitationKind.ENTRY]
    assert [bool(problems) for _, problems in entries] == [False, False, True, True]
    assert entries[3][1] == ("nothing in the text cites it",)


def test_ieee_numbers_must_be_in_the_list_and_ranges_are_counted_out() -> None:
    text = (
        "As shown in [1], [3] and [2–4, 7], not [9-2-1].\n\nReferences\n\n"
        '[1] A. Vaswani, "Attention is all you need," Advances, vol. 30, 2017.\n'
        "[2] D. Knuth, *The book*. Somewhere: Press, 1984.\n"
        '[3] B. Lee, "No year," Journal.\n'
        "[4] Something else entirely, 2011\n"
    )
    found = citations(text, style=Style.IEEE, this_year=2026)
    numbers = [(one.key, one.problems) for one in found if one.kind is CitationKind.NUMBERED]
    assert numbers == [
        ("1", ()),
        ("3", ()),
        ("2,3,4,7", ("no entry 7 in the list of references",)),
        ("9", ("no entry 9 in the list of references",)),
    ]
    entries = {one.key: len(one.problems) for one in found if one.kind is CitationKind.ENTRY}
    assert entries == {"1": 0, "2": 0, "3": 1, "4": 2}


@given(st.text(alphabet="A a.,(&)[]12019;-–\n#doi:/", max_size=300))
def test_any_text_has_citations_that_stand_where_they_say(text: str) -> None:
    for one in citations(text, style=Style.APA, this_year=2026):
        assert 0 <= one.span.start < one.span.end <= len(text)


def test_bibtex_is_read_with_macros_braces_and_accents() -> None:
    first, second, third = read_library(BIBTEX).references
    assert (first.key, first.authors, first.year) == ("vaswani17", ("Vaswani", "Shazeer", "Müller"), 2017)
    assert (first.title, first.arxiv) == ("Attention Is All You Need", "1706.03762")
    assert (second.key, second.authors, second.isbn) == ("knuth84", ("Knuth",), "0201134470")
    assert (third.authors, third.year, third.doi) == (("World Health Organization",), 2020, "10.1000/ABC.1(2)")


def test_csl_json_is_read() -> None:
    item = {"id": "x1", "author": [{"family": "Lee", "given": "B."}, {"literal": "WHO"}], "title": "On the shape of things",
            "issued": {"date-parts": [[2019, 4]]}, "DOI": "10.1000/xyz"}  # fmt: skip
    [reference] = read_library(json.dumps([item])).references
    assert (reference.authors, reference.year, reference.doi) == (("Lee", "WHO"), 2019, "10.1000/xyz")


@pytest.mark.parametrize("text", ["nothing", "[1]", "[{", "@article{a, title = {never closed", "{}" * 3])
def test_a_library_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_library(text)
    assert refused.value.field == "library"


@given(st.text(alphabet='@a{}(),="# \\\n1', max_size=200))
def test_any_text_is_a_library_or_refused(text: str) -> None:
    try:
        library = read_library(text)
    except InvalidInput:
        return
    assert library.references


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("(Vaswani et al., 2017)", ["vaswani17"]), ("(Vaswani, Shazeer, & Müller, 2017)", ["vaswani17"]),
        ("(Vaswani & Shazeer, 2017)", []), ("(Vaswani et al., 2018)", []), ("Knuth (1984)", ["knuth84"]),
        ("arXiv:1706.03762v5", ["vaswani17"]), ("doi:10.1000/abc.1(2)", ["who20"]), ("ISBN 0-201-13447-0", ["knuth84"]),
        ("doi:10.1000/abc.1(3)", []),
        ("References\n\nVaswani, A. (2017). Attention is all you need. Advances.", ["vaswani17"]),
        ("References\n\nVaswani, A. (2016). Attention is all you need. Advances.", []),
        ('[1, 2]\n\nReferences\n\n[1] A. V., "Attention is all you need," 2017.', ["vaswani17"]),
        ('[1]\n\nReferences\n\n[1] A. V., "Attention is all you need," 2017.', ["vaswani17", "vaswani17"]),
    ],
)  # fmt: skip
def test_a_citation_is_resolved_only_by_a_work_of_the_library(text: str, keys: list[str]) -> None:
    found = resolve(citations(text, style=Style.APA, this_year=None), read_library(BIBTEX))
    assert [key for one in found for key in one.resolved] == keys


@pytest.mark.anyio
async def test_what_the_library_lacks_is_marked_in_the_text() -> None:
    written = "## Scope\n(Vaswani et al., 2017), (Ghost, 2020), [x](https://doi.org/10.1000/zzz).\n"
    model = ToldModel([written])
    engine = ScientificResearch(OneModelDesk(model), clock=Year2026())
    _, answer, _ = await streamed(engine, "How does attention work?", ResearchOptions(library=BIBTEX))
    assert (
        "(Vaswani et al., 2017), (Ghost, 2020 [unverified]), [x](https://doi.org/10.1000/zzz) [unverified]."
        in answer.text
    )
    assert "2 of 3 citations are not in the library; they may not exist" in answer.notes
    assert answer.facts["missing_sections"] == ["Themes", "Agreement and dispute", "Gaps", "References"]
    assert "vaswani17: Vaswani, Shazeer, Müller (2017)" in user_said(model.asked[0])


@pytest.mark.anyio
async def test_without_a_library_every_citation_is_unverified_whatever_its_form() -> None:
    engine = ScientificResearch(OneModelDesk(ToldModel(["doi:10.1000/xyz is good (Smith, 2019)."])))
    answer = await engine.generate("Question", ResearchOptions())
    assert answer.text == "doi:10.1000/xyz [unverified] is good (Smith, 2019 [unverified])."
    assert answer.facts["unverified"] == 2
    assert "2 citations were checked for their form only; hand in a library to look them up" in answer.notes
    assert "years were not checked, because no clock was handed in" in answer.notes


@pytest.mark.anyio
async def test_a_large_library_is_shown_by_what_fits_the_question() -> None:
    entries = "\n".join(
        f"@article{{k{at}, author={{A{at}, B}}, title={{Study of topic{at}}}, year=2000}}" for at in range(3000)
    )
    model = ToldModel(["x"], context_tokens=1000)
    await ScientificResearch(OneModelDesk(model)).generate("What about topic2345?", ResearchOptions(library=entries))
    shown = user_said(model.asked[0])
    assert "k2345:" in shown
    assert shown.count("Study of") <= 60


@pytest.mark.anyio
async def test_what_was_thought_aloud_is_not_cited() -> None:
    model = ToldModel(["<think>(Nobody, 1999)?</think>## Scope\nIt is wide (Vaswani & Shazeer, 2017)."])
    answer = await ScientificResearch(OneModelDesk(model)).generate("Why?", ResearchOptions())
    assert answer.text.startswith("## Scope")
    assert "Nobody" not in answer.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("prompt", "options", "field"),
    [
        (" ", ResearchOptions(), "prompt"), ("q", ResearchOptions(form="poem"), "form"),
        ("q", ResearchOptions(style="mla"), "style"), ("q", ResearchOptions(library="x"), "library"),
    ],
)  # fmt: skip
async def test_impossible_requests_name_their_field(prompt: str, options: ResearchOptions, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await ScientificResearch(OneModelDesk(ToldModel(["x"]))).generate(prompt, options)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "sign",
    [
        ".",
        "(",
        ")",
        "[",
        "-",
        "A",
        "Aa ",
        "Aa, ",
        "Aa & ",
        "van ",
        "\n",
        " ",
        "1.",
        "10.1000/(",
        "doi:10.1/",
        "`",
        "东",
        "References\n",
    ],
)
def test_a_hundred_thousand_of_one_sign_are_read_to_their_end(sign: str) -> None:
    # Each of these took minutes, or would, where a pattern can begin or end in more than one way.
    text = sign * (100_000 // len(sign))
    assert all(one.span.end <= len(text) for one in citations(text, style=Style.IEEE, this_year=2026))
    assert "".join(sentences(text)) == text
    assert missing(text, text) == []
    assert "".join(stretch.text for stretch in code_apart(text)) == text
    assert unsupported_numbers(text, text) == []
    assert clauses(text) == [] or units(clauses(text))
