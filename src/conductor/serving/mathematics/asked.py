"""Find in the text of a problem what can be checked: equations to be solved, or something to be computed.

Only problems that consist of formulas and of the usual words around them are taken. One word beyond `_USUAL_WORDS` and the
problem is left alone, because checking half of what was asked would call right answers wrong.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from conductor.serving.mathematics.expression import (
    Apply,
    Expression,
    Number,
    Relation,
    Symbol,
    Unreadable,
    number,
    parts_of,
    put_in,
    unknowns,
)
from conductor.serving.mathematics.read import read_chain, read_expression
from conductor.serving.mathematics.tokens import FUNCTIONS

_LONGEST_PROBLEM: Final = 4000
_DERIVATIVE: Final = frozenset({"derivative", "differentiate", "derive"})
_INTEGRAL: Final = frozenset({"integral", "integrate", "antiderivative", "primitive"})
#: Words that narrow the solutions down: fewer than all of them may then be right.
_NARROWING_WORDS: Final = (
    "positive negative integer integers natural whole smallest largest least greatest smaller larger one rational "
    "complex imaginary nonzero non-zero between greater less "
)
_NARROWING: Final = frozenset(_NARROWING_WORDS.split())
_SAID_AROUND_FORMULAS: Final = (
    "a an the of for to and or with that such it is are be in on by me you your please now let us we this these "
    "those what what's whats how much value values result answer number numbers real all any every each following "
    "given if when where find solve calculate compute evaluate work determine simplify expand factor factorise "
    "factorize equation equations system simultaneous linear quadratic cubic polynomial unknown unknowns variable "
    "variables expression function solution solutions root roots zero zeros zeroes satisfy satisfies satisfying "
    "equal equals holds true respect form exact exactly fully completely product multiply out remove brackets "
    "write as step steps step-by-step show explain working reasoning then give final second third definite indefinite limit "
    "approaches approach tends goes towards from at over sum can do using use find: solve: derivative "
    "differentiate derive integral integrate antiderivative primitive infinity problem exercise question task "
    "mathematics math algebra calculus arithmetic carefully also its simplified simplest decimals decimal "
    "rationalise rationalize denominator expanded factored computed places rounded "
)
_USUAL_WORDS: Final = frozenset(_SAID_AROUND_FORMULAS.split()) | _NARROWING
_ROOTS: Final = frozenset({"root", "roots", "zero", "zeros", "zeroes", "solution", "solutions", "satisfy", "satisfies"})
#: With an equation these ask for something else than its solutions: the sum of the roots, the number of them.
_NOT_OF_EQUATIONS: Final = frozenset(
    {
        "sum",
        "product",
        "number",
        "expand",
        "factor",
        "factorise",
        "factorize",
        "second",
        "third",
        "denominator",
        "limit",
    }
)
_ANY_ONE: Final = re.compile(
    r"\b(?:a|any|one)\s+(?:(?:real|complex|integer|whole)\s+)?(?:root|solution|zero|value|number)\b"
)
_ANGLES: Final = frozenset({"sin", "cos", "tan", "cot", "sec", "csc"})
_DELIMITED: Final = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
_MATHY: Final = re.compile(r"[\d+*/^=<>|√∫∑π∞²³·×÷≤≥−\\()\[\]%!°-]")
_NAMED_FUNCTION: Final = re.compile(r"^\s*(?:[fghy](?:\s*\(\s*([a-z])\s*\))?|y)\s*=\s*(?=\S)")


@dataclass(frozen=True, slots=True)
class Equations:
    """Equations that must hold.

    Args:
        wanted: `all` solutions, `any` one of them, the `positive` or `negative` ones, or `some` that the words describe.
        solve_for: the unknown, where the problem names one.
    """

    relations: tuple[Relation, ...]
    wanted: str = "all"
    solve_for: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """Something whose value, or equal form, is asked; `positive` where variables are said to be."""

    expression: Expression
    positive: bool = False


@dataclass(frozen=True, slots=True)
class Antiderivative:
    """A function whose derivative by a variable is `of`."""

    of: Expression
    by: str


Asked: TypeAlias = Equations | Value | Antiderivative


def asked_in(problem: str, *, log_base: int | None = None) -> Asked:
    """What a problem asks.

    Raises:
        Unreadable: nothing that can be checked, or more than that; the message says which.
    """
    if len(problem) > _LONGEST_PROBLEM:
        raise Unreadable(f"the problem is longer than {_LONGEST_PROBLEM} characters")
    spans, words = _spans(problem)
    strange = sorted(set(words) - _USUAL_WORDS)
    if strange:
        raise Unreadable(f"the problem says more than its formulas ({', '.join(repr(word) for word in strange[:3])})")
    formulas = [span for span in spans if not _is_symbol(span)]
    mentioned = [span.strip() for span in spans if _is_symbol(span)]
    if not formulas:
        raise Unreadable("no formula was found in the problem")
    said = set(words)
    kinds = [bool(said & _DERIVATIVE), bool(said & _INTEGRAL), "limit" in said]
    if sum(kinds) > 1 or (any(kinds) and said & _ROOTS):
        raise Unreadable("the problem asks for several things, one of the other")
    if said & _DERIVATIVE:
        return _derivative(formulas, mentioned, words, log_base)
    if said & _INTEGRAL:
        return _integral(formulas, mentioned, said, log_base)
    if "limit" in said:
        return _limit(formulas, mentioned, log_base)
    chains = [read_chain(_without_question(span), log_base=log_base) for span in formulas]
    if said & _ROOTS and len(chains) == 1 and not chains[0][1]:  # the roots of an expression
        chains = [([*chains[0][0], number(0)], ["="])]
    if all(kinds for _, kinds in chains):
        if said & _NOT_OF_EQUATIONS:
            raise Unreadable("something else than the solutions of the equation is asked for")
        return _equations(chains, mentioned, wanted=_wanted(problem, said))
    if len(chains) != 1:
        raise Unreadable("the problem has several formulas, and what is asked of them is not certain")
    expression = chains[0][0][0]
    if isinstance(expression, Apply) and expression.operation == "integral" and len(expression.arguments) == 2:
        by = expression.arguments[1]
        assert isinstance(by, Symbol)
        return Antiderivative(expression.arguments[0], by.name)
    _refuse_ambiguous(expression, said)
    return Value(expression, positive="positive" in said)


def _wanted(problem: str, said: set[str]) -> str:
    narrowing = said & _NARROWING
    if _ANY_ONE.search(problem.lower()) and narrowing <= {"one"}:
        return "any"
    if not narrowing:
        return "all"
    return next(iter(narrowing)) if narrowing in ({"positive"}, {"negative"}) else "some"


def _refuse_ambiguous(expression: Expression, said: set[str]) -> None:
    """What the words, or a missing degree sign, leave open."""
    if said & (_NARROWING - {"positive"}) or ("positive" in said and not unknowns(expression)):
        raise Unreadable("the problem asks for more than the value of its formula")
    if "denominator" in said and not said & {"rationalise", "rationalize"}:
        raise Unreadable("the problem asks for a part of its formula")
    for part in parts_of(expression):
        if isinstance(part, Apply) and part.operation in _ANGLES:
            angle = part.arguments[0]
            if isinstance(angle, Number) and angle.value >= 10:
                raise Unreadable(f"{part.operation}({angle.value}) may be meant in degrees")


def _equations(chains: Sequence[tuple[list[Expression], list[str]]], mentioned: list[str], *, wanted: str) -> Asked:
    relations = []
    for sides, kinds in chains:
        if any(kind != "=" for kind in kinds):
            raise Unreadable("inequalities are not checked")
        relations += [Relation(left, "=", right) for left, right in itertools.pairwise(sides)]
    if len(relations) == 1 and isinstance(relations[0].left, Symbol) and not unknowns(relations[0].right):
        return Value(relations[0].right)
    return Equations(tuple(relations), wanted, mentioned[0] if len(mentioned) == 1 else "")


def _derivative(formulas: list[str], mentioned: list[str], words: list[str], log_base: int | None) -> Asked:
    of, at = _function(formulas[0], log_base), None
    if len(formulas) == 2 and "at" in words:
        sides, kinds = read_chain(formulas[1], log_base=log_base)
        if kinds == ["="] and isinstance(sides[0], Symbol):
            at = (sides[0].name, sides[1])
    if len(formulas) > 1 and at is None:
        raise Unreadable("the problem has several formulas, and what is asked of them is not certain")
    times = 2 if "second" in words else 3 if "third" in words else 1
    if isinstance(of, Apply) and of.operation == "derivative":
        return Value(of)
    taken = Apply("derivative", (of, Symbol(_by(of, mentioned)), number(times)))
    if at is None:
        return Value(taken)
    return Value(Apply("at", (taken, Symbol(at[0]), at[1])))


def _integral(formulas: list[str], mentioned: list[str], said: set[str], log_base: int | None) -> Asked:
    of = _function(formulas[0], log_base)
    if isinstance(of, Apply) and of.operation == "integral":
        if len(formulas) > 1:
            raise Unreadable("the problem has several formulas, and what is asked of them is not certain")
        by = of.arguments[1]
        assert isinstance(by, Symbol)
        return Value(of) if len(of.arguments) == 4 else Antiderivative(of.arguments[0], by.name)
    if len(formulas) == 3 and {"from", "to"} <= said:
        low, high = (read_expression(bound, log_base=log_base) for bound in formulas[1:])
        return Value(Apply("integral", (of, Symbol(_by(of, mentioned)), low, high)))
    if len(formulas) > 1:
        raise Unreadable("the problem has several formulas, and what is asked of them is not certain")
    return Antiderivative(of, _by(of, mentioned))


def _limit(formulas: list[str], mentioned: list[str], log_base: int | None) -> Asked:
    of = read_expression(formulas[0], log_base=log_base)
    if len(formulas) == 1:
        return Value(of)
    if len(formulas) != 2 or len(mentioned) != 1:
        raise Unreadable("what the limit is taken of, and where, is not certain")
    target = read_expression(formulas[1], log_base=log_base)
    return Value(Apply("limit", (of, Symbol(mentioned[0]), target, number(0))))


def _function(text: str, log_base: int | None) -> Expression:
    """`f(x) = …` is its right side."""
    return read_expression(_NAMED_FUNCTION.sub("", text), log_base=log_base)


def _by(of: Expression, mentioned: list[str]) -> str:
    found = unknowns(of)
    named = [name for name in mentioned if name in found]
    if len(named) == 1:
        return named[0]
    if len(found) == 1:
        return next(iter(found))
    if "x" in found and not named:
        return "x"
    raise Unreadable("by which variable is not certain")


def _is_symbol(span: str) -> bool:
    return bool(re.fullmatch(r"\s*(?:[A-Za-z]|\\?(?:theta|alpha|beta|lambda))\s*", span))


def _without_question(span: str) -> str:
    return re.sub(r"=\s*\??\s*$", "", span.replace("?", " "))


def _spans(problem: str) -> tuple[list[str], list[str]]:
    """Formulas, and the words around them in lower case."""
    if _DELIMITED.search(problem):
        spans = [next(group for group in match.groups() if group) for match in _DELIMITED.finditer(problem)]
        outside, words = _plain_spans(_DELIMITED.sub(" ; ", problem))
        found = [
            part
            for span in spans
            for part in re.split(r"\\\\|\\quad\s*(?:and)?|(?<==)\s*\?|(?<!\\),(?=\s)|(?<!\\);", span)
            if part.strip(" .")
        ]
        return [part.strip(" .") for part in found] + outside, words
    return _plain_spans(problem)


def _words(text: str) -> list[str]:
    return [word.strip(".,;:?!'\"()").lower() for word in text.split() if word.strip(".,;:?!'\"()")]


def _plain_spans(problem: str) -> tuple[list[str], list[str]]:
    """Without delimiters: runs of what looks like mathematics; a comma, colon or full stop behind one ends it."""
    pieces = re.sub(r"([,;:?])(?=\s|$)|\.(?=\s|$)|\n", r" \g<0> ", problem).replace("\n", " ; ").split()
    spans: list[str] = []
    words: list[str] = []
    run: list[str] = []
    for at, piece in enumerate(pieces):
        following = pieces[at + 1] if at + 1 < len(pieces) else ""
        if piece == "," and _open_brackets(run):
            run.append(piece)
        elif piece in (",", ";", ":", "?", "."):
            run = _ended(run, spans)
        elif _looks_like_mathematics(piece, run, following):
            run.append(piece)
        else:
            run = _ended(run, spans)
            words += _words(piece)
    _ended(run, spans)
    return spans, words


def _open_brackets(run: list[str]) -> bool:
    text = "".join(run)
    return text.count("(") > text.count(")")


def _ended(run: list[str], spans: list[str]) -> list[str]:
    if run:
        spans.append(" ".join(run))
    return []


def _looks_like_mathematics(piece: str, run: list[str], following: str) -> bool:
    lower = piece.lower()
    if lower == "of":
        return bool(run) and (run[-1].endswith("%") or bool(re.fullmatch(r"\d+/\d+", run[-1])))
    if lower == "a":
        return bool(run and re.search(r"[-+*/^=(]$", run[-1])) or bool(re.match(r"[-+*/^=]", following))
    if lower in FUNCTIONS or lower in ("pi", "mod", "infinity"):
        return lower != "exp" or bool(run)
    if re.fullmatch(r"[a-zA-Z]", piece):
        return piece not in ("I", "A")
    if re.fullmatch(r"[A-Za-z]+(?:-[A-Za-z]+)*[.,'’]?[a-z]*", piece):
        return False
    return bool(_MATHY.search(piece))


def at_taken(expression: Expression) -> Expression:
    """`at` (of, variable, place) put in, once derivatives are taken."""
    if isinstance(expression, Apply) and expression.operation == "at":
        of, variable, place = expression.arguments
        assert isinstance(variable, Symbol)
        return put_in(of, {variable.name: place})
    return expression
