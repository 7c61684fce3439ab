from dataclasses import replace

import pytest
from tests.serving.engines.scripted import FACTS, OneModelDesk, ScriptedRunner, tokens_in, without_filling_in

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Finish, Piece, Sampling, Usage
from conductor.serving.engine import Answer
from conductor.serving.engines.code_completion import CodeCompletion, CodeCompletionOptions, RememberedAnswers

pytestmark = pytest.mark.anyio
PREFIX = "import math\n\ndef area(r):\n"
BODY = "    return math.pi * r ** 2"


def engine(runner: ScriptedRunner) -> CodeCompletion:
    return CodeCompletion(OneModelDesk(runner))


async def test_both_sides_are_read_and_the_generation_ends_with_the_unit() -> None:
    runner = ScriptedRunner(BODY + "\n\nprint(area(2))\n", endless=True)
    answer = await engine(runner).generate(PREFIX, CodeCompletionOptions(suffix="\n\nprint(area(1))\n"))
    assert (answer.text, answer.finish, answer.notes) == (BODY, Finish.STOP, ())
    assert (runner.asked[0].prompt, runner.asked[0].suffix) == (PREFIX, "\n\nprint(area(1))\n")
    assert runner.open == 0
    assert runner.pieces_made < 40
    assert answer.facts["filled_in"] is True
    language = answer.facts["language"]
    assert isinstance(language, dict)
    assert (language["name"], language["by"]) == ("python", "content")
    assert answer.usage.prompt_tokens == tokens_in(PREFIX + "\n\nprint(area(1))\n")
    assert tokens_in(BODY) <= answer.usage.completion_tokens <= tokens_in(BODY) + 8


async def test_a_model_that_cannot_fill_in_reads_the_prefix_and_the_answer_says_so() -> None:
    runner = without_filling_in(ScriptedRunner(BODY))
    answer = await engine(runner).generate(PREFIX, CodeCompletionOptions(suffix="\nprint(1)\n"))
    assert runner.asked[0].suffix == ""
    assert answer.facts["filled_in"] is False
    assert answer.notes == ("the model cannot fill in: it read only the text before the cursor, not the text after it",)


async def test_the_stream_is_the_answer_and_nothing_beyond_the_suffix() -> None:
    runner = ScriptedRunner("x)\nprint(y)\n", size=1)
    parts = [part async for part in engine(runner).generate_stream("print(", CodeCompletionOptions(suffix=")\n"))]
    assert isinstance(parts[-1], Answer)
    assert "".join(part.text for part in parts[:-1] if isinstance(part, Piece)) == parts[-1].text == "x"


async def test_the_same_question_is_answered_from_memory() -> None:
    runner = ScriptedRunner(BODY)
    completing = engine(runner)
    first = await completing.generate(PREFIX, CodeCompletionOptions())
    again = await completing.generate(PREFIX, CodeCompletionOptions())
    assert (first.facts["cached"], again.facts["cached"]) == (False, True)
    assert again.text == first.text
    assert again.usage == Usage(prompt_tokens=0, completion_tokens=0)
    assert len(runner.asked) == 1


async def test_what_was_forgotten_while_it_was_written_is_asked_anew() -> None:
    runner = ScriptedRunner(BODY, BODY, BODY)
    completing = engine(runner)
    async for _ in completing.generate_stream(PREFIX, CodeCompletionOptions()):
        completing.forget()
    assert (await completing.generate(PREFIX, CodeCompletionOptions())).facts["cached"] is False
    completing.forget()
    assert (await completing.generate(PREFIX, CodeCompletionOptions())).facts["cached"] is False


@pytest.mark.parametrize(
    "other",
    [
        CodeCompletionOptions(suffix="\nx"),
        CodeCompletionOptions(file_name="a.js"),
        CodeCompletionOptions(language="go"),
        CodeCompletionOptions(whole_unit=False),
        CodeCompletionOptions(sampling=Sampling(temperature=0, max_tokens=7)),
        CodeCompletionOptions(sampling=Sampling(temperature=1, seed=3)),
    ],
)
async def test_another_question_is_not_answered_from_memory(other: CodeCompletionOptions) -> None:
    runner = ScriptedRunner(BODY, BODY)
    completing = engine(runner)
    await completing.generate(PREFIX, CodeCompletionOptions())
    assert (await completing.generate(PREFIX, other)).facts["cached"] is False


async def test_what_may_come_out_differently_is_not_remembered() -> None:
    runner = ScriptedRunner(BODY, BODY)
    completing = engine(runner)
    for _ in range(2):
        await completing.generate(PREFIX, CodeCompletionOptions(sampling=Sampling(temperature=0.5)))
    assert len(runner.asked) == 2


async def test_another_model_does_not_answer_from_the_memory_of_the_first() -> None:
    runner = ScriptedRunner(BODY, "    pass")
    completing = engine(runner)
    await completing.generate(PREFIX, CodeCompletionOptions())
    runner._facts = replace(FACTS, model="another")  # type: ignore[arg-type]
    assert (await completing.generate(PREFIX, CodeCompletionOptions())).text == "    pass"


def test_memory_is_bounded_in_answers_and_in_characters() -> None:
    few = RememberedAnswers(answers=3, characters=10_000)
    for number in range(10):
        few.keep(number, Answer(text="x"))
    assert (len(few), few.find(6), few.find(7) is not None) == (3, None, True)
    small = RememberedAnswers(answers=1000, characters=1000)
    for number in range(100):
        small.keep(number, Answer(text="x" * 90))
    small.keep("big", Answer(text="x" * 900))
    assert len(small) <= 10
    assert small.find("big") is None


async def test_code_beyond_the_context_is_read_near_the_cursor_and_the_answer_says_so() -> None:
    runner = ScriptedRunner("    y = 2\n")
    prefix = "x = 1\n" * 3000 + "def f():\n"
    answer = await engine(runner).generate(prefix, CodeCompletionOptions())
    assert prefix.endswith(runner.asked[0].prompt)
    assert 4000 < len(runner.asked[0].prompt) < 8000
    assert answer.facts["unread_characters"] == len(prefix) - len(runner.asked[0].prompt)
    assert "did not fit the model's context" in answer.notes[0]


@pytest.mark.parametrize(
    ("prompt", "options", "field"),
    [(" \n", CodeCompletionOptions(), "prompt"), ("x", CodeCompletionOptions(language="klingon"), "language")],
)
async def test_senseless_requests_are_refused(prompt: str, options: CodeCompletionOptions, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await engine(ScriptedRunner()).generate(prompt, options)
    assert refused.value.field == field
