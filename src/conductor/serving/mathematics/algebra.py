"""What SymPy is asked: exact equality, derivatives, and how many different roots a polynomial has.

Trees are built into SymPy's expressions node by node; no text ever reaches SymPy, whose readers execute what they read.
What is built is bounded first: powers, factorials and the number of terms that multiplying out would give.
"""

import importlib
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from conductor.serving.mathematics.expression import (
    Apply,
    Expression,
    Number,
    Symbol,
    TooLarge,
    Unreadable,
    number,
    parts_of,
    unknowns,
)

_LARGEST_EXPONENT: Final = 400
_LARGEST_FACTORIAL: Final = 300
_MOST_TERMS: Final = 400
_MOST_PARTS: Final = 400
_HIGHEST_DEGREE: Final = 12
_HIGHEST_TOWER: Final = 3
_FUNCTIONS: Final = {
    "exp": "exp",
    "ln": "log",
    "sqrt": "sqrt",
    "abs": "Abs",
    "sign": "sign",
    **{
        name: name
        for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "asin", "acos", "atan")
    },
}
_NAMES: Final = {sympy_name: name for name, sympy_name in _FUNCTIONS.items() if name != "sqrt"}


def exactly_equal(one: Expression, other: Expression) -> bool:
    """Whether the difference multiplies out to nothing; False where it does not, or is too large to multiply out.

    Raises:
        ImportError: SymPy is not installed.
    """
    difference = Apply("+", (one, Apply("neg", (other,))))
    try:
        if _terms(difference) > _MOST_TERMS:
            return False
        return bool(_sympy().expand(_built(difference)) == 0)
    except (TooLarge, Unreadable):
        return False


def rational_value(expression: Expression) -> Fraction | None:
    """The exact value where it is a fraction, and is one without any function but powers; else None."""
    if unknowns(expression):
        return None
    try:
        found = _built(expression)
    except (TooLarge, Unreadable):
        return None
    return Fraction(int(found.p), int(found.q)) if found.is_Rational else None


def without_derivatives(expression: Expression) -> Expression:
    """The expression with every derivative in it taken, by SymPy.

    Raises:
        TooLarge, Unreadable: it cannot be taken.
        ImportError: SymPy is not installed.
    """
    if not isinstance(expression, Apply):
        return expression
    arguments = tuple(without_derivatives(argument) for argument in expression.arguments)
    if expression.operation != "derivative":
        return Apply(expression.operation, arguments)
    of, by, times = arguments
    assert isinstance(by, Symbol)
    assert isinstance(times, Number)
    if sum(1 for _ in parts_of(of)) > _MOST_PARTS // 4 ** int(times.value - 1):
        raise TooLarge("the derivative would be too long")
    return _read_back(_sympy().diff(_built(of), _symbol(by.name), int(times.value)))


@dataclass(frozen=True, slots=True)
class RootCounts:
    """How many different roots a polynomial equation has; `always` where every number is one."""

    real: int = 0
    complex: int = 0
    positive: int = 0
    negative: int = 0
    always: bool = False


def root_counts(left: Expression, right: Expression, unknown: str) -> RootCounts | None:
    """How many different roots `left = right` has.

    None where it is no polynomial with rational coefficients in this one unknown, or of a degree beyond 12.
    """
    sympy = _sympy()
    difference = Apply("+", (left, Apply("neg", (right,))))
    try:
        if not _is_polynomial(difference) or _terms(difference) > _MOST_TERMS:
            return None
        found = sympy.Poly(sympy.expand(_built(difference)), _symbol(unknown), domain="QQ")
    except (TooLarge, Unreadable, sympy.PolynomialError, sympy.CoercionFailed):
        return None
    if found.is_zero:
        return RootCounts(always=True)
    if found.degree() > _HIGHEST_DEGREE:
        return None
    if found.degree() == 0:
        return RootCounts()
    different = found.sqf_part()
    real = int(different.count_roots())
    zero = int(different.eval(0) == 0)
    positive = int(different.count_roots(0, None)) - zero
    return RootCounts(real=real, complex=int(different.degree()), positive=positive, negative=real - positive - zero)


def _tower(expression: Expression) -> int:
    """How many exponentials stand in each other's exponents; SymPy would try to find the sign of any number of them."""
    if not isinstance(expression, Apply):
        return 0
    heights = [_tower(argument) for argument in expression.arguments]
    if expression.operation in ("exp", "sinh", "cosh"):
        return heights[0] + 1
    if expression.operation == "^":
        return max(heights[0], heights[1] + 1)
    return max(heights)


def _sympy() -> Any:
    return importlib.import_module("sympy")


def _symbol(name: str) -> Any:
    return _sympy().Symbol(name, real=True)


def _is_polynomial(expression: Expression) -> bool:
    for part in parts_of(expression):
        if isinstance(part, Symbol) and part.name in ("pi", "e", "i", "oo"):
            return False
        if isinstance(part, Apply):
            if part.operation not in ("+", "*", "/", "^", "neg"):
                return False
            second = part.arguments[-1]
            if part.operation == "^" and (_whole(second) is None or _whole(second, least=0) is None):
                return False
            if part.operation == "/" and any(isinstance(inner, Symbol) for inner in parts_of(second)):
                return False
    return True


def _whole(expression: Expression, *, least: int = -_LARGEST_EXPONENT) -> int | None:
    """The integer that an expression plainly is."""
    if isinstance(expression, Apply) and expression.operation == "neg":
        inner = _whole(expression.arguments[0])
        return -inner if inner is not None and -inner >= least else None
    if isinstance(expression, Number) and expression.value.denominator == 1 and expression.value >= least:
        return int(expression.value)
    return None


def _terms(expression: Expression) -> int:
    """At most so many terms are there after multiplying out."""
    if not isinstance(expression, Apply):
        return 1
    counts = [_terms(argument) for argument in expression.arguments]
    if expression.operation == "+":
        return sum(counts)
    if expression.operation == "^":
        exponent = _whole(expression.arguments[1])
        if exponent is None or counts[0] == 1:
            return counts[0]
        return int(min(counts[0] ** min(abs(exponent), 30), 10**9))
    product = 1
    for count in counts:
        product *= count
    return min(product, 10**9)


def _built(expression: Expression) -> Any:
    """The tree as SymPy's expression; bounded before anything is computed.

    Raises:
        TooLarge, Unreadable: SymPy does not get it, or fails with it.
    """
    if _tower(expression) > _HIGHEST_TOWER:
        raise TooLarge("powers are stacked too high")
    try:
        return _node(expression)
    except (ArithmeticError, TypeError, NotImplementedError, RecursionError) as failed:
        raise TooLarge(f"SymPy cannot compute with it: {failed}") from failed


def _node(expression: Expression) -> Any:
    sympy = _sympy()
    if isinstance(expression, Number):
        return sympy.Rational(expression.value.numerator, expression.value.denominator)
    if isinstance(expression, Symbol):
        constants = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}
        if expression.name == "oo":
            raise Unreadable("infinity is no number")
        return constants.get(expression.name) or _symbol(expression.name)
    operation = expression.operation
    if operation == "^":
        return _power(*expression.arguments)
    given = [_node(argument) for argument in expression.arguments]
    if operation == "+":
        return given[0] + given[1]
    if operation == "*":
        return given[0] * given[1]
    if operation == "neg":
        return -given[0]
    if operation == "/":
        if given[1] == 0:
            raise Unreadable("a division by zero")
        return given[0] / given[1]
    if operation == "log":
        return sympy.log(given[0]) / sympy.log(given[1])
    if operation == "root" and _whole(expression.arguments[1], least=1):
        if given[1] == 2:
            return sympy.sqrt(given[0])
        if not given[0].is_number:  # SymPy's power is complex where a root of a negative number is real
            raise Unreadable("roots of variables are compared by their values")
        return sympy.real_root(given[0], given[1])
    if operation == "factorial" and (of := _whole(expression.arguments[0], least=0)) is not None:
        if of > _LARGEST_FACTORIAL:
            raise TooLarge("a factorial is too large")
        return sympy.factorial(of)
    if operation in _FUNCTIONS:
        return getattr(sympy, _FUNCTIONS[operation])(given[0])
    raise Unreadable(f"{operation} is not given to SymPy")


def _power(base: Expression, exponent: Expression) -> Any:
    built, raised = _node(base), _node(exponent)
    if raised.is_Rational and (abs(raised.p) > _LARGEST_EXPONENT or raised.q > 100):
        raise TooLarge("an exponent is too large")
    if built.is_Rational and raised.is_number:
        digits = len(str(abs(built.p))) + len(str(built.q))
        if not raised.is_Rational:
            if digits > 20:
                raise TooLarge("a power is too large")
        elif digits * abs(raised.p) > 4000 * raised.q:
            raise TooLarge("a power is too large")
    if built == 0 and raised.is_number and not raised.is_positive:
        raise Unreadable("a division by zero")
    return built**raised


def _read_back(found: Any) -> Expression:
    """A tree again, of what SymPy made."""
    sympy = _sympy()
    if found.is_Rational:
        return number(Fraction(int(found.p), int(found.q)))
    for constant, name in ((sympy.pi, "pi"), (sympy.E, "e"), (sympy.I, "i")):
        if found == constant:
            return Symbol(name)
    if found.is_Symbol:
        return Symbol(str(found.name))
    arguments = [_read_back(argument) for argument in found.args]
    kind = type(found).__name__
    if kind in ("Add", "Mul"):
        joined = arguments[0]
        for argument in arguments[1:]:
            joined = Apply("+" if kind == "Add" else "*", (joined, argument))
        return joined
    if kind == "Pow":
        return Apply("^", (arguments[0], arguments[1]))
    if kind in _NAMES and len(arguments) == 1:
        return Apply(_NAMES[kind], (arguments[0],))
    raise Unreadable(f"a derivative with {kind} is not read back")
