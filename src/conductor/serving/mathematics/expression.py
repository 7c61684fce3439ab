"""What a formula is: a tree of numbers, symbols and operations, bounded in size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

#: Symbols with a fixed meaning: the circle's number, Euler's, the imaginary unit, infinity.
CONSTANTS = frozenset({"pi", "e", "i", "oo"})


class Unreadable(ValueError):
    """A formula that cannot be read, or can be read in two ways; the message says why."""


class TooLarge(ValueError):
    """A computation beyond the bounds; the message says which."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written; `places` is the count of decimals where it was written with any, else None."""

    value: Fraction
    places: int | None = None


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable or a constant of `CONSTANTS`."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on its arguments.

    Besides arithmetic (`+ * / ^ neg`) and functions: `derivative` (of, by, times), `integral` (of, by[, from, to]), `limit`
    (of, variable, to, side) and `sum`, `product` (of, index, from, to).
    """

    operation: str
    arguments: tuple["Expression", ...]


Expression: TypeAlias = Number | Symbol | Apply

#: Operations whose second argument is a variable that has no meaning outside of them.
BINDING = frozenset({"integral", "limit", "sum", "product"})


@dataclass(frozen=True, slots=True)
class Relation:
    """Two sides and what stands between them: `=`, `≠`, `<`, `≤`, `>`, `≥`."""

    left: Expression
    kind: str
    right: Expression


def number(value: int | Fraction) -> Number:
    """An exact number."""
    return Number(Fraction(value))


def parts_of(expression: Expression) -> Iterator[Expression]:
    """The expression and everything in it."""
    yield expression
    if isinstance(expression, Apply):
        for argument in expression.arguments:
            yield from parts_of(argument)


def unknowns(expression: Expression) -> frozenset[str]:
    """Names of the variables that it depends on."""
    if isinstance(expression, Symbol):
        return frozenset() if expression.name in CONSTANTS else frozenset({expression.name})
    if isinstance(expression, Number):
        return frozenset()
    found = frozenset[str]().union(*(unknowns(argument) for argument in expression.arguments))
    if expression.operation in BINDING and len(expression.arguments) != 2:
        bound = unknowns(expression.arguments[1])
        outside = frozenset[str]().union(*(unknowns(argument) for argument in expression.arguments[2:]))
        return (found - bound) | outside
    return found


def put_in(expression: Expression, values: Mapping[str, Expression]) -> Expression:
    """The expression with variables replaced; bound ones stay."""
    if isinstance(expression, Symbol):
        return values.get(expression.name, expression)
    if isinstance(expression, Number):
        return expression
    if expression.operation in BINDING:
        bound = unknowns(expression.arguments[1])
        values = {name: value for name, value in values.items() if name not in bound}
    return Apply(expression.operation, tuple(put_in(argument, values) for argument in expression.arguments))


def decimal_places(expression: Expression) -> int | None:
    """The fewest decimals of the numbers in it that were written with decimals; None where all are exact."""
    places = [part.places for part in parts_of(expression) if isinstance(part, Number) and part.places is not None]
    return min(places, default=None)
