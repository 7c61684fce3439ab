"""Cut a formula, LaTeX or plain, into the same few kinds of tokens.

Spacing and sizing commands of LaTeX vanish; Unicode signs and LaTeX commands that mean the same become the same. What is
neither a number, a sign, a known function nor a variable is refused: words do not become products of their letters.
"""

import re
from dataclasses import dataclass
from typing import Final

from conductor.serving.mathematics.expression import Unreadable

MOST_CHARACTERS: Final = 2000
MOST_TOKENS: Final = 400
MOST_DIGITS: Final = 60

FUNCTIONS: Final = {
    **{name: name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "ln", "log", "exp")},
    **{name: name for name in ("sqrt", "cbrt", "abs", "floor", "ceil", "gcd", "lcm", "sign")},
    "arcsin": "asin",
    "asin": "asin",
    "arccos": "acos",
    "acos": "acos",
    "arctan": "atan",
    "atan": "atan",
    "sgn": "sign",
    "ceiling": "ceil",
}
_GREEK_LETTERS: Final = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi chi psi omega"
)
_GREEK: Final = frozenset(_GREEK_LETTERS.split())
_SIGNS: Final = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "×": "*",
        "·": "*",
        "⋅": "*",
        "∙": "*",
        "÷": "/",
        "∞": " oo ",
        "π": " pi ",
        "θ": " theta ",
        "α": " alpha ",
        "β": " beta ",
        "λ": " lambda ",
        "√": " sqrt ",
        "∫": r" \int ",
        "∑": r" \sum ",
        "→": r" \to ",
        "≤": " <= ",
        "≥": " >= ",
        "≠": " != ",
        "≈": r" \approx ",
        "\u00a0": " ",
        "\u2009": " ",
    }
)
_SUPERSCRIPTS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_DROPPED: Final = re.compile(
    r"\\(?:left|right|[bB]ig[lr]?|displaystyle|textstyle|limits|mathrm|mathit|operatorname|q?quad)(?![A-Za-z])"
    r"|\\[,;:! ]|[$~]"
)
_COMMANDS: Final = {
    "cdot": "*",
    "times": "*",
    "ast": "*",
    "div": "/",
    "le": "<=",
    "leq": "<=",
    "leqslant": "<=",
    "ge": ">=",
    "geq": ">=",
    "geqslant": ">=",
    "lt": "<",
    "gt": ">",
    "ne": "!=",
    "neq": "!=",
    "lvert": "|",
    "rvert": "|",
    "vert": "|",
    "lfloor": "⌊",
    "rfloor": "⌋",
    "lceil": "⌈",
    "rceil": "⌉",
    "bmod": "mod",
    "mod": "mod",
    "infty": "oo",
    "circ": "°",
    "rightarrow": "to",
    "to": "to",
    "dfrac": "frac",
    "tfrac": "frac",
    "cfrac": "frac",
    "dbinom": "binom",
    "tbinom": "binom",
    "varphi": "phi",
    "vartheta": "theta",
}
_KEPT_COMMANDS: Final = frozenset({"frac", "binom", "int", "sum", "prod", "lim", "pi"})
_TOKEN: Final = re.compile(
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+(?:\.\d+)?|\.\d+)"
    r"|\\(?P<command>[A-Za-z]+)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<sign><=|>=|!=|\*\*|\\%|[-+*/^_=<>!|(){}\[\],%°'⌊⌋⌈⌉])"
    r"|(?P<space>\s+)"
)


@dataclass(frozen=True, slots=True)
class Token:
    """Kind is `number`, `variable`, `constant`, `function`, `command` or `sign`; `spaced` where white space came before."""

    kind: str
    text: str
    spaced: bool = False


def tokens_of(text: str) -> list[Token]:
    """All tokens of a formula.

    Raises:
        Unreadable: it is too long, or has words or signs that are not mathematics known here.
    """
    if len(text) > MOST_CHARACTERS:
        raise Unreadable(f"the formula has {len(text)} characters; at most {MOST_CHARACTERS} are read")
    plain = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda found: f"^({found[0].translate(_SUPERSCRIPTS)})", text)
    plain = _DROPPED.sub(" ", plain.translate(_SIGNS).replace("{,}", ","))
    found: list[Token] = []
    position, spaced = 0, False
    while position < len(plain):
        match = _TOKEN.match(plain, position)
        if match is None:
            raise Unreadable(f"{plain[position]!r} is not read as mathematics")
        position = match.end()
        if match["space"]:
            spaced = True
            continue
        first, *more = _read(match)
        found += [Token(first.kind, first.text, spaced), *more]
        spaced = False
        if len(found) > MOST_TOKENS:
            raise Unreadable(f"the formula has more than {MOST_TOKENS} signs")
    return found


def _read(match: re.Match[str]) -> list[Token]:
    if match["number"]:
        digits = match["number"].replace(",", "")
        if len(digits) > MOST_DIGITS:
            raise Unreadable(f"a number has more than {MOST_DIGITS} digits")
        return [Token("number", digits)]
    if match["sign"]:
        return [Token("sign", {"**": "^", "\\%": "%"}.get(match["sign"], match["sign"]))]
    if match["command"]:
        return [_command(_COMMANDS.get(match["command"], match["command"]))]
    return _word(match["word"])


def _command(name: str) -> Token:
    if name in FUNCTIONS:
        return Token("function", FUNCTIONS[name])
    if name in _GREEK:
        return Token("variable", name)
    if name in ("pi", "oo"):
        return Token("constant", name)
    if name in _KEPT_COMMANDS:
        return Token("command", name)
    if name in ("mod", "to"):
        return Token("sign", name)
    if not name.isalpha():
        return Token("sign", name)
    raise Unreadable(f"the command \\{name} is not read")


def _word(word: str) -> list[Token]:
    lower = word.lower()
    if lower in FUNCTIONS:
        return [Token("function", FUNCTIONS[lower])]
    if lower in ("pi", "oo", "infinity"):
        return [Token("constant", "pi" if lower == "pi" else "oo")]
    if lower in _GREEK:
        return [Token("variable", lower)]
    if lower in ("mod", "of", "to"):
        return [Token("sign", lower)]
    for name in sorted(FUNCTIONS, key=len, reverse=True):  # `xsin`, `sinx`
        if name in lower and len(word) - len(name) in (1, 2) and len(name) > 1:
            before, after = lower.split(name, 1)
            return [*map(_letter, before), Token("function", FUNCTIONS[name]), *map(_letter, after)]
    if len(word) > 3:
        raise Unreadable(f"{word!r} is a word, not mathematics")
    return [_letter(letter) for letter in word]


def _letter(letter: str) -> Token:
    return Token("constant" if letter in "ei" else "variable", letter)
