"""Compute the value of an expression in bounded precision, with bounds on magnitude and on the number of operations.

All bounds are checked before an operation is made, so the time that a value takes is known beforehand, whatever a model
wrote. Values are complex numbers of mpmath with 50 digits. Principal branches; real odd roots of negative numbers where a
root is written as one (`\\sqrt[3]{-8}`).

Covered: everything that `read` reads but derivatives (`algebra` takes them first). Integrals are computed by tanh-sinh
quadrature, limits by approach; both only count as values where they settle.
"""

import importlib
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from conductor.serving.mathematics.expression import Apply, Expression, Number, Symbol, TooLarge, Unreadable

DIGITS: Final = 50
_MOST_OPERATIONS: Final = 150_000
_MOST_BITS: Final = 4000
_LARGEST_FACTORIAL: Final = 1000
_MOST_TERMS: Final = 5000
_NAMES: Final = "sin cos tan cot sec csc sinh cosh tanh asin acos atan exp sqrt floor ceil sign abs ln"
_FUNCTIONS: Final = frozenset(_NAMES.split())


class Undefined(ValueError):
    """The expression has no value there: a division by zero, a logarithm of zero, a limit that does not settle."""


class Evaluator:
    """Computes values; one for each check, because its operations are counted.

    Raises:
        ImportError: mpmath is not installed.
    """

    def __init__(self) -> None:
        mpmath: Any = importlib.import_module("mpmath")
        self.mp: Any = mpmath.ctx_mp.MPContext()  # our own: the precision of mpmath's is everybody's
        self.mp.dps = DIGITS
        self._operations = 0
        self._integrating = False

    def value(self, expression: Expression, values: Mapping[str, Any] | None = None) -> Any:
        """The value, an mpf or mpc.

        Raises:
            Undefined: there is none.
            TooLarge: it would take too long.
            Unreadable: a variable has no value.
        """
        try:
            return self._value(expression, dict(values or {}))
        except (ZeroDivisionError, ValueError, OverflowError) as none:
            if isinstance(none, (Undefined, TooLarge, Unreadable)):
                raise
            raise Undefined(str(none) or "it is not defined there") from none

    def exactly(self, number: Fraction) -> Any:
        """A fraction in this precision."""
        return self.mp.mpf(number.numerator) / number.denominator

    def _value(self, expression: Expression, values: dict[str, Any]) -> Any:
        self._operations += 1
        if self._operations > _MOST_OPERATIONS:
            raise TooLarge("the check would take too long")
        if isinstance(expression, Number):
            return self.exactly(expression.value)
        if isinstance(expression, Symbol):
            return self._symbol(expression.name, values)
        special = {
            "integral": self._integral,
            "limit": self._limit,
            "sum": self._series,
            "product": self._series,
        }.get(expression.operation)
        if special is not None:
            return special(expression, values)
        found = self._apply(expression.operation, [self._value(argument, values) for argument in expression.arguments])
        if not self.mp.isfinite(found):
            raise Undefined("it is not finite there")
        if found != 0 and abs(self.mp.mag(found)) > _MOST_BITS:
            if self._integrating and self.mp.mag(found) < 0:
                return self.mp.mpf(0)
            raise TooLarge("a number on the way is too large or too small")
        return found

    def _symbol(self, name: str, values: dict[str, Any]) -> Any:
        if name in values:
            return values[name]
        constants = {"pi": self.mp.pi, "e": self.mp.e, "i": self.mp.mpc(0, 1)}
        if name not in constants:
            raise Undefined("infinity is no number") if name == "oo" else Unreadable(f"{name} has no value")
        return +constants[name]

    def _apply(self, operation: str, given: list[Any]) -> Any:
        mp = self.mp
        if operation in ("+", "*", "/", "neg", "^", "mod"):
            return self._arithmetic(operation, given)
        if operation in ("exp", "sinh", "cosh", "tanh") and abs(given[0]) > _MOST_BITS // 2:
            raise TooLarge("an exponential is too large")
        if operation == "factorial":
            if mp.im(given[0]) != 0 or not -1 < mp.re(given[0]) <= _LARGEST_FACTORIAL:
                raise TooLarge(f"factorials are computed up to {_LARGEST_FACTORIAL}")
            return mp.factorial(given[0])
        if operation in ("binomial", "gcd", "lcm"):
            return self._whole(operation, given)
        if operation == "root":
            return self._root(given[0], given[1])
        if operation == "log":
            if given[0] == 0 or given[1] in (0, 1):
                raise Undefined("a logarithm of zero, or to the base 0 or 1")
            return mp.ln(given[0]) / mp.ln(given[1])
        if operation == "ln" and given[0] == 0:
            raise Undefined("a logarithm of zero")
        if operation not in _FUNCTIONS:
            raise Unreadable(f"{operation} is not computed here")
        return abs(given[0]) if operation == "abs" else getattr(mp, operation)(given[0])

    def _arithmetic(self, operation: str, given: list[Any]) -> Any:
        if operation == "+":
            return given[0] + given[1]
        if operation == "*":
            return given[0] * given[1]
        if operation == "neg":
            return -given[0]
        if operation == "/":
            if given[1] == 0:
                raise Undefined("a division by zero")
            return given[0] / given[1]
        if operation == "mod":
            if given[1] == 0:
                raise Undefined("a remainder of a division by zero")
            return given[0] - given[1] * self.mp.floor(given[0] / given[1])
        return self._power(given[0], given[1])

    def _power(self, base: Any, exponent: Any) -> Any:
        if base == 0:
            if self.mp.re(exponent) <= 0 and exponent != 0:
                raise Undefined("a division by zero")
            if exponent == 0:
                raise Undefined("zero to the power of zero")
            return self.mp.mpf(0)
        bits = self.mp.re(exponent) * self.mp.log(abs(base), 2)
        if bits < -_MOST_BITS and self._integrating:
            return self.mp.mpf(0)  # the tail of an integrand
        if abs(bits) > _MOST_BITS or abs(self.mp.im(exponent)) > _MOST_BITS:
            raise TooLarge("a power is too large")
        return base**exponent

    def _root(self, of: Any, degree: Any) -> Any:
        whole = self.mp.im(degree) == 0 and self.mp.isint(degree) and 1 <= degree <= 1000
        if not whole:
            raise Undefined("a root needs a whole degree")
        if self.mp.im(of) == 0 and self.mp.re(of) < 0 and int(degree) % 2:
            return -((-of) ** (1 / degree))
        return of ** (1 / degree) if of != 0 else of

    def _whole(self, operation: str, given: list[Any]) -> Any:
        if any(self.mp.im(one) != 0 or not self.mp.isint(one) for one in given):
            raise Undefined(f"{operation} needs whole numbers")
        numbers = [int(self.mp.re(one)) for one in given]
        if operation == "binomial":
            if not 0 <= numbers[1] <= numbers[0] <= _LARGEST_FACTORIAL:
                raise TooLarge(f"binomials are computed up to {_LARGEST_FACTORIAL}")
            return self.mp.binomial(numbers[0], numbers[1])
        return self.mp.mpf(math.gcd(*numbers) if operation == "gcd" else math.lcm(*numbers))

    def _series(self, expression: Apply, values: dict[str, Any]) -> Any:
        body, index, first, last = expression.arguments
        assert isinstance(index, Symbol)
        low, high = self._value(first, values), self._value(last, values)
        if not (self.mp.isint(low) and self.mp.isint(high)):
            raise Undefined("bounds of a sum are whole numbers")
        if high - low >= _MOST_TERMS:
            raise TooLarge(f"sums of more than {_MOST_TERMS} terms are not computed")
        total = self.mp.mpf(0 if expression.operation == "sum" else 1)
        for term in range(int(low), int(high) + 1):
            found = self._value(body, {**values, index.name: self.mp.mpf(term)})
            total = total + found if expression.operation == "sum" else total * found
        return total

    def _bound(self, expression: Expression, values: dict[str, Any]) -> Any:
        if expression == Symbol("oo"):
            return self.mp.inf
        if expression == Apply("neg", (Symbol("oo"),)):
            return -self.mp.inf
        return self._value(expression, values)

    def _integral(self, expression: Apply, values: dict[str, Any]) -> Any:
        if len(expression.arguments) != 4:
            raise Undefined("an integral without bounds is no number")
        body, by, low, high = expression.arguments
        assert isinstance(by, Symbol)
        if self._integrating or self.mp.dps != DIGITS:
            raise TooLarge("integrals within integrals or limits are not computed")
        bounds = [self._bound(low, values), self._bound(high, values)]
        self.mp.dps, self._integrating = 25, True
        try:
            found, error = self.mp.quad(
                lambda at: self._value(body, {**values, by.name: at}), bounds, error=True, maxdegree=7
            )
        finally:
            self.mp.dps, self._integrating = DIGITS, False
        if error > (1 + abs(found)) * self.mp.mpf(10) ** -12:
            raise Undefined("the numerical integral does not settle")
        return found

    def _limit(self, expression: Apply, values: dict[str, Any]) -> Any:
        body, variable, target, side = expression.arguments
        assert isinstance(variable, Symbol)
        assert isinstance(side, Number)
        to = self._bound(target, values)
        sides = [int(side.value)] if side.value or not self.mp.isfinite(to) else [-1, 1]
        found = [self._approach(body, variable.name, to, one, values) for one in sides]
        if abs(found[0] - found[-1]) > (1 + abs(found[0])) * self.mp.mpf(10) ** -8:
            raise Undefined("the limits from the two sides differ")
        return found[-1]

    def _approach(self, body: Expression, name: str, to: Any, side: int, values: dict[str, Any]) -> Any:
        """The value near the target, at 90 digits, where three steps towards it settle."""
        previous_dps, self.mp.dps = self.mp.dps, 90
        try:
            steps = [self.mp.mpf(10) ** -size for size in (6, 9, 12)]
            if self.mp.isfinite(to):
                points = [to + side * step for step in steps]
            else:
                points = [(1 if to > 0 else -1) / step for step in steps]
            first, second, third = (self._value(body, {**values, name: point}) for point in points)
        finally:
            self.mp.dps = previous_dps
        nearer, near = abs(third - second), abs(second - first)
        if nearer > (1 + abs(third)) * self.mp.mpf(10) ** -8 or nearer > near / 2 + self.mp.mpf(10) ** -40:
            raise Undefined("the limit does not settle")
        return third
