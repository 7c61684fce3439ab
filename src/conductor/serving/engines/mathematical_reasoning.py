"""Mathematical reasoning: numbered steps, LaTeX, and a final answer that is checked instead of believed.

The model is asked for a fixed form. Its final answer is held against the problem (`mathematics.check`); where it is
contradicted, the model is told so and asked once more. The steps themselves are not checked, and no answer says they were.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Final

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Finish, Generation, Message, Piece, Role, Sampling
from conductor.domain.json import JsonObject
from conductor.domain.model import Category
from conductor.serving.engine import Answer, Engine, EngineOptions
from conductor.serving.generations import NO_ROOM, Hearing
from conductor.serving.mathematics.check import check_answer
from conductor.serving.mathematics.given import final_answer
from conductor.serving.mathematics.verdict import Check, Verdict
from conductor.serving.texts.thoughts import thoughts_apart

_STEP: Final = re.compile(
    r"^[ \t]*(?:\*\*)?(?:step[ \t]+)?(\d{1,3})[ \t]*[.):][ \t]*(?:\*\*)?[ \t]*", re.IGNORECASE | re.MULTILINE
)
_END_OF_STEPS: Final = re.compile(r"^[ \t*_#>]*(?:the\s+)?(?:final\s+answer)\b", re.IGNORECASE | re.MULTILINE)


class MathContext(StrEnum):
    """The part of mathematics that a problem belongs to."""

    ANY = ""
    ARITHMETIC = "arithmetic"
    ALGEBRA = "algebra"
    GEOMETRY = "geometry"
    CALCULUS = "calculus"
    PROBABILITY = "probability"
    NUMBER_THEORY = "number_theory"
    LINEAR_ALGEBRA = "linear_algebra"


_CONTEXTS: Final = {
    MathContext.ANY: "",
    MathContext.ARITHMETIC: "Compute exactly: keep fractions and roots, and round only if asked to.",
    MathContext.ALGEBRA: "Give all solutions, exclude those that the equation is not defined for, and try each in it.",
    MathContext.GEOMETRY: "Name the theorem behind each step and keep units.",
    MathContext.CALCULUS: "Name the rule behind each step; write + C after an indefinite integral.",
    MathContext.PROBABILITY: "Say what the outcomes are and whether they are equally likely, before computing.",
    MathContext.NUMBER_THEORY: "Justify each divisibility and cover every case.",
    MathContext.LINEAR_ALGEBRA: "Give dimensions, and show each row operation.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MathOptions(EngineOptions):
    """How a problem is treated.

    Args:
        formula: what the answer is checked against, as `Solve x^2 = 4`, where the problem's text does not hold it plainly.
        retry: ask once more where the answer is contradicted.
    """

    context: MathContext = MathContext.ANY
    formula: str = ""
    retry: bool = True


class MathematicalReasoning(Engine[MathOptions]):
    """Solves problems in steps and has the result checked."""

    category = Category("mathematical_reasoning")
    purpose = (
        "Solves problems in numbered steps and checks the final answer by substitution, differentiation or computing."
    )
    options_type = MathOptions
    sampling: ClassVar[Sampling] = Sampling(temperature=0.0)

    def system_prompt(self, options: MathOptions) -> str:
        """The form of the answer, and what matters in this part of mathematics."""
        return (
            "You solve mathematical problems. Write numbered steps, one idea each, with all formulas in LaTeX between "
            f"dollar signs. {_CONTEXTS[options.context]}\nEnd with exactly one line:\nFinal answer: $\\boxed{{...}}$\n"
            "Put only the result into the box: a value, an expression, `x = ...` for each solution separated by commas, or "
            "\\text{no solution}."
        )

    def conclude(self, prompt: str, options: MathOptions, written: str) -> Answer:
        """Steps, final answer, and the verdict on it. Takes milliseconds (the first time a second, to import SymPy)."""
        thoughts, said = thoughts_apart(written)
        answer = final_answer(said)
        if answer is None:
            check = Check(Verdict.NOT_CHECKABLE, "the model gave no final answer in the form that was asked for")
        else:
            check = check_answer(options.formula or prompt, answer)
        facts: JsonObject = {
            "final_answer": answer,
            "steps": list(steps_in(said)),
            "check": {"verdict": check.verdict.value, "reason": check.reason},
            **({"thoughts": thoughts} if thoughts else {}),
        }
        return Answer(text=said, facts=facts, notes=_notes(check))

    async def generate_stream(self, prompt: str, options: MathOptions) -> AsyncGenerator[Piece | Answer, None]:
        """As `Engine.generate_stream`; a second attempt follows the first in the stream, and stands alone in the answer."""
        hearing = Hearing()
        async with self.desk.lease(self.category) as runner:
            asked = self.ask(prompt, options, runner.facts)
            async with aclosing(hearing.listen(runner, asked)) as pieces:
                async for piece in pieces:
                    yield piece
            answer = await asyncio.to_thread(self.conclude, prompt, options, hearing.text)
            attempts: list[JsonObject] = [_attempt(answer)]
            if _verdict(answer) is Verdict.CONTRADICTED and options.retry and hearing.finish is Finish.STOP:
                reason = attempts[0]["reason"]
                yield Piece(
                    text=f"\n\n[The final answer was checked and is wrong: {reason}. A second attempt follows.]\n\n"
                )
                try:
                    async with aclosing(hearing.listen(runner, _again(asked, answer))) as pieces:
                        async for piece in pieces:
                            yield piece
                except InvalidInput:  # problem, answer and complaint together do not fit the context
                    answer = replace(answer, notes=(*answer.notes, NO_ROOM))
                else:
                    answer = await asyncio.to_thread(self.conclude, prompt, options, hearing.text)
                    attempts.append(_attempt(answer))
        yield hearing.ending()
        yield hearing.answer(answer.text, {**answer.facts, "attempts": attempts}, answer.notes)


def steps_in(said: str) -> tuple[str, ...]:
    """The numbered steps in order, without their numbers; a number that is not the next one begins no step."""
    end = _END_OF_STEPS.search(said)
    text = said[: end.start()] if end else said
    marks: list[re.Match[str]] = []
    for mark in _STEP.finditer(text):
        if int(mark[1]) == len(marks) + 1:
            marks.append(mark)
    starts = [mark.start() for mark in marks[1:]] + [len(text)]
    return tuple(text[mark.end() : starts[at]].strip() for at, mark in enumerate(marks))


def _verdict(answer: Answer) -> Verdict:
    check = answer.facts["check"]
    assert isinstance(check, dict)
    return Verdict(check["verdict"])


def _attempt(answer: Answer) -> JsonObject:
    check = answer.facts["check"]
    assert isinstance(check, dict)
    return {"final_answer": answer.facts["final_answer"], **check}


def _notes(check: Check) -> tuple[str, ...]:
    if check.verdict is Verdict.VERIFIED:
        return ()
    if check.verdict is Verdict.CONTRADICTED:
        return (f"the final answer is wrong: {check.reason}",)
    return (f"the final answer was not checked: {check.reason}",)


def _again(asked: Generation, answer: Answer) -> Generation:
    check = answer.facts["check"]
    assert isinstance(check, dict)
    request = (
        f"Your final answer was checked and is wrong: {check['reason']}. Find the mistake, and write the whole "
        "solution again in the same form."
    )
    return replace(
        asked,
        messages=(
            *asked.messages,
            Message(role=Role.ASSISTANT, content=answer.text),
            Message(role=Role.USER, content=request),
        ),
    )
