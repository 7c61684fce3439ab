from dataclasses import replace

import pytest
from tests.serving.engines.scripted import FACTS, OneModelDesk, ScriptedRunner

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Piece
from conductor.serving.engine import Answer
from conductor.serving.engines.mathematical_reasoning import MathematicalReasoning, MathOptions, steps_in
from conductor.serving.mathematics.given import final_answer

pytest.importorskip("sympy", reason="checking needs the extra `math`")
pytestmark = pytest.mark.anyio
PROBLEM = "Solve x^2 - 5x + 6 = 0."
RIGHT = (
    "1. Factor: $(x-2)(x-3) = 0$.\n2. A product is zero\n   where a factor is.\n\nFinal answer: $\\boxed{x = 2, x = 3}$"
)
WRONG = "1. Guess.\nFinal answer: $\\boxed{x = 1}$"


def engine(runner: ScriptedRunner) -> MathematicalReasoning:
    return MathematicalReasoning(OneModelDesk(runner))


async def test_a_right_solution_is_verified_with_its_steps() -> None:
    answer = await engine(ScriptedRunner(RIGHT)).generate(PROBLEM, MathOptions())
    assert answer.facts["final_answer"] == "x = 2, x = 3"
    assert answer.facts["steps"] == ["Factor: $(x-2)(x-3) = 0$.", "A product is zero\n   where a factor is."]
    assert answer.facts["check"] == {
        "verdict": "verified",
        "reason": "each given value satisfies it, and there are no other real solutions",
    }
    assert answer.notes == ()


async def test_a_wrong_answer_is_told_to_the_model_and_tried_once_more() -> None:
    runner = ScriptedRunner(WRONG, RIGHT)
    answer = await engine(runner).generate(PROBLEM, MathOptions())
    assert "with x = 1 the left side is 2, the right side is 0" in runner.asked[1].messages[-1].content
    attempts = answer.facts["attempts"]
    assert isinstance(attempts, list)
    assert [attempt["verdict"] for attempt in attempts] == ["contradicted", "verified"]
    assert answer.text == RIGHT


async def test_a_second_wrong_answer_is_said_to_be_wrong() -> None:
    runner = ScriptedRunner(WRONG, WRONG)
    answer = await engine(runner).generate(PROBLEM, MathOptions())
    assert len(runner.asked) == 2
    assert answer.notes[0].startswith("the final answer is wrong: with x = 1")


async def test_where_a_second_attempt_does_not_fit_the_context_the_first_answer_stands() -> None:
    runner = ScriptedRunner(WRONG, facts=replace(FACTS, context_tokens=150))
    answer = await engine(runner).generate(PROBLEM, MathOptions())
    assert answer.text == WRONG
    assert answer.notes[0].startswith("the final answer is wrong")
    assert answer.notes[1].startswith("no second attempt was made")


async def test_without_retry_the_first_answer_stands() -> None:
    runner = ScriptedRunner(WRONG)
    answer = await engine(runner).generate(PROBLEM, MathOptions(retry=False))
    assert (len(runner.asked), answer.text) == (1, WRONG)


async def test_a_word_problem_is_checked_against_the_formula_that_is_given_for_it() -> None:
    story = "Ann is three times as old as Bob; in ten years twice as old. How old is Bob?"
    written = "1. Let x be Bob's age.\nFinal answer: $\\boxed{10}$"
    alone = await engine(ScriptedRunner(written)).generate(story, MathOptions())
    helped = await engine(ScriptedRunner(written)).generate(story, MathOptions(formula="Solve 3x + 10 = 2(x + 10)"))
    assert "the final answer was not checked: the problem says more than its formulas" in alone.notes[0]
    assert helped.notes == ()


async def test_an_answer_out_of_form_is_not_checked_and_that_is_said() -> None:
    answer = await engine(ScriptedRunner("It is obvious.")).generate(PROBLEM, MathOptions())
    assert answer.facts["final_answer"] is None
    assert answer.notes == (
        "the final answer was not checked: the model gave no final answer in the form that was asked for",
    )


async def test_the_stream_holds_both_attempts_and_one_ending() -> None:
    parts = [part async for part in engine(ScriptedRunner(WRONG, RIGHT)).generate_stream(PROBLEM, MathOptions())]
    text = "".join(part.text for part in parts if isinstance(part, Piece))
    assert text.startswith(WRONG)
    assert text.endswith(RIGHT)
    assert sum(part.finish is not None for part in parts if isinstance(part, Piece)) == 1
    assert isinstance(parts[-1], Answer)


async def test_the_problem_stays_out_of_the_system_message() -> None:
    runner = ScriptedRunner(RIGHT)
    await engine(runner).generate(PROBLEM, MathOptions())
    assert [PROBLEM in message.content for message in runner.asked[0].messages] == [False, True]
    with pytest.raises(InvalidInput):
        await engine(runner).generate(" ", MathOptions())


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("so \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{1} no, wait: \\boxed{2}", "2"),
        ("**Final Answer:** 42.", "42"),
        ("The final answer is $x = 3$.", "x = 3"),
        ("Final answer:\n\n$$x = 3$$\n", "x = 3"),
        ("Answer: \\(7\\)", "7"),
        ("Final answer: 1\nbut more\nFinal answer: 2", "2"),
        ("\\boxed{1", None),
        ("no answer here is final", None),
        ("", None),
    ],
)
def test_the_final_answer_is_found(written: str, answer: str | None) -> None:
    assert final_answer(written) == answer


def test_a_number_in_a_step_does_not_begin_one() -> None:
    assert steps_in("Step 1: add\n7. is not next\n**2.** subtract\nFinal answer: 3\n3. later") == (
        "add\n7. is not next",
        "subtract",
    )
