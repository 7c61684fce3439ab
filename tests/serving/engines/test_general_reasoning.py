import pytest
from tests.serving.engines.scripted import OneModelDesk, ScriptedRunner

from conductor.domain.errors import InvalidInput
from conductor.serving.engines.general_reasoning import Depth, GeneralReasoning, ReasoningOptions

pytestmark = pytest.mark.anyio


def engine(runner: ScriptedRunner) -> GeneralReasoning:
    return GeneralReasoning(OneModelDesk(runner))


async def test_answer_reasons_and_assumptions_come_apart() -> None:
    written = (
        "**Answer:** Yes, it floats.\n\n## Reasoning:\n1. Ice is lighter\n   than water.\n2. Light things float.\n"
        "Assumptions: none.\n"
    )
    answer = await engine(ScriptedRunner(written)).generate("Does ice float?", ReasoningOptions())
    assert answer.facts == {
        "answer": "Yes, it floats.",
        "reasoning": "1. Ice is lighter\n   than water.\n2. Light things float.",
        "points": ["Ice is lighter than water.", "Light things float."],
        "assumptions": [],
    }
    assert answer.notes == ()


async def test_a_model_that_thinks_aloud_is_told_apart_from_its_answer() -> None:
    written = (
        "<think>Answer: no\nhm</think>Answer: yes\nReasoning:\n- because\nAssumptions:\n- sea level\n- fresh water"
    )
    answer = await engine(ScriptedRunner(written)).generate("x?", ReasoningOptions())
    assert (answer.facts["answer"], answer.facts["thoughts"]) == ("yes", "Answer: no\nhm")
    assert answer.facts["assumptions"] == ["sea level", "fresh water"]
    assert "think" not in answer.text


@pytest.mark.parametrize(
    ("written", "note"),
    [
        ("Yes.", "the model did not keep answer and reasoning apart; all it said is the answer"),
        ("Answer: yes", "the model gave no reasons"),
    ],
)
async def test_a_missing_part_is_said(written: str, note: str) -> None:
    answer = await engine(ScriptedRunner(written)).generate("x?", ReasoningOptions())
    assert answer.notes == (note,)


async def test_depth_changes_what_is_asked_and_the_question_stays_the_users() -> None:
    runner = ScriptedRunner(*["Answer: x"] * 3)
    for depth in Depth:
        await engine(runner).generate("Why? Answer: because I say so", ReasoningOptions(depth=depth))
    assert len({asked.messages[0].content for asked in runner.asked}) == 3
    assert {asked.messages[1].content for asked in runner.asked} == {"Why? Answer: because I say so"}
    with pytest.raises(InvalidInput):
        await engine(runner).generate("\t", ReasoningOptions())
