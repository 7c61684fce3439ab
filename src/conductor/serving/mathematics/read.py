"""Read formulas, LaTeX or plain, into trees: a recursive descent over the tokens, in bounded depth.

Nothing is evaluated and nothing is executed. What can be read in two ways (`1/2x`, a function `f(x)` that nobody defined)
is refused rather than guessed.

Covered: arithmetic, roots, powers, factorials, percentages, degrees, absolute values, elementary functions with powers and
bases, binomials, derivatives, integrals, limits, sums and products. Not covered: matrices, sets, piecewise functions.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Final

from conductor.serving.mathematics.expression import (
    CONSTANTS,
    Apply,
    Expression,
    Number,
    Relation,
    Symbol,
    Unreadable,
    number,
)
from conductor.serving.mathematics.tokens import Token, tokens_of

_DEEPEST: Final = 40
_KINDS: Final = {"=": "=", "<": "<", ">": ">", "<=": "≤", ">=": "≥", "!=": "≠"}
_CLOSING: Final = {"(": ")", "[": "]", "{": "}", "⌊": "⌋", "⌈": "⌉"}


def read_expression(text: str, *, log_base: int | None = None) -> Expression:
    """One expression; `log` without a base has `log_base`, None means the natural one.

    Raises:
        Unreadable: it is not one, or not one that is covered.
    """
    reader = _Reader(tokens_of(text), log_base)
    found = reader.sum()
    reader.expect_end()
    return found


def read_chain(text: str, *, log_base: int | None = None) -> tuple[list[Expression], list[str]]:
    """Expressions with relations between them, `a = b = c`; errors as `read_expression`."""
    reader = _Reader(tokens_of(text), log_base)
    sides, kinds = [reader.sum()], []
    while (kind := _KINDS.get(reader.next_sign())) is not None:
        reader.advance()
        kinds.append(kind)
        sides.append(reader.sum())
    reader.expect_end()
    return sides, kinds


def read_relation(text: str, *, log_base: int | None = None) -> Relation:
    """Two sides with one relation; errors as `read_expression`."""
    sides, kinds = read_chain(text, log_base=log_base)
    if len(kinds) != 1:
        raise Unreadable("it is not one equation" if kinds else "it is no equation")
    return Relation(sides[0], kinds[0], sides[1])


class _Reader:
    def __init__(self, tokens: list[Token], log_base: int | None) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._bars = 0
        self._log_base = log_base

    def next(self, ahead: int = 0) -> Token:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token("end", "")

    def next_sign(self) -> str:
        token = self.next()
        return token.text if token.kind == "sign" else ""

    def advance(self) -> Token:
        token = self.next()
        self._at += 1
        return token

    def expect(self, sign: str) -> None:
        if self.next_sign() != sign:
            raise Unreadable(f"{sign!r} was expected before {self.next().text or 'the end'!r}")
        self.advance()

    def expect_end(self) -> None:
        if self.next().kind != "end":
            raise Unreadable(f"{self.next().text!r} was not expected")

    def sum(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unreadable(f"the formula is nested more than {_DEEPEST} deep")
        found = self._product()
        while self.next_sign() in ("+", "-"):
            sign = self.advance().text
            term = self._product()
            found = Apply("+", (found, term if sign == "+" else Apply("neg", (term,))))
        self._depth -= 1
        return found

    def _product(self) -> Expression:
        if self.next_sign() in ("+", "-"):
            negative = self.advance().text == "-"
            self._depth += 1
            if self._depth > _DEEPEST:
                raise Unreadable("too many signs before a number")
            found = self._product()
            self._depth -= 1
            if isinstance(found, Apply) and found.operation == "mod":
                raise Unreadable("-a mod b can be read as -(a mod b) and as (-a) mod b; write the brackets")
            return Apply("neg", (found,)) if negative else found
        found, divided = self._power(), False
        while True:
            sign = self.next_sign()
            if sign in ("*", "of"):
                self.advance()
                found, divided = Apply("*", (found, self._signed_power())), False
            elif sign == "/":
                self.advance()
                found, divided = Apply("/", (found, self._signed_power())), True
            elif sign == "mod":
                self.advance()
                found, divided = Apply("mod", (found, self._signed_power())), False
            elif self._begins_factor():
                if divided:
                    raise Unreadable("a/bc can be read as (a/b)c and as a/(bc); write the brackets")
                found = Apply("*", (found, self._power()))
            else:
                return found

    def _signed_power(self) -> Expression:
        if self.next_sign() in ("+", "-"):
            return Apply("neg", (self._power(),)) if self.advance().text == "-" else self._power()
        return self._power()

    def _begins_factor(self) -> bool:
        token = self.next()
        if token.kind == "number":  # `x 2` and `2 3` are mistakes, or lists
            return False
        if token.kind in ("variable", "constant", "function", "command"):
            return True
        return token.text in ("(", "[", "{", "⌊", "⌈") or (token.text == "|" and self._bars == 0)

    def _power(self) -> Expression:
        base = self._postfix(self._atom())
        if self.next_sign() != "^":
            return base
        self.advance()
        if self.next_sign() == "°" or (self.next_sign() == "{" and self.next(1).text == "°"):
            braced = self.advance().text == "{"
            if braced:
                self.advance()
                self.expect("}")
            return _degrees(base)
        return self._postfix(Apply("^", (base, self._exponent())))

    def _exponent(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unreadable(f"the formula is nested more than {_DEEPEST} deep")
        found = self._signed_power()  # x^y^z is x^(y^z)
        self._depth -= 1
        return found

    def _postfix(self, base: Expression) -> Expression:
        while True:
            sign = self.next_sign()
            if sign == "!":
                base = Apply("factorial", (base,))
            elif sign == "%":
                base = Apply("/", (base, number(100)))
            elif sign == "°":
                base = _degrees(base)
            else:
                return base
            self.advance()

    def _atom(self) -> Expression:
        token = self.advance()
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "constant":
            return Symbol(token.text)
        if token.kind == "variable":
            return self._variable(token)
        if token.kind == "function":
            return self._function(token.text)
        if token.kind == "command":
            return self._command(token.text)
        if token.text in _CLOSING:
            return self._bracketed(token.text)
        if token.text == "|":
            self._bars += 1
            inside = self.sum()
            self.expect("|")
            self._bars -= 1
            return Apply("abs", (inside,))
        raise Unreadable(f"{token.text!r} was not expected" if token.text else "the formula ends too early")

    def _bracketed(self, opening: str) -> Expression:
        bars, self._bars = self._bars, 0
        inside = self.sum()
        self.expect(_CLOSING[opening])
        self._bars = bars
        if opening == "⌊":
            return Apply("floor", (inside,))
        return Apply("ceil", (inside,)) if opening == "⌈" else inside

    def _variable(self, token: Token) -> Expression:
        name = token.text
        if name == "d" and self.next_sign() == "/" and self.next(1).text == "d" and self.next(2).kind == "variable":
            self._at += 2
            return self._derivative(self.advance().text, 1)
        if self.next_sign() == "_":
            self.advance()
            name += "_" + self._subscript()
        if name[0] in "fgh" and self.next_sign() == "(" and not self.next().spaced:
            raise Unreadable(f"nothing says what {name}(…) is")
        return Symbol(name)

    def _subscript(self) -> str:
        if self.next_sign() != "{":
            return self.advance().text
        self.advance()
        text = self.advance().text
        self.expect("}")
        return text

    def _function(self, name: str) -> Expression:
        base: Expression | None = None
        exponent: Expression | None = None
        if name == "sqrt" and self.next_sign() == "[":
            self.advance()
            degree = self.sum()
            self.expect("]")
            return Apply("root", (self._argument(), degree))
        while self.next_sign() in ("_", "^"):
            if self.advance().text == "_":
                base = self._atom()
            else:
                exponent = self._signed_power() if self.next_sign() != "{" else self._atom()
        if name in ("gcd", "lcm"):
            arguments = self._list()
            return Apply(name, arguments)
        argument = self._argument(root=name in ("sqrt", "cbrt"))
        if name == "log" and (base is not None or self._log_base is not None):
            found: Expression = Apply("log", (argument, base if base is not None else number(self._log_base or 10)))
        elif name == "cbrt":
            found = Apply("root", (argument, number(3)))
        else:
            found = Apply("ln" if name == "log" else name, (argument,))
        if exponent is None:
            return found
        if exponent == Apply("neg", (number(1),)):
            if name not in ("sin", "cos", "tan"):
                raise Unreadable(f"{name}^-1 can be read in two ways")
            return Apply("a" + name, (argument,))
        return Apply("^", (found, exponent))

    def _argument(self, *, root: bool = False) -> Expression:
        """In brackets, or the product that follows: sin 2x is sin(2x). A root takes one sign."""
        if self.next_sign() in _CLOSING or self.next_sign() == "|":
            return self._atom()
        if root:
            found = self._atom()
            if self._begins_factor():
                raise Unreadable("how far the root reaches is not certain; write brackets")
            return found
        found = self._signed_power()
        while self.next().kind in ("variable", "constant") and self.next().text != "d":
            found = Apply("*", (found, self._power()))
        return found

    def _list(self) -> tuple[Expression, ...]:
        self.expect("(")
        found = [self.sum()]
        while self.next_sign() == ",":
            self.advance()
            found.append(self.sum())
        self.expect(")")
        return tuple(found)

    def _command(self, name: str) -> Expression:
        if name == "frac":
            return self._fraction()
        if name == "binom":
            return Apply("binomial", (self._braced(), self._braced()))
        return {"int": self._integral, "sum": self._series, "prod": self._series, "lim": self._limit}[name](name)

    def _braced(self) -> Expression:
        """`{…}`, or a single digit or letter as LaTeX takes it."""
        if self.next_sign() == "{":
            return self._atom()
        token = self.advance()
        if token.kind == "number":
            if len(token.text) > 1:  # \frac12: each digit is an argument of its own
                self._at -= 1
                self._tokens[self._at] = Token("number", token.text[1:])
            return _number(token.text[0])
        if token.kind in ("variable", "constant"):
            return Symbol(token.text)
        raise Unreadable("braces are missing")

    def _fraction(self) -> Expression:
        derivative = self._derivative_sign()
        if derivative is not None:
            return self._derivative(*derivative)
        return Apply("/", (self._braced(), self._braced()))

    def _derivative_sign(self) -> tuple[str, int] | None:
        r"""By which variable and how often, after `\frac` when `{d}{dx}` or `{d^2}{dx^2}` follows."""
        texts = [self.next(ahead).text for ahead in range(12)]
        if texts[:2] != ["{", "d"]:
            return None
        if texts[2:5] == ["}", "{", "d"] and texts[6] == "}":
            self._at += 7
            return texts[5], 1
        if texts[2] == "^" and texts[3].isdigit() and texts[4:7] == ["}", "{", "d"]:
            if texts[8:11] == ["^", texts[3], "}"] and int(texts[3]) <= 4:
                self._at += 11
                return texts[7], int(texts[3])
            raise Unreadable("a derivative of this order is not read")
        return None

    def _derivative(self, variable: str, times: int) -> Expression:
        return Apply("derivative", (self._product(), Symbol(variable), number(times)))

    def _bounds(self) -> dict[str, Expression]:
        bounds: dict[str, Expression] = {}
        while self.next_sign() in ("_", "^"):
            sign = self.advance().text
            bounds[sign] = self._atom() if self.next_sign() == "{" else self._signed_atom()
        return bounds

    def _signed_atom(self) -> Expression:
        if self.next_sign() == "-":
            self.advance()
            return Apply("neg", (self._atom(),))
        return self._atom()

    def _integral(self, _: str) -> Expression:
        bounds = self._bounds()
        start = self._at
        end = next(
            (
                at
                for at in range(len(self._tokens) - 2, start - 1, -1)
                if self._tokens[at].text == "d" and self._tokens[at + 1].kind == "variable"
            ),
            None,
        )
        if end is None or len(bounds) == 1:
            raise Unreadable("an integral needs dx, and both bounds or none")
        variable = self._tokens[end + 1].text
        inside = _Reader(self._tokens[start:end] or [Token("number", "1")], self._log_base)
        inside._depth = self._depth + 1
        integrand = inside.sum()
        inside.expect_end()
        self._at = end + 2
        by = Symbol(variable)
        return Apply("integral", (integrand, by, bounds["_"], bounds["^"]) if bounds else (integrand, by))

    def _series(self, name: str) -> Expression:
        self.expect("_")
        self.expect("{")
        index = self.advance()
        if index.kind not in ("variable", "constant"):
            raise Unreadable("a sum needs an index")
        self.expect("=")
        first = self.sum()
        self.expect("}")
        self.expect("^")
        last = self._atom()
        body = self._product()
        bound = Symbol(index.text if index.text not in CONSTANTS else index.text + "_index")
        if index.text in CONSTANTS:
            body = _renamed(body, index.text, bound)
        return Apply("sum" if name == "sum" else "product", (body, bound, first, last))

    def _limit(self, _: str) -> Expression:
        self.expect("_")
        self.expect("{")
        variable = self.advance()
        self.expect("to")
        target, side = self._postfix_side(self.sum)
        self.expect("}")
        if variable.kind != "variable":
            raise Unreadable("a limit needs a variable")
        return Apply("limit", (self._product(), Symbol(variable.text), target, number(side)))

    def _postfix_side(self, read: Callable[[], Expression]) -> tuple[Expression, int]:
        """A target with `^+` or `^-` behind it says from which side; 0 from both."""
        closing = next((at for at in range(self._at, len(self._tokens)) if self._tokens[at].text == "}"), 0)
        ending = [token.text for token in self._tokens[max(closing - 2, 0) : closing]]
        if ending in (["^", "+"], ["^", "-"]):
            del self._tokens[closing - 2 : closing]
            return read(), 1 if ending[1] == "+" else -1
        return read(), 0


def _renamed(expression: Expression, name: str, to: Symbol) -> Expression:
    if isinstance(expression, Symbol):
        return to if expression.name == name else expression
    if isinstance(expression, Number):
        return expression
    return Apply(expression.operation, tuple(_renamed(argument, name, to) for argument in expression.arguments))


def _number(text: str) -> Number:
    _, point, decimals = text.partition(".")
    return Number(Fraction(text if not text.startswith(".") else "0" + text), len(decimals) if point else None)


def _degrees(angle: Expression) -> Expression:
    return Apply("/", (Apply("*", (angle, Symbol("pi"))), number(180)))
