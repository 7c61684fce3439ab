"""Say whether two expressions are equal: by exact algebra, else by their values.

Expressions in variables are compared at fixed points of no special value; what agrees there in 30 digits is equal but for
contrived exceptions. A number given in decimals counts as equal when it is the other one, rounded.
"""

from collections.abc import Mapping
from typing import Any, Final

from conductor.serving.mathematics.algebra import exactly_equal, rational_value, without_derivatives
from conductor.serving.mathematics.evaluate import Evaluator, Undefined
from conductor.serving.mathematics.expression import Apply, Expression, decimal_places, parts_of, unknowns
from conductor.serving.mathematics.verdict import Check, contradicted, not_checkable, verified

#: Where two expressions in variables are compared; no special values, both signs, small and not so small.
_POINTS: Final = (
    "0.7312",
    "1.6180",
    "2.3174",
    "0.2847",
    "5.1931",
    "3.4426",
    "-0.6127",
    "-1.3758",
    "-2.8519",
    "-4.2643",
)
_LEAST_POINTS: Final = 3


def compared(expected: Expression, answer: Expression, evaluator: Evaluator, *, positive: bool) -> Check:
    """Whether an answer is equal to what is expected; with `positive` only positive variables count.

    Raises:
        Undefined: what is expected has no value.
        TooLarge, Unreadable: it cannot be computed within bounds.
        ImportError: SymPy is not installed.
    """
    answer = without_derivatives(answer)
    if any(isinstance(part, Apply) and part.operation in ("integral", "limit") for part in parts_of(answer)):
        return not_checkable("the answer repeats what was asked instead of computing it")
    if unknowns(answer) - unknowns(expected):
        return not_checkable(f"the answer has {', '.join(sorted(unknowns(answer) - unknowns(expected)))} in it")
    if exactly_equal(expected, answer):
        return verified("exactly equal")
    if unknowns(expected):
        return _compared_at_points(expected, answer, evaluator, positive=positive)
    return _compared_numbers(expected, answer, evaluator)


def _compared_numbers(expected: Expression, answer: Expression, evaluator: Evaluator) -> Check:
    mp = evaluator.mp
    right = evaluator.value(expected)
    try:
        found = evaluator.value(answer)
    except Undefined as none:
        return contradicted(f"the answer has no value: {none}")
    places = decimal_places(answer)
    exact = (rational_value(expected), rational_value(answer))
    if places is None and None not in exact:
        if exact[0] == exact[1]:
            return verified("exactly equal")
        return contradicted(f"the computed value is {shown(right, mp)}, the answer is {shown(found, mp)}")
    rough = any(isinstance(part, Apply) and part.operation in ("integral", "limit") for part in parts_of(expected))
    scale = 1 + abs(right) if rough else abs(right) or 1
    difference = abs(found - right)
    if difference <= scale * mp.mpf(10) ** (-9 if rough else -30):
        return verified("agrees with the computed value" + (" in 9 digits" if rough else " in 30 digits"))
    if places is not None and difference <= mp.mpf("0.5001") * mp.mpf(10) ** -places:
        if difference > scale / 10:
            return not_checkable("so much was rounded away that the answer says little")
        return verified(f"agrees with the computed value in its {places} decimals")
    if places is not None and difference <= scale / 20 and isinstance(answer, Apply) and answer.operation != "neg":
        return not_checkable("the answer computes with rounded numbers")
    if difference <= scale * mp.mpf(10) ** (-6 if rough else -12):
        return not_checkable("the answer is so close to the computed value that they cannot be told apart")
    return contradicted(f"the computed value is {shown(right, mp)}, the answer is {shown(found, mp)}")


def _compared_at_points(expected: Expression, answer: Expression, evaluator: Evaluator, *, positive: bool) -> Check:
    mp = evaluator.mp
    names = sorted(unknowns(expected))
    clearly = mp.mpf(10) ** -10 if decimal_places(answer) is None else mp.mpf(1) / 20
    agreed, differs, unclear = 0, "", False
    agreed_positive, differed_positive = 0, False
    for at in range(len(_POINTS)):
        values = {name: mp.mpf(_POINTS[(at + 3 * order) % len(_POINTS)]) for order, name in enumerate(names)}
        all_positive = all(value > 0 for value in values.values())
        if positive and not all_positive:
            values = {name: abs(value) for name, value in values.items()}
            all_positive = True
        try:
            one, other = evaluator.value(expected, values), evaluator.value(answer, values)
        except Undefined:
            continue
        if mp.im(one) != 0 and abs(mp.im(one)) > mp.mpf(10) ** -40:
            continue  # outside of where it is real, branches decide
        difference = abs(one - other)
        if difference <= (1 + abs(one)) * mp.mpf(10) ** -30:
            agreed, agreed_positive = agreed + 1, agreed_positive + all_positive
        else:
            differed_positive = differed_positive or all_positive
            unclear = unclear or difference <= (1 + abs(one)) * clearly
            if not differs and difference > (1 + abs(one)) * clearly:
                differs = _at_point(values, one, other, mp)
    if differs and agreed_positive >= _LEAST_POINTS and not differed_positive:
        return not_checkable("the answer is equal for positive values only")
    if differs:
        return contradicted(differs)
    if unclear:
        return not_checkable("the answer is so close to what is right that rounding may explain the difference")
    if agreed >= _LEAST_POINTS:
        return verified(f"equal at {agreed} points in 30 digits")
    return not_checkable("it is defined at too few points to be compared")


def _at_point(values: Mapping[str, Any], one: Any, other: Any, mp: Any) -> str:
    where = ", ".join(f"{name} = {shown(value, mp)}" for name, value in values.items())
    return f"at {where} it should be {shown(one, mp)}, and the answer gives {shown(other, mp)}"


def shown(value: Any, mp: Any) -> str:
    """A value for people, in ten digits."""
    if mp.im(value) == 0:
        value = mp.re(value)
        if mp.isint(value) and abs(value) < 10**15:
            return str(int(value))
    return str(mp.nstr(value, 10))
