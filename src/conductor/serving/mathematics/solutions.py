"""Judge the solutions of equations: each is put into the equation, and of a polynomial equation the roots are counted.

Nothing is solved. Not covered: whether other solutions exist where the equation is no polynomial in one unknown; the verdict
then says that this was not checked.
"""

from collections.abc import Mapping
from typing import Any

from conductor.serving.mathematics.algebra import RootCounts, exactly_equal, root_counts
from conductor.serving.mathematics.asked import Equations
from conductor.serving.mathematics.compare import compared, shown
from conductor.serving.mathematics.evaluate import Evaluator, Undefined
from conductor.serving.mathematics.expression import (
    Apply,
    Expression,
    Relation,
    TooLarge,
    Unreadable,
    decimal_places,
    number,
    put_in,
    unknowns,
)
from conductor.serving.mathematics.given import Assignments, EverySolution, Given, NoSolutions
from conductor.serving.mathematics.verdict import Check, Verdict, contradicted, not_checkable, verified


def judged_solutions(asked: Equations, given: Given, evaluator: Evaluator) -> Check:
    """Whether what was given solves the equations, and is all that was asked for; errors as `compared`."""
    names = sorted(
        frozenset[str]().union(*(unknowns(side) for one in asked.relations for side in (one.left, one.right)))
    )
    if not names:
        return not_checkable("the equation has no unknown")
    single = asked.relations[0] if len(asked.relations) == 1 and len(names) == 1 else None
    if not isinstance(given, Assignments):
        return _none_or_all(single, given, names[0])
    strange = frozenset[str]().union(*(unknowns(one.value) for one in given.found)) - set(names)
    if strange:
        return not_checkable(f"the answer has {', '.join(sorted(strange))} in it, which the problem does not say")
    solutions = _solutions(asked, given, names)
    for solution in solutions:
        for relation in asked.relations:
            check = _put_in(relation, solution, evaluator)
            if check is not None:
                return check
    if single is None:
        return verified("put into the equations, the answer satisfies them; whether there are others was not checked")
    return _complete(single, names[0], [solution[names[0]] for solution in solutions], asked, evaluator)


def _none_or_all(single: Relation | None, given: Given, unknown: str) -> Check:
    counts = root_counts(single.left, single.right, unknown) if single else None
    if counts is None:
        return not_checkable("how many solutions there are cannot be counted here")
    if isinstance(given, EverySolution):
        if counts.always:
            return verified("the equation is always true")
        return contradicted("the equation is not always true")
    if counts.always or counts.real > 0:
        number_of = "every number as solution" if counts.always else f"{counts.real} real solutions"
        return contradicted(f"the equation has {number_of}")
    assert isinstance(given, NoSolutions)
    return verified("the equation has no real solution")


def _solutions(asked: Equations, given: Assignments, names: list[str]) -> list[dict[str, Expression]]:
    """Each a value for every unknown that is solved for."""
    free = frozenset[str]().union(*(unknowns(one.value) for one in given.found))
    wanted = [name for name in names if name not in free]
    if asked.solve_for and asked.solve_for in wanted and len(asked.relations) == 1:
        wanted = [asked.solve_for]
    if len(wanted) == 1:
        (name,) = wanted
        if any(one.name and one.name.split("_")[0] != name and one.name != name for one in given.found):
            raise Unreadable(f"the answer does not say what {name} is")
        return [{name: one.value} for one in given.found]
    solution = {one.name: one.value for one in given.found}
    if len(given.found) != len(solution) or set(solution) != set(wanted):
        raise Unreadable("the answer does not give one value for each unknown")
    return [solution]


def _put_in(relation: Relation, solution: Mapping[str, Expression], evaluator: Evaluator) -> Check | None:
    """None where the solution satisfies the relation."""
    left, right = put_in(relation.left, solution), put_in(relation.right, solution)
    said = ", ".join(f"{name} = {_text(value, evaluator)}" for name, value in solution.items())
    if unknowns(left) | unknowns(right):
        check = compared(Apply("+", (left, right)), Apply("*", (number(2), right)), evaluator, positive=False)
        if check.verdict is Verdict.CONTRADICTED:
            return contradicted(f"with {said} the two sides differ")
        return None if check.verdict is Verdict.VERIFIED else check
    if exactly_equal(left, right):
        return None
    mp = evaluator.mp
    try:
        one, other = evaluator.value(left), evaluator.value(right)
    except Undefined as none:
        return contradicted(f"with {said} the equation has no value: {none}")
    scale = 1 + abs(one) + abs(other)
    if abs(one - other) <= scale * mp.mpf(10) ** -30:
        return None
    places = [found for value in solution.values() if (found := decimal_places(value)) is not None]
    if places:
        return _rounded(relation, solution, min(places), evaluator, said)
    if abs(one - other) <= scale * mp.mpf(10) ** -12:
        return not_checkable("the two sides are so close that they cannot be told apart")
    return contradicted(f"with {said} the left side is {shown(one, mp)}, the right side is {shown(other, mp)}")


def _rounded(
    relation: Relation, solution: Mapping[str, Expression], places: int, evaluator: Evaluator, said: str
) -> Check | None:
    """A solution given in decimals: whether a true one lies within the last digit."""
    if len(solution) != 1:
        return not_checkable("several unknowns in rounded decimals are not checked")
    ((name, value),) = solution.items()
    mp = evaluator.mp
    middle, half = evaluator.value(value), mp.mpf("0.5001") * mp.mpf(10) ** -places
    difference = Apply("+", (relation.left, Apply("neg", (relation.right,))))
    below, at, above = (evaluator.value(difference, {name: middle + step}) for step in (-half, 0, half))
    if any(mp.im(one) != 0 for one in (below, at, above)):
        return not_checkable("rounded complex solutions are not checked")
    if below * above <= 0:
        return None
    if abs(at) > 100 * abs(above - below):
        return contradicted(f"with {said} the two sides differ by {shown(at, mp)}, more than rounding explains")
    if abs(at) > 2 * abs(above - below):
        return contradicted(f"{said} is not a solution rounded to {places} decimals")
    return not_checkable(f"whether {said} is a rounded solution cannot be told")


def _complete(
    relation: Relation, unknown: str, values: list[Expression], asked: Equations, evaluator: Evaluator
) -> Check:
    """Every given value is a solution; whether they are all of them."""
    mp = evaluator.mp
    if any(unknowns(value) for value in values):
        return verified("put into the equation, the answer satisfies it")
    numbers: list[Any] = []
    for value in values:
        found = evaluator.value(value)
        if all(abs(found - other) > mp.mpf(10) ** -20 for other in numbers):
            numbers.append(found)
    real = sum(1 for found in numbers if abs(mp.im(found)) < mp.mpf(10) ** -30)
    counts = root_counts(relation.left, relation.right, unknown)
    each = "put into the equation, the answer satisfies it" if len(numbers) == 1 else "each given value satisfies it"
    if counts is not None and counts.always:
        return contradicted("the equation is always true, so these are not all solutions")
    if asked.wanted == "any":
        return verified(each)
    if asked.wanted == "some":
        return not_checkable(f"{each}; whether these are the solutions that are asked for was not checked")
    if asked.wanted != "all" and any((mp.re(found) > 0) != (asked.wanted == "positive") for found in numbers):
        return contradicted(f"{each}, but {asked.wanted} ones were asked for")
    if counts is None:
        return verified(f"{each}; whether there are other solutions was not checked")
    wanted, kind = _wanted_roots(counts, asked.wanted, only_real=real == len(numbers))
    if len(numbers) >= wanted:
        return verified(f"{each}, and there are no other {kind}solutions")
    return contradicted(
        f"{each}, but the equation has {wanted} different {kind}solutions and {len(numbers)} were given"
    )


def _wanted_roots(counts: RootCounts, wanted: str, *, only_real: bool) -> tuple[int, str]:
    if wanted == "positive":
        return counts.positive, "positive "
    if wanted == "negative":
        return counts.negative, "negative "
    return (counts.real, "real ") if only_real else (counts.complex, "")


def _text(value: Expression, evaluator: Evaluator) -> str:
    try:
        return shown(evaluator.value(value), evaluator.mp)
    except (Undefined, Unreadable, TooLarge):
        return "what was given"
