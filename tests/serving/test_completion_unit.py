import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.serving.code.completion_unit import Unit

CASES = {
    "the rest of a line before more text on it": ("total = add(", ", b)\n", "python", "a + 1", "\nprint(total)"),
    "a repeated rest of the line": ("total = add(", ", b)\n", "python", "a", ", b)\nprint(total)"),
    "an argument before the closing bracket": ("print(", ")\n", "python", "x, sep='('", ")\nprint(y)"),
    "an inner call is closed, the outer one is not": ("f(g(", ")\n", "python", "x)", ")\nh()"),
    "a Python block": ("def f(x):\n", "", "python", "    y = x\n\n    return y", "\n\n\ndef g():\n    pass"),
    "a Python block from the line of its head": ("def f(x):", "", "python", "\n    return x", "\nprint(f(1))\n"),
    "an if with its else": ("if x:\n", "", "python", "    a()\nelse:\n    b()", "\nc()\n"),
    "a block with its closing brace": ("function f() {\n", "", "javascript", "  return 1;\n}", "\nf();\n"),
    "a block whose brace the suffix has": ("function f() {\n", "\n}\n", "javascript", "  return 1;", "\n}\nf();\n"),
    "an inner block whose outer brace the suffix has": (
        "int f() {\n",
        "\n}\n",
        "c",
        "  if (x) {\n    y();\n  }",
        "\n}\nint g() {\n",
    ),
    "the statement at the cursor": ("    x = ", "", "python", "[\n        1,\n        2,\n    ]", "\n    y = 3\n"),
    "the rest of a block": ("def f():\n    a = 1\n    ", "", "python", "b = 2\n    return a + b", "\n\nprint()\n"),
    "the suffix's next line is never written again": (
        "def f():\n    a = 1\n",
        "\n    return a\n",
        "python",
        "    a += 1",
        "\n    return a\n",
    ),
    "a top-level function": ("import os\n\n", "", "python", "def f():\n    return 1", "\n\ndef g():\n    return 2\n"),
    "brackets in strings and comments do not count": (
        "def f(x):\n",
        "",
        "python",
        "    # }) not code\n    return '((['",
        "\nprint()\n",
    ),
    "a brace in a character does not count": (
        "fn f() -> char {\n",
        "",
        "rust",
        "    '{'\n}",
        "\nfn g() -> char {\n    'x'\n}\n\n// and so on\n",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_unit_ends_where_it_should(name: str) -> None:
    prefix, suffix, language, wanted, beyond = CASES[name]
    shown = Unit(prefix, suffix, language).shown(wanted + beyond)
    assert ((wanted + beyond)[: shown.characters], shown.ended) == (wanted, True)


@pytest.mark.parametrize("name", CASES)
def test_a_unit_that_is_cut_off_is_shown_as_far_as_it_goes(name: str) -> None:
    prefix, suffix, language, wanted, _ = CASES[name]
    assert Unit(prefix, suffix, language).shown(wanted, final=True).characters == len(wanted)


CODE = st.text(alphabet="ab (){}[]'\"\\\n/*#:,", max_size=60)


@given(CODE, CODE, CODE, st.sampled_from(["python", "javascript", "rust", "c", ""]))
@settings(max_examples=400)
def test_what_was_shown_is_never_taken_back(prefix: str, suffix: str, written: str, language: str) -> None:
    unit = Unit(prefix, suffix, language)
    shown, ended = 0, False
    for length in range(len(written) + 1):
        now = unit.shown(written[:length])
        assert now.characters >= shown
        if ended:
            assert now.ended
            assert now.characters == shown
        shown, ended = now.characters, now.ended
    last = unit.shown(written, final=True)
    assert shown <= last.characters <= len(written)
    assert not ended or last.characters == shown
