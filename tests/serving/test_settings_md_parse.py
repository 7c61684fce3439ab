"""Reading SETTINGS.md: what people write, and every way to get it wrong."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.errors import SettingsError
from conductor.domain.model import Category, ModelName, Precision, ServedModel
from conductor.serving.settings_md.example import EXAMPLE
from conductor.serving.settings_md.parse import decode, parse, read
from conductor.serving.settings_md.table import slug

HEADER = (
    "| Category/Area | Best Open Source Model | VRAM/RAM Requirements | Technical Model Name | Stay Loaded |Precision|"
)
DRAWN = (
    "|---------------|------------------------|----------------------|---------------------|-------------|-----------|"
)
CHAT = "| **Conversational Chat** | Llama 3.1 8B | ~8GB (FP16) | `meta-llama/Llama-3.1-8B-Instruct` | true | FP16 |"
CODE = "| **Code Completion** | CodeLlama 7B | ~4GB (4-bit) | `codellama/CodeLlama-7b-hf` | true | 4-bit |"
LLAMA = ServedModel(
    category=Category("conversational_chat"),
    title="Llama 3.1 8B",
    name=ModelName("meta-llama/Llama-3.1-8B-Instruct"),
    memory_bytes=8_000_000_000,
    stay_loaded=True,
    precision=Precision.FP16,
)
SOURCE = f"""\
# LLM Server Settings

## Conversational Persona
You are kind.

{HEADER}
{DRAWN}
{CHAT}
{CODE}
"""


def page(*rows: str, header: str = HEADER, drawn: str = DRAWN) -> str:
    return "\n".join([header, drawn, *rows, ""])


def row(
    category: str = "Translation", title: str = "M", size: str = "1 GB", name: str = "`a/b`", stay: str = "no",
    precision: str = "FP16",
) -> str:  # fmt: skip
    return f"| {category} | {title} | {size} | {name} | {stay} | {precision} |"


def problems(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(SettingsError) as refused:
        parse(text)
    found = refused.value.details["problems"]
    assert isinstance(found, list)
    return [(one["line"], one["column"], one["nearest"]) for one in found]


def message(text: str) -> str:
    with pytest.raises(SettingsError) as refused:
        parse(text)
    return refused.value.message


def test_the_page_of_the_source_document_is_read_as_it_stands() -> None:
    table = parse(SOURCE)

    assert table.persona == "You are kind."
    assert table.rows[0] == LLAMA
    assert table.rows[1].precision is Precision.INT4
    assert [row.category for row in table.rows] == ["conversational_chat", "code_completion"]


def test_the_seed_document_itself_hides_its_table_in_a_code_block_and_is_told_so() -> None:
    seeds = Path(__file__).parents[3] / "shared" / "seeds"
    found = sorted(seeds.glob("002*.txt"))
    if not found:
        pytest.skip("the source documents are not beside the repository")

    assert "stands in a code block" in message(found[0].read_text(encoding="utf-8"))


def test_columns_are_known_in_any_order_by_their_usual_names() -> None:
    text = page(
        "| 8-bit | YES | x/y | 512 MB | Math Model | `Mathematical  Reasoning` |",
        header="| **precision** | stay_loaded | `Model ID` | memory | Model | CATEGORY |",
        drawn="|:-|-:|:-:|-|-|-|",
    )

    assert parse(text).rows == (
        ServedModel(
            category=Category("mathematical_reasoning"),
            title="Math Model",
            name=ModelName("x/y"),
            memory_bytes=512_000_000,
            stay_loaded=True,
            precision=Precision.INT8,
        ),
    )


def test_pipes_at_the_ends_of_lines_may_be_left_out() -> None:
    text = "\n".join(line.strip("|").strip() for line in page(CHAT).splitlines())

    assert parse(text).rows == (LLAMA,)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_and_a_byte_order_mark_mean_nothing(ending: str) -> None:
    text = "\ufeff" + SOURCE.replace("\n", ending)

    assert parse(text) == parse(SOURCE)
    assert parse(text).digest == parse(SOURCE).digest


def test_tabs_within_a_row_are_space() -> None:
    assert parse(page(CHAT.replace(" | ", "\t|\t"))).rows == (LLAMA,)


def test_an_escaped_pipe_belongs_to_the_text() -> None:
    table = parse(page(row(title=r"Chat \| Code \*", name=r"`/models/a\|b.gguf`")))

    assert (table.rows[0].title, table.rows[0].name) == ("Chat | Code *", "/models/a|b.gguf")


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("~8GB (FP16)", 8_000_000_000),
        ("8 GiB", 8 * 1024**3),
        ("512 MB", 512_000_000),
        ("1.5gb", 1_500_000_000),
        ("6–8 GB", 8_000_000_000),
        ("4GB - 6GB VRAM", 6_000_000_000),
        ("≈ 16 GB+ RAM", 16_000_000_000),
        ("0 B", 0),
        ("–", None),
        ("-", None),
        ("", None),
        ("n/a", None),
    ],
)
def test_sizes_are_read_as_people_write_them(written: str, count: int | None) -> None:
    assert parse(page(row(size=written))).rows[0].memory_bytes == count


@pytest.mark.parametrize(
    ("written", "precision"),
    [
        ("FP32", Precision.FP32),
        ("float32", Precision.FP32),
        ("fp16", Precision.FP16),
        ("`BF16`", Precision.BF16),
        ("8-bit", Precision.INT8),
        ("8 bit", Precision.INT8),
        ("int8", Precision.INT8),
        ("Q8_0", Precision.INT8),
        ("4-bit", Precision.INT4),
        ("Q4", Precision.INT4),
        ("Q4_K_M", Precision.INT4),
        ("nf4", Precision.INT4),
    ],
)
def test_precisions_are_read_as_people_write_them(written: str, precision: Precision) -> None:
    assert parse(page(row(precision=written))).rows[0].precision is precision


@pytest.mark.parametrize(
    "name",
    [
        "meta-llama/Llama-3.1-8B-Instruct",
        "/models/with space/tiny",
        "./tiny",
        "~/models/tiny.Q4_K_M.gguf",
        "TheBloke/Tiny-GGUF/tiny.gguf",
        "http://127.0.0.1:8001/v1#Qwen/Qwen3-4B",
        "https://api.team.example/v1#model@latest",
        "ollama://127.0.0.1:11434#llama3.2:3b",
        "lmstudio://localhost:1234",
    ],
)
def test_every_kind_of_name_is_taken_as_it_is(name: str) -> None:
    assert parse(page(row(name=f"`{name}`"))).rows[0].name == name


@pytest.mark.parametrize(
    ("name", "what", "meant"),
    [
        ("model.bin", "unsafe", ""),
        ("/models/weights.PT", "unsafe", ""),
        ("a/b.pkl", "unsafe", ""),
        ("/models/tiny/model.safetensors", "more than its weights", "/models/tiny"),
        ("gpt2", "its owner is missing", ""),
        ("llama3.2:3b", "not where", "ollama://127.0.0.1:11434#llama3.2:3b"),
        ("htp://host/v1", "addresses do not begin", "http://…"),
        ("ftp://host/model", "addresses do not begin", ""),
        ("http://host:port/v1", "cannot be read", ""),
        ("http:///v1", "no host", ""),
        ("two words", "of no kind", ""),
        ("–", "no technical model name", ""),
        ("a/b\u202ec", "no technical model name", ""),
        ("a/" + "a" * 1000, "no technical model name", ""),
        ("a/" + "a" * 3000, "a text of 3002 characters", ""),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_what_was_meant(name: str, what: str, meant: str) -> None:
    text = page(row(name=name))

    assert what in message(text)
    assert problems(text) == [(3, 28, meant)]


@pytest.mark.parametrize(
    "address",
    [
        "http://user:hunter2@host/v1",
        "http://hunter2@host/v1",
        "http://host/v1?api_key=hunter2",
        "ollama://u:hunter2/x@h",
    ],
)
def test_an_address_with_a_key_is_refused_and_the_key_is_told_to_nobody(address: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(page(row(name=f"`{address}`")))

    assert "do not belong into a page" in refused.value.message
    assert "hunter2" not in refused.value.message + repr(refused.value.details)


def test_all_problems_are_told_at_once_each_with_its_place_and_the_nearest_valid_value() -> None:
    text = page(row("Chat", "M", "7,5 GB", "a/b", "ye", "FP61"), row("Maths", "M", "8", "gpt2", "perhaps", "–"))

    assert problems(text) == [
        (3, 14, "7.5 GB"),
        (3, 29, "yes"),
        (3, 34, "FP16"),
        (4, 15, "8 GB"),
        (4, 19, ""),
        (4, 26, ""),
        (4, 36, ""),
    ]
    told = message(text)
    assert told.startswith("SETTINGS.md has 7 problems\n  line 3, column 14: '7,5 GB' is no size; did you mean 7.5 GB?")
    assert all(len(sentence) < 260 for sentence in told.splitlines())


def test_a_missing_column_is_named_with_the_one_that_was_probably_meant() -> None:
    header = HEADER.replace("Precision", "Precison")

    assert problems(page(CHAT, header=header)) == [(1, header.index("Precison") + 1, "Precision")]
    assert "there is no column Precision, and 'Precison' is none of ours" in message(page(CHAT, header=header))


def test_a_column_that_is_there_twice_is_a_problem() -> None:
    text = page(CHAT + " false |", header=HEADER + " stay loaded |", drawn=DRAWN + "---|")

    assert "the column Stay Loaded is there twice" in message(text)


def test_a_further_column_is_left_alone_and_remarked_on() -> None:
    reading = read(page(CHAT + " fast |", header=HEADER + " Notes |", drawn=DRAWN + "---|"))

    assert reading.table.rows == (LLAMA,)
    assert [warning.message for warning in reading.warnings] == [
        "the column 'Notes' means nothing here and is left alone"
    ]


@pytest.mark.parametrize(
    ("line", "remedy"),
    [(CHAT + " more |", r"\|"), ("| Chat | M |", "add what is missing"), ("Then some prose.", "leave a line free")],
)
def test_a_row_with_another_number_of_cells_is_a_problem(line: str, remedy: str) -> None:
    assert remedy in message(page(CODE, line))
    assert problems(page(CODE, line)) == [(4, 1, "")]


def test_two_models_for_one_category_are_a_problem_however_it_is_written() -> None:
    text = page(CHAT, CODE, CHAT.replace("Conversational Chat", "conversational_CHAT"))

    assert "line 5, column 3: a second model for conversational_chat; line 3 has the first" in message(text)


def test_a_row_outside_the_table_is_a_problem() -> None:
    assert problems(page(CHAT) + "\n" + CODE) == [(5, 1, "")]
    assert problems(CODE + "\n\n" + page(CHAT)) == [(1, 1, "")]
    assert problems(page(CHAT) + "\n" + CODE.strip("| ")) == [(5, 1, "")]


def test_a_second_model_table_is_a_problem() -> None:
    text = page(CHAT) + "\nMore\n\n" + page(CODE)

    assert "line 7, column 1: a second model table; the first one begins in line 1" in message(text)


def test_a_table_about_something_else_is_prose() -> None:
    text = "| Term | Meaning |\n|---|---|\n| GGUF | a file |\n\n" + page(CHAT)

    assert parse(text).rows == (LLAMA,)


@pytest.mark.parametrize("drawn", ["|===|===|===|===|===|===|", "| a | b | c | d | e | f |"])
def test_a_header_without_the_line_below_it_is_told_with_the_line_to_write(drawn: str) -> None:
    assert problems(page(CHAT, drawn=drawn))[0] == (1, 1, "|---|---|---|---|---|---|")


def test_a_line_below_the_header_with_too_few_columns_is_a_problem() -> None:
    assert problems(page(CHAT, drawn="|---|---|---|---|---|")) == [(2, 1, "|---|---|---|---|---|---|")]


@pytest.mark.parametrize("text", ["", "\n\n", "# Only prose\n", "| a | b |\n|---|---|\n"])
def test_a_page_without_a_model_table_is_refused(text: str) -> None:
    assert re.search("no model table|is the model table", message(text))


@pytest.mark.parametrize(
    ("opened", "closed"), [("```markdown", "```"), ("~~~~", "~~~~~"), ("<!--", "-->"), ("```", "")]
)
def test_a_table_in_a_fence_or_comment_is_not_the_table(opened: str, closed: str) -> None:
    hidden = f"{opened}\n{page(CODE)}\n{closed}\n"

    assert "stands in a " in message(hidden)
    if closed:
        assert parse(hidden + page(CHAT)).rows == (LLAMA,)


def test_an_indented_table_is_code_and_told_so() -> None:
    text = "prose\n\n" + "".join(f"    {line}\n" for line in page(CHAT).splitlines())

    assert "line 3, column 1: the header of the table is indented, so it is code" in message(text)


def test_a_row_can_be_commented_out() -> None:
    assert parse(page(f"<!-- {CODE} -->", CHAT)).rows == (LLAMA,)


def test_the_persona_ends_at_the_next_heading_of_its_rank_and_leaves_comments_out() -> None:
    text = (
        f"## Persona ##\n\nBe kind.\n\n<!-- not\nthis -->\n### In detail\n* brief\n\n## Models\n\nprose\n\n{page(CHAT)}"
    )

    assert parse(text).persona == "Be kind.\n\n### In detail\n* brief"


def test_a_heading_within_a_fence_does_not_end_the_persona() -> None:
    text = f"## Conversational Persona\n```\n# no heading\n```\n{page(CHAT)}"

    assert parse(text).persona == "```\n# no heading\n```"


def test_a_persona_may_follow_the_table() -> None:
    assert parse(f"{page(CHAT)}\n## Conversational Persona\n\nBe kind.\n").persona == "Be kind."


def test_the_placeholder_of_the_source_is_no_persona() -> None:
    reading = read(SOURCE.replace("You are kind.", "[Your conversational persona here]"))

    assert reading.table.persona == ""
    assert "still the placeholder" in reading.warnings[0].message


def test_a_persona_whose_heading_is_none_is_remarked_on() -> None:
    reading = read(SOURCE.replace("## Conversational Persona", "**Conversational Persona**"))

    assert reading.table.persona == ""
    assert reading.warnings[0].sentence == (
        "line 3, column 1: this is no heading, so there is no persona; write it as `## Conversational Persona`"
    )


def test_two_personas_are_a_problem() -> None:
    assert "a second persona; the first one begins in line 3" in message(SOURCE + "\n# Persona\nAnother\n")


def test_a_category_without_an_engine_is_remarked_on_with_the_nearest_one() -> None:
    reading = read(page(row("Code Completion"), row("Translations")), known=["code_completion", "translation"])

    assert [(one.line, one.column, one.nearest) for one in reading.warnings] == [(4, 3, "Translation")]
    assert len(reading.table.rows) == 2


def test_embeddings_need_no_engine() -> None:
    assert read(page(row("Embeddings")), known=["code_completion", "translation"]).warnings == ()


def test_a_size_told_of_another_precision_is_remarked_on() -> None:
    reading = read(page(row(size="~4GB (4-bit)", precision="FP16")))

    assert [one.message for one in reading.warnings] == ["the size is told of 4-bit, the precision is FP16"]


def test_a_precision_may_be_left_out_only_where_it_does_not_count() -> None:
    assert parse(page(row(name="/m/tiny.gguf", precision="–"))).rows[0].precision is Precision.FP16
    assert "there is no precision" in message(page(row(precision="–")))


def test_a_row_without_a_category_is_a_problem() -> None:
    assert "the row names no category" in message(page(row("**?!**")))


@pytest.mark.parametrize(("sign", "name"), [("\0", "a NUL character"), ("\x1b", "U+001B"), ("\x7f", "U+007F")])
def test_control_characters_are_refused_with_their_place(sign: str, name: str) -> None:
    text = SOURCE.replace("kind.", f"ki{sign}nd.")

    assert name in message(text)
    assert problems(text) == [(4, 11, "")]


def test_a_page_that_is_no_text_is_refused_with_its_place() -> None:
    assert decode(SOURCE.encode()) == SOURCE
    with pytest.raises(SettingsError, match=r"line 2, column 3: the byte 0xff is no UTF-8"):
        decode(b"\xef\xbb\xbfa\r\nb\xc3\xa4\xff")
    with pytest.raises(SettingsError, match="UTF-16"):
        decode(SOURCE.encode("utf-16"))


def test_a_page_of_a_megabyte_is_read_and_a_larger_one_refused() -> None:
    prose = "A line of prose about models, fifty characters it has.\n" * 18_000
    whole = prose + "\n" + SOURCE

    assert parse(whole) == parse(SOURCE)
    assert "larger than 1 MiB" in message(prose + whole)


def test_a_page_of_nonsense_is_refused_with_a_bounded_message() -> None:
    text = page(*["| a | b |"] * 5000)

    with pytest.raises(SettingsError) as refused:
        parse(text)
    assert refused.value.message.startswith("SETTINGS.md has 5000 problems")
    assert len(refused.value.message) < 5000
    assert refused.value.details["count"] == 5000
    assert len(list(refused.value.details["problems"])) == 500  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("title", "category"),
    [
        ("Conversational Chat", "conversational_chat"),
        ("  Q&A / FAQ ", "q_a_faq"),
        ("legal_analysis", "legal_analysis"),
        ("Über-Setzung", "über_setzung"),
        ("Trans\u200blation", "translation"),
        ("!?", ""),
    ],
)
def test_a_category_is_named_by_the_words_of_its_title(title: str, category: str) -> None:
    assert slug(title) == category


def test_the_example_is_valid_and_loads_nothing_by_itself() -> None:
    reading = read(EXAMPLE)

    assert reading.warnings == ()
    assert reading.table.persona
    assert not any(row.stay_loaded for row in reading.table.rows)


def test_the_digest_is_of_the_meaning_not_of_the_spelling() -> None:
    other = SOURCE.replace(f"{CHAT}\n{CODE}", f"{CODE}\n{CHAT}").replace("~8GB (FP16)", "8 GB").replace("true", "Yes")

    assert parse(other).digest == parse(SOURCE).digest
    assert parse(SOURCE.replace("kind", "brief")).digest != parse(SOURCE).digest
    assert parse(SOURCE.replace("| 4-bit |", "| 8-bit |")).digest != parse(SOURCE).digest


PIECES = st.sampled_from(
    [
        *(
            "\n",
            "\r\n",
            "\t",
            "    ",
            "\0",
            "\ufeff",
            " ",
            "|",
            "\\|",
            "```",
            "<!--",
            "-->",
            "**",
            "`",
            "_",
            "#",
            "---",
        ),
        *("## Persona", "http://u:p@h", "~8GB (", "a/b", "true", "FP16", "1 GB", *HEADER.split("|")),
    ]
)


@given(st.lists(PIECES | st.sampled_from([f"\n\n{HEADER}\n{DRAWN}\n", f"{CHAT}\n", f"{CODE}\n"]) | st.text(max_size=3)))
def test_whatever_is_written_is_read_or_refused_with_places_that_exist(pieces: list[str]) -> None:
    text = "".join(pieces)
    lines = re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff"))
    found: Sequence[Any] = ()
    try:
        parse(text)
    except SettingsError as refused:
        found = refused.details["problems"]  # type: ignore[assignment]

    assert all(one["line"] == 0 or 1 <= one["column"] <= len(lines[one["line"] - 1]) + 1 for one in found)
