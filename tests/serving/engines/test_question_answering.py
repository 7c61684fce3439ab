"""Answers from a context: quoted word for word, silent where it is silent, and the right passages of a long one."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.engines.told_model import OneModelDesk, ToldModel, streamed, user_said

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Generation
from conductor.serving.engines.question_answering import NOT_IN_CONTEXT, QuestionAnswering, QuestionOptions
from conductor.serving.texts.passages import passages, ranked, terms

CONTEXT = "The bridge was opened in 1932. It is 1,149 metres long and carries eight lanes."


def form(answer: str, *quotations: str, in_context: bool = True) -> str:
    return json.dumps({"in_context": in_context, "answer": answer, "quotations": quotations})


@pytest.mark.anyio
async def test_an_answer_comes_with_the_words_that_prove_it() -> None:
    model = ToldModel([form("In 1932.", "opened in 1932")])
    told, answer, _ = await streamed(QuestionAnswering(OneModelDesk(model)), "When?", QuestionOptions(context=CONTEXT))
    assert told == answer.text == "In 1932."
    assert answer.facts["quotations"] == [{"text": "opened in 1932", "start": 15, "end": 29}]
    assert (answer.facts["supported"], answer.notes) == (True, ())


@pytest.mark.anyio
async def test_an_invented_quotation_proves_nothing() -> None:
    model = ToldModel([form("It cost 5 million.", "it cost 5 million pounds")])
    answer = await QuestionAnswering(OneModelDesk(model)).generate("Cost?", QuestionOptions(context=CONTEXT))
    assert answer.facts["supported"] is False
    assert answer.notes == (
        "1 quotations do not stand in the context and were left out",
        "no quotation from the context supports this answer",
        "numbers that the context does not have: 5",
    )


@pytest.mark.anyio
async def test_a_context_that_does_not_answer_is_an_answer_too() -> None:
    model = ToldModel([form("", in_context=False)])
    answer = await QuestionAnswering(OneModelDesk(model)).generate("Who built it?", QuestionOptions(context=CONTEXT))
    assert (answer.text, answer.facts["answered"], answer.notes) == (NOT_IN_CONTEXT, False, ())


@pytest.mark.anyio
async def test_a_form_filled_in_badly_is_repaired_once() -> None:
    model = ToldModel(["Well, in 1932!", "```json\n" + form("In 1932.", "opened in 1932") + "\n```"])
    answer = await QuestionAnswering(OneModelDesk(model)).generate("When?", QuestionOptions(context=CONTEXT))
    assert (answer.text, answer.facts["rounds"], answer.notes) == ("In 1932.", 2, ())


@pytest.mark.anyio
async def test_a_model_that_never_fills_in_the_form_has_answered_without_proof() -> None:
    model = ToldModel(["In 1932.", "In 1932, I said."])
    answer = await QuestionAnswering(OneModelDesk(model)).generate("When?", QuestionOptions(context=CONTEXT))
    assert answer.text == "In 1932, I said."
    assert "no quotation from the context supports this answer" in answer.notes


@pytest.mark.anyio
async def test_what_was_thought_aloud_is_no_part_of_the_answer() -> None:
    model = ToldModel(["<think>1932, or was it 1933?</think> In 1932.", "<think>Again.</think> In 1932."])
    answer = await QuestionAnswering(OneModelDesk(model)).generate("When?", QuestionOptions(context=CONTEXT))
    assert answer.text == "In 1932."


@pytest.mark.anyio
async def test_a_model_that_can_be_constrained_gets_the_form_and_no_words_about_it() -> None:
    model = ToldModel([form("In 1932.", "opened in 1932")], constrains=True)
    await QuestionAnswering(OneModelDesk(model)).generate("When?", QuestionOptions(context=CONTEXT))
    [asked] = model.asked
    assert asked.form is not None
    assert "Schema" not in user_said(asked)


@pytest.mark.anyio
async def test_of_a_long_context_the_passages_that_fit_the_question_are_shown_in_order() -> None:
    filler = "Trees grow slowly and rivers run to the sea in all the valleys around. " * 8
    parts = [f"{filler}\n\n" for _ in range(60)]
    parts[41] = "The zeppelin landed in Friedrichshafen.\n\n"
    parts[7] = "A zeppelin needs hydrogen.\n\n"

    def reads(asked: Generation) -> str:
        seen = user_said(asked)
        assert seen.index("needs hydrogen") < seen.index("Friedrichshafen")
        return form("In Friedrichshafen.", "landed in Friedrichshafen")

    model = ToldModel(reads, context_tokens=1200)
    context = "".join(parts)
    answer = await QuestionAnswering(OneModelDesk(model)).generate(
        "Where did the zeppelin land?", QuestionOptions(context=context)
    )
    [quotation] = answer.facts["quotations"]  # type: ignore[misc]
    assert context[quotation["start"] : quotation["end"]] == "landed in Friedrichshafen"
    assert any("passages were shown" in note for note in answer.notes)


@pytest.mark.anyio
async def test_a_context_too_small_for_one_passage_is_refused_with_its_size() -> None:
    model = ToldModel(["x"], context_tokens=60)
    with pytest.raises(InvalidInput, match="60 tokens"):
        await QuestionAnswering(OneModelDesk(model)).generate("When?", QuestionOptions(context=CONTEXT * 50))


@pytest.mark.anyio
@pytest.mark.parametrize(("prompt", "context", "field"), [("", CONTEXT, "prompt"), ("When?", " ", "context")])
async def test_impossible_requests_name_their_field(prompt: str, context: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await QuestionAnswering(OneModelDesk(ToldModel(["x"]))).generate(prompt, QuestionOptions(context=context))
    assert refused.value.field == field


def test_bm25_is_the_published_formula() -> None:
    texts = ["a b", "a a c d", "e"]
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    mean = 7 / 3
    expected = {
        place: idf * n * 2.2 / (n + 1.2 * (0.25 + 0.75 * length / mean)) for place, n, length in [(0, 1, 2), (1, 2, 4)]
    }
    scores = dict(ranked("a", texts))
    assert scores[0] == pytest.approx(expected[0])
    assert scores[1] == pytest.approx(expected[1])
    assert scores[2] == 0.0


@given(st.lists(st.text(alphabet="ab c", max_size=12), max_size=8), st.text(alphabet="abc ", max_size=12))
def test_ranking_keeps_every_text_once_and_equals_in_order(texts: list[str], question: str) -> None:
    found = ranked(question, texts)
    assert sorted(place for place, _ in found) == list(range(len(texts)))
    assert found == sorted(found, key=lambda one: (-one[1], one[0]))


@given(st.text(alphabet="ab. \n。", max_size=300))
def test_passages_put_together_are_the_text(text: str) -> None:
    found = passages(text)
    assert "".join(passage.text for passage in found) == text
    assert all(text.startswith(passage.text, passage.start) for passage in found)


def test_scripts_without_spaces_are_read_as_pairs() -> None:
    assert terms("東京タワー abc") == ["東京", "京タ", "タワ", "ワー", "abc"]
    assert ranked("東京はどこ", ["大阪の城", "東京の塔"])[0][0] == 1
