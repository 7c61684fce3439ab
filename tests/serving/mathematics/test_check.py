import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.mathematics.problems import NOT_CHECKABLE, PROBLEMS

from conductor.serving.mathematics.check import check_answer
from conductor.serving.mathematics.given import final_answer
from conductor.serving.mathematics.verdict import Check, Verdict

pytest.importorskip("sympy", reason="checking needs the extra `math`")


@pytest.mark.parametrize(("problem", "right", "wrong"), PROBLEMS)
def test_a_right_answer_is_verified(problem: str, right: str, wrong: str) -> None:
    assert (problem, check_answer(problem, right).verdict) == (problem, Verdict.VERIFIED), check_answer(problem, right)


@pytest.mark.parametrize(("problem", "right", "wrong"), PROBLEMS)
def test_a_wrong_answer_is_contradicted(problem: str, right: str, wrong: str) -> None:
    assert check_answer(problem, wrong).verdict is Verdict.CONTRADICTED, check_answer(problem, wrong)


@pytest.mark.parametrize(("problem", "answer", "reason"), NOT_CHECKABLE)
def test_what_cannot_be_judged_with_certainty_is_left_open(problem: str, answer: str, reason: str) -> None:
    found = check_answer(problem, answer)
    assert (found.verdict, reason in found.reason) == (Verdict.NOT_CHECKABLE, True), found


def test_without_sympy_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sympy", "mpmath"):
        monkeypatch.setitem(sys.modules, name, None)
    assert check_answer("What is 3 + 4?", "7") == Check(
        Verdict.NOT_CHECKABLE, "checking needs the extra `math`: pip install 'conductor[math]'"
    )


def test_nothing_heavy_is_loaded_before_the_first_check() -> None:
    engines = ("conversational_chat", "code_completion", "code_generation", "mathematical_reasoning")
    engines += ("general_reasoning", "creative_writing")
    imports = "; ".join(f"import conductor.serving.engines.{engine}" for engine in engines)
    script = (
        f"import sys; {imports}; print([name for name in ('sympy', 'mpmath', 'yaml', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HOSTILE = (
    "__import__('os').system('touch /tmp/was_run')",
    "().__class__.__bases__[0].__subclasses__()",
    "9**9**9**9**9",
    "((((2^400)^400)^400)^400)",
    "2^(2^(2^(2^(2^2))))",
    "exp(exp(exp(exp(exp(9)))))",
    "sin(exp(exp(exp(5))))",
    "(((1000!)!)!)!",
    "(a+b+c+d+e+f+g+h)^300",
    "(" * 900 + "x" + ")" * 900,
    "-" * 1900 + "1",
    "x^" * 600 + "x",
    "1+" * 190 + "1",
    "9" * 1900,
    "\\sum_{k=1}^{5000} \\sum_{m=1}^{5000} k m",
    "\\int_0^1 \\int_0^1 \\int_0^1 x y z dx dy dz",
    "\\int_{-\\infty}^{\\infty} e^{e^{x^2}} dx",
    "\\lim_{x \\to 0} \\sin(1/x)",
    "\\frac{d^4}{dx^4}(\\frac{d^4}{dx^4}(x^{x^{x^{x}}}))",
    "\\frac" * 200,
    "|" * 300,
    "\\boxed{" * 100,
    "x=" * 300,
    "a,b=" * 200,
    "\0\ud800",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_formulas_are_judged_and_run_nothing(text: str) -> None:
    for problem, answer in (
        (f"Compute ${text}$", "1"),
        ("Compute 1 + 1", text),
        ("Solve x^2 = 4", f"x = {text}"),
        (f"Differentiate ${text}$", "1"),
        ("Find $\\int x dx$", text),
        (f"Solve ${text} = x$", "x = 2"),
    ):
        assert check_answer(problem, answer).verdict in Verdict


@given(st.text(alphabet="xy0123456789+-*/^()=.,! \\{}|%sincoqrtlgfap_", max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_gets_a_verdict(text: str) -> None:
    assert check_answer(f"Compute {text}", text).verdict in Verdict
    assert check_answer("Solve x^2 - 5x + 6 = 0", text).verdict in Verdict


WHOLE = st.integers(-50, 50)


@given(WHOLE, WHOLE, WHOLE, st.integers(-100, 100))
@settings(max_examples=60, deadline=None)
def test_sums_and_products_are_judged_as_python_computes_them(a: int, b: int, c: int, off: int) -> None:
    right = a * b - c
    verdict = check_answer(f"What is ({a}) * ({b}) - ({c})?", str(right + off)).verdict
    assert verdict is (Verdict.VERIFIED if off == 0 else Verdict.CONTRADICTED)


@given(st.sets(st.integers(-9, 9), min_size=1, max_size=4), st.sets(st.integers(-9, 9), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_all_roots_and_only_roots_are_verified(roots: set[int], answered: set[int]) -> None:
    product = " * ".join(f"(x - ({root}))" for root in sorted(roots))
    answer = ", ".join(f"x = {root}" for root in sorted(answered))
    verdict = check_answer(f"Solve {product} = 0", answer).verdict
    assert verdict is (Verdict.VERIFIED if answered == roots else Verdict.CONTRADICTED)


@given(
    st.recursive(
        st.text(alphabet="ab \\\\+", max_size=8), lambda inner: inner.map(lambda text: "{" + text + "}"), max_leaves=4
    )
)
def test_a_boxed_answer_comes_out_whole(answer: str) -> None:
    assert final_answer(f"1. so\nFinal answer: $\\boxed{{{answer}}}$ as was asked.") == answer.strip()
