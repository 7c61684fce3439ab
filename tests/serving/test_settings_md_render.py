"""Writing SETTINGS.md: nothing is lost on the way there and back, and nothing is touched that need not change."""

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.errors import InvalidInput, SettingsError
from conductor.domain.model import Category, ModelName, Precision, ServedModel
from conductor.serving.settings_md.example import EXAMPLE
from conductor.serving.settings_md.parse import parse
from conductor.serving.settings_md.render import render, replace_rows
from conductor.serving.settings_md.table import ModelTable, plain_title, slug

LINES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=40)
TITLES = LINES.map(lambda text: " ".join(text.split()))
PARTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}x", fullmatch=True)
PATHS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"], include_characters=" "), max_size=30)
NAMES = st.one_of(
    st.builds("{}/{}".format, PARTS, PARTS),
    PATHS.map(lambda text: f"/models/{text.replace('://', '')}/x"),
    PATHS.map(lambda text: f"./{text.replace('://', '')}x.gguf"),
    st.builds("http://127.0.0.1:{}/v1#{}".format, st.integers(1, 65535), PARTS),
    st.builds("ollama://host#{}:{}".format, PARTS, PARTS),
).map(ModelName)
NAMED = TITLES.filter(slug)  # category titles that have a word in them
SIZES = st.one_of(st.none(), st.integers(0, 2**50), st.sampled_from([1000, 1024]).map(lambda one: 7 * one**3))
PERSONA_LINES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"], exclude_characters="|<#`~"))
PERSONAS = st.lists(PERSONA_LINES, max_size=5).map(lambda lines: "\n".join(lines).strip())


@st.composite
def tables(draw: st.DrawFn) -> ModelTable:
    titles = draw(st.lists(NAMED, max_size=8, unique_by=slug))
    rows = tuple(
        ServedModel(
            category=slug(title),
            title=draw(TITLES),
            name=draw(NAMES),
            memory_bytes=draw(SIZES),
            stay_loaded=draw(st.booleans()),
            precision=draw(st.sampled_from(Precision)),
        )
        for title in titles
    )
    named = {slug(title): title for title in titles if title != plain_title(slug(title))}
    return ModelTable(persona=draw(PERSONAS), rows=rows, titles=named)


@given(tables())
def test_a_table_that_is_written_and_read_is_the_same_table(table: ModelTable) -> None:
    again = parse(render(table))

    assert again == table
    assert again.digest == table.digest


@given(tables(), tables(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_other_rows_change_nothing_but_rows(before: ModelTable, after: ModelTable, ending: str, ends: bool) -> None:
    page = "prose \\| here\n\n" + render(before).replace("|\n|", "|\n<!-- kept -->\n|").replace(
        "<!-- kept -->\n", "", 1
    )
    page = page.replace("\n", ending)
    page = page if ends else page.removesuffix(ending)

    changed = replace_rows(page, after.rows, titles=after.titles)

    said = parse(changed)
    assert said.served() == after.served()
    assert said.persona == before.persona
    kept = [line for line in page.splitlines() if not line.startswith("| **")]
    assert [line for line in changed.splitlines() if not line.startswith("| **")] == kept
    unchanged = {row.category for row in after.rows if before.served().get(row.category) == row}
    assert replace_rows(changed, [row for row in after.rows if row.category in unchanged]).count("| **") == len(
        unchanged
    )


def test_a_category_that_stands_on_the_page_keeps_its_spelling() -> None:
    row = ServedModel(
        category=Category("è"),
        title="",
        name=ModelName("a/x"),
        memory_bytes=None,
        stay_loaded=False,
        precision=Precision.FP32,
    )
    page = render(ModelTable(persona="", rows=(row,), titles={Category("è"): "È"}))

    assert "**È**" in replace_rows(page, [dataclasses.replace(row, stay_loaded=True)], titles={Category("è"): "è"})


@given(tables())
def test_the_same_rows_leave_a_page_as_it_is(table: ModelTable) -> None:
    page = render(table)

    assert replace_rows(page, table.rows[::-1]) == page
    assert replace_rows(EXAMPLE, parse(EXAMPLE).rows) == EXAMPLE


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_the_slug_of_a_slug_is_itself(title: str) -> None:
    assert slug(slug(title)) == slug(title)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_what_no_page_can_say_is_refused_rather_than_changed(persona: str, title: str, name: str) -> None:
    served = ServedModel(
        category=Category("a"),
        title=title,
        name=ModelName(name),
        memory_bytes=1,
        stay_loaded=True,
        precision=Precision.BF16,
    )
    table = ModelTable(persona=persona, rows=(served,))
    page = None
    with contextlib.suppress(InvalidInput):
        page = render(table)

    assert page is None or parse(page) == table


@pytest.mark.parametrize("persona", ["# A heading", "| Category | Model | Memory |", " spaces ", "<!-- x -->"])
def test_a_persona_that_would_be_cut_is_refused_by_name(persona: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        render(ModelTable(persona=persona))

    assert refused.value.field in ("persona", "rows")


PAGE = """\
# Ours

| Notes | Stay Loaded | Category | Model | Memory | Model ID | Precision |
|:--|--|--|--|--|--|--|
| fast | yes | __Chat__ | Tiny   | ~2GB (FP16) | `a/tiny` | float16 |
<!-- | slow | no | Later | L | – | `a/later` | FP16 | -->
| - | No | Math | Big | – | a/big | Q4 |

After it."""


def test_only_the_cells_that_say_something_else_are_written_anew() -> None:
    chat, math = parse(PAGE).rows
    new = dataclasses.replace(math, category=Category("general_reasoning"), memory_bytes=3 * 1024**3)

    changed = replace_rows(PAGE, [new, dataclasses.replace(chat, stay_loaded=False, precision=Precision.INT8)])

    assert changed == PAGE.replace("fast | yes", "fast | false").replace("float16", "8-bit").replace(
        "| - | No | Math | Big | – | a/big | Q4 |",
        "|  | false | **General Reasoning** | Big | 3 GiB | `a/big` | 4-bit |",
    )


def test_a_precision_that_was_left_out_is_written_where_it_begins_to_count() -> None:
    page = PAGE.replace("`a/tiny` | float16", "`http://host/v1#tiny` | –")
    chat, math = parse(page).rows

    assert replace_rows(page, [dataclasses.replace(chat, name=ModelName("a/tiny")), math]) == PAGE.replace(
        "float16", "FP16"
    )
    moved = dataclasses.replace(chat, name=ModelName("http://host/v1#other"))
    assert replace_rows(page, [moved, math]) == page.replace("v1#tiny", "v1#other")
    asked = dataclasses.replace(chat, precision=Precision.INT4)
    assert replace_rows(page, [asked, math]) == page.replace("v1#tiny` | –", "v1#tiny` | 4-bit")


def test_two_rows_of_one_category_are_refused() -> None:
    chat, _ = parse(PAGE).rows

    with pytest.raises(InvalidInput, match="a category has one model"):
        replace_rows(PAGE, [chat, chat])


def test_a_page_that_is_not_valid_is_not_touched() -> None:
    with pytest.raises(SettingsError):
        replace_rows(PAGE.replace("float16", "float61"), [])


def test_what_is_written_is_a_table_that_people_can_read() -> None:
    served = ServedModel(
        category=Category("code_completion"),
        title="Coder | small",
        name=ModelName("Qwen/Qwen2.5-Coder-0.5B"),
        memory_bytes=1536 * 1024**2,
        stay_loaded=True,
        precision=Precision.INT4,
    )

    assert render(ModelTable(persona="Be kind.", rows=(served,))).splitlines() == [
        "# LLM Server Settings",
        "",
        "## Conversational Persona",
        "",
        "Be kind.",
        "",
        "| Category/Area       | Best Open Source Model | VRAM/RAM Requirements | Technical Model Name      | Stay Loaded "
        "| Precision |",
        "| ------------------- | ---------------------- | --------------------- | ------------------------- | ----------- "
        "| --------- |",
        r"| **Code Completion** | Coder \| small         | 1.5 GiB               | `Qwen/Qwen2.5-Coder-0.5B` | true        "
        "| 4-bit     |",
    ]
