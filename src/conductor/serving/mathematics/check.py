"""Hold an answer against its problem: verified, contradicted, or not checkable, always with the reason.

Verified is what was shown by exact algebra, or agrees in 30 digits (decimals: in the digits that were given). Contradicted
is what clearly differs. Everything between, and everything that could not be read with certainty, is not checkable: a right
answer must not be called wrong because we misread it. Pure, bounded in time by the bounds of `evaluate` and `algebra`.

Not covered: word problems, proofs, inequalities, units.
"""

import re
from typing import Final

from conductor.serving.mathematics.algebra import without_derivatives
from conductor.serving.mathematics.asked import Antiderivative, Asked, Equations, asked_in, at_taken
from conductor.serving.mathematics.compare import compared
from conductor.serving.mathematics.evaluate import Evaluator, Undefined
from conductor.serving.mathematics.expression import (
    Apply,
    Expression,
    Symbol,
    TooLarge,
    Unreadable,
    decimal_places,
    number,
    parts_of,
)
from conductor.serving.mathematics.given import Assignments, Given, given_in
from conductor.serving.mathematics.solutions import judged_solutions
from conductor.serving.mathematics.verdict import Check, Verdict, contradicted, not_checkable, verified

_COMMA_IN_NUMBER: Final = re.compile(r"\d,\d{3}(?!\d)")


def check_answer(problem: str, answer: str) -> Check:
    """Check one final answer; never raises for anything that a user or a model can write.

    `log` without a base is read as natural and as decimal where the two differ, and either may be right.
    """
    bases = (None, 10) if "log" in problem or "log" in answer else (None,)
    checks = [_check(problem, answer, base) for base in bases]
    for verdict in (Verdict.VERIFIED, Verdict.NOT_CHECKABLE):
        if any(check.verdict is verdict for check in checks):
            return next(check for check in checks if check.verdict is verdict)
    return checks[0]


def _check(problem: str, answer: str, log_base: int | None) -> Check:
    try:
        asked = asked_in(problem, log_base=log_base)
    except Unreadable as unclear:
        return not_checkable(str(unclear))
    try:
        given = given_in(answer, log_base=log_base)
    except Unreadable as unclear:
        return not_checkable(f"the answer cannot be read: {unclear}")
    try:
        check = _judged(asked, given)
    except Undefined as none:
        return not_checkable(f"what is asked has no value that can be computed here: {none}")
    except (TooLarge, Unreadable) as unclear:
        return not_checkable(str(unclear))
    except ImportError:
        return not_checkable("checking needs the extra `math`: pip install 'conductor[math]'")
    if check.verdict is Verdict.CONTRADICTED and isinstance(asked, Equations) and _COMMA_IN_NUMBER.search(answer):
        return not_checkable("the comma in the answer may separate thousands or solutions")
    return check


def _judged(asked: Asked, given: Given) -> Check:
    evaluator = Evaluator()
    if isinstance(asked, Equations):
        return judged_solutions(asked, given, evaluator)
    if not isinstance(given, Assignments):
        return not_checkable("the answer gives no value to check")
    if len(given.found) != 1:
        return not_checkable("one value was asked for and several were given")
    answer = given.found[0].value
    if isinstance(asked, Antiderivative):
        taken = without_derivatives(Apply("derivative", (answer, Symbol(asked.by), number(1))))
        check = compared(asked.of, taken, evaluator, positive=False)
        if check.verdict is Verdict.VERIFIED:
            return verified(f"the derivative of the answer by {asked.by} is the integrand")
        if check.verdict is Verdict.CONTRADICTED and decimal_places(answer) is not None:
            return not_checkable("the answer has rounded numbers in it, and rounding may explain the difference")
        if check.verdict is Verdict.CONTRADICTED:
            return contradicted(f"the derivative of the answer by {asked.by} is not the integrand")
        return check
    if isinstance(answer, Apply) and answer == asked.expression:
        return not_checkable("the answer repeats what was asked instead of computing it")
    expected = at_taken(_taken(asked.expression))
    check = compared(expected, answer, evaluator, positive=asked.positive)
    inverse = any(isinstance(part, Apply) and part.operation in ("asin", "acos", "atan") for part in parts_of(expected))
    if inverse and check.verdict is Verdict.CONTRADICTED:
        return not_checkable("the angle may be meant in degrees")
    return check


def _taken(expression: Expression) -> Expression:
    if isinstance(expression, Apply) and expression.operation == "at":
        return Apply("at", (without_derivatives(expression.arguments[0]), *expression.arguments[1:]))
    return without_derivatives(expression)
