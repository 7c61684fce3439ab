"""Model `auto`: which category is chosen by the reading and by what is served, and the sentence that says why."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.simulated import LoopClock, row

from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.model import Category, ModelState, Precision
from conductor.serving.choosing import Candidate, Choice, candidates, choose, chosen
from conductor.serving.registry import ModelKey, Registry
from conductor.serving.settings_md.parse import parse

CODE, CHAT, MATH, GENERAL = (
    Category(name) for name in ("code_generation", "conversational_chat", "mathematical_reasoning", "general_reasoning")
)
HEAD = """| Category/Area | Best Open Source Model | VRAM/RAM Requirements | Technical Model Name | Stay Loaded | Precision |
|---|---|---|---|---|---|"""


def served(*categories: Category, loaded: Category | None = None, failed: Category | None = None) -> list[Candidate]:
    states = {loaded: ModelState.LOADED, failed: ModelState.ERROR}
    return [
        Candidate(category=category, title=f"M-{category[:4]}", state=states.get(category, ModelState.ABSENT))
        for category in categories
    ]


def test_the_likeliest_category_is_chosen_and_said() -> None:
    assert chosen({CODE: 0.8, CHAT: 0.2}, served(CHAT, CODE)) == Choice(
        category=CODE,
        title="M-code",
        why="M-code for code generation: the request reads like code generation.",
        probability=0.8,
    )


def test_a_loaded_model_is_preferred_only_where_the_reading_leaves_it_open() -> None:
    close = chosen({CODE: 0.45, MATH: 0.40}, served(CODE, MATH, loaded=MATH))
    assert close.category == MATH
    assert close.why == (
        "M-math for mathematical reasoning: the request may be code generation or mathematical reasoning, "
        "and this model is loaded."
    )
    assert chosen({CODE: 0.60, MATH: 0.35}, served(CODE, MATH, loaded=MATH)).category == CODE


def test_a_request_of_no_particular_kind_goes_to_the_general_engines_in_their_order() -> None:
    faint = {CODE: 0.2, MATH: 0.2}
    assert chosen(faint, served(CODE, CHAT, GENERAL)).category == GENERAL
    assert chosen(faint, served(CODE, CHAT)).category == CHAT
    assert chosen(faint, served(CODE, MATH, loaded=MATH)).category == MATH
    assert chosen(faint, served(CODE, MATH)).category == CODE
    assert "of no particular kind" in chosen(faint, served(CODE, CHAT)).why


def test_what_nobody_serves_or_has_failed_is_said() -> None:
    unserved = chosen({MATH: 0.9, CODE: 0.05}, served(CODE, CHAT))
    assert unserved.category == CHAT
    assert "reads like mathematical reasoning, which no model serves" in unserved.why
    failed = chosen({MATH: 0.9}, served(MATH, CHAT, CODE, failed=MATH))
    assert failed.category == CHAT
    assert "mathematical reasoning, whose model has failed" in failed.why


def test_where_everything_has_failed_the_likeliest_is_tried_again() -> None:
    all_failed = [Candidate(category=one, title="x", state=ModelState.ERROR) for one in (CHAT, MATH)]
    assert chosen({MATH: 0.9}, all_failed).category == MATH


def test_the_only_one_is_chosen_without_reading() -> None:
    class NeverAsked:
        async def categories(self, text: str) -> Mapping[Category, float]:
            raise AssertionError("there is nothing to choose")

    answer = asyncio.run(choose("write a poem", served(CODE), NeverAsked()))
    assert answer.why == "M-code for code generation: it is the only one that is served."


def test_nothing_served_is_an_error_with_a_remedy() -> None:
    with pytest.raises(NotFound, match=r"add one to SETTINGS\.md"):
        chosen({CODE: 1.0}, [])


def test_a_long_request_is_read_by_its_beginning_and_its_end() -> None:
    class Remembers:
        seen = ""

        async def categories(self, text: str) -> Mapping[Category, float]:
            self.seen = text
            return {CODE: 1.0}

    reader = Remembers()
    text = "Translate this: " + "x" * 100_000 + " – into French"
    assert asyncio.run(choose(text, served(CODE, CHAT), reader)).category == CODE
    assert reader.seen.startswith("Translate this: ")
    assert reader.seen.endswith(" – into French")
    assert len(reader.seen) < 2_100


def test_candidates_are_the_rows_with_the_states_of_their_models() -> None:
    registry = Registry(clock=LoopClock())
    rows = [row("chat", "llama"), row("code", "llama"), row("math", "other")]

    async def enter() -> None:  # the clock is the loop's
        registry.enter(ModelKey(rows[0].name, Precision.FP16), [Category("chat"), Category("code")])
        registry.move(ModelKey(rows[0].name, Precision.FP16), ModelState.WAITING)

    asyncio.run(enter())
    assert [(one.category, one.title, one.state.value) for one in candidates(rows, registry)] == [
        ("chat", "Llama", "waiting"),
        ("code", "Llama", "waiting"),
        ("math", "Other", "absent"),
    ]


@given(
    probabilities=st.dictionaries(st.sampled_from([CODE, CHAT, MATH, GENERAL]), st.floats(0, 1)),
    states=st.lists(st.sampled_from(list(ModelState)), min_size=1, max_size=4),
)
def test_whatever_is_read_something_served_is_chosen_and_explained_in_one_sentence(
    probabilities: dict[Category, float], states: list[ModelState]
) -> None:
    all_of_them = [
        Candidate(category=category, title=category, state=state)
        for category, state in zip((CODE, CHAT, MATH, GENERAL), states, strict=False)
    ]
    answer = chosen(probabilities, all_of_them)
    assert answer.category in {one.category for one in all_of_them}
    assert answer.why.endswith(".")
    assert answer.why.count(".") == 1
    if any(one.state is not ModelState.ERROR for one in all_of_them):
        assert next(one for one in all_of_them if one.category == answer.category).state is not ModelState.ERROR


def with_eyes(**sees: bool | None) -> list[Candidate]:
    return [
        Candidate(category=Category(name), title=f"M-{name[:4]}", state=ModelState.ABSENT, sees=one)
        for name, one in sees.items()
    ]


class Reads:
    """Reads the same of every request."""

    def __init__(self, **shares: float) -> None:
        self.shares = {Category(name): share for name, share in shares.items()}

    async def categories(self, text: str) -> Mapping[Category, float]:
        return self.shares


def shown(served: list[Candidate], **shares: float) -> Choice:
    return asyncio.run(choose("what is this?", served, Reads(**shares), with_pictures=True))


def test_a_picture_goes_to_a_model_that_sees_whatever_the_request_reads_like() -> None:
    eyes = with_eyes(code_generation=False, conversational_chat=True, general_reasoning=True)
    assert shown(eyes, code_generation=0.9).category == GENERAL
    assert "reads like code generation, whose model sees no pictures" in shown(eyes, code_generation=0.9).why
    assert shown(eyes, conversational_chat=0.9).category == CHAT
    only = shown(with_eyes(code_generation=False, conversational_chat=True), code_generation=0.9)
    assert only.why == "M-conv for conversational chat: it is the only one that sees pictures."


def test_models_that_are_known_to_see_come_before_those_that_may() -> None:
    assert shown(with_eyes(general_reasoning=None, conversational_chat=True), general_reasoning=0.9).category == CHAT
    assert shown(with_eyes(general_reasoning=None, conversational_chat=False)).category == GENERAL


def test_where_no_model_sees_the_row_that_would_help_is_named() -> None:
    with pytest.raises(InvalidInput) as chat:
        shown(with_eyes(general_reasoning=False, embeddings=True))
    with pytest.raises(InvalidInput) as full:
        shown(
            with_eyes(
                general_reasoning=False, conversational_chat=False, question_answering=False, creative_writing=False
            )
        )
    row = next(part for part in chat.value.message.splitlines() if "| Conversational Chat |" in part)
    table = parse(f"{HEAD}\n{row[row.index('|') :]}".replace("HOST:PORT", "host:1"))

    assert [(each.category, each.name) for each in table.rows] == [(CHAT, "http://host:1/v1#MODEL")]
    assert "in place of M-gene into the row General Reasoning of SETTINGS.md" in full.value.message


def test_whether_a_model_sees_is_known_from_its_name_until_it_is_loaded() -> None:
    registry = Registry(clock=LoopClock())
    rows = [row("chat", "http://host/v1#m"), row("code", "owner/name"), row("math", "llama-server:m.gguf")]
    assert [one.sees for one in candidates(rows, registry)] == [None, False, False]
