import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.serving.code.blocks import CodeBlock, code_blocks, main_block
from conductor.serving.code.syntax import Thoroughness, checked_syntax

RIGHT = {
    "python": "def f(x):\n    return {x: '}'}\n",
    "json": '{"a": [1, 2]}',
    "toml": 'a = [1, 2]\n[b]\nc = "x"\n',
    "yaml": "a:\n  - 1\n  - 'b'\n",
    "javascript": "const f = (x) => x.replace(/[(\\/]/g, `)${x}`); // )\n",
    "rust": "fn f<'a>(x: &'a str) -> char { match x { _ => '{' } }\n",
    "c": "int f() { char c = '('; return g(\"]\"); /* ) */ }\n",
    "cpp": 'auto s = R"x(()x"; int n = 1\'000;\n',
    "go": "func f() { s := `(` + \"[\" ; g('{') }\n",
    "sql": "SELECT 'it''s (' FROM t WHERE (a = 1) -- )\n",
    "haskell": "f x = g x' '(' -- )\n",
    "ruby": 'def f(x)\n  x.map { |y| "}" } # (\nend\n',
    "lua": "local t = {1, '}'} --[[ ( ]] \n",
    "csharp": 'var s = @"C:\\("; f(s);\n',
}
WRONG = {
    "python": ("def f(x:\n    return x\n", 1),
    "json": ('{\n"a": [1, 2}', 2),
    "toml": ("a = [1, 2\n", None),
    "yaml": ("a: [1, 2\nb: 3\n", 2),
    "javascript": ("function f() {\n  return (1;\n}\n", 3),
    "rust": ("fn f() {\n  g()\n", 1),
    "c": ('int f() {\n  g("x);\n}\n', 2),
    "go": ("func f() {\n}}\n", 2),
    "sql": ("SELECT (1\n", 1),
    "java": ("class A {\n /* no end\n}", 2),
}


@pytest.mark.parametrize("language", RIGHT)
def test_a_right_program_passes(language: str) -> None:
    verdict = checked_syntax(RIGHT[language], language)
    assert (verdict.error, verdict.thoroughness is Thoroughness.NONE) == (None, False)


@pytest.mark.parametrize("language", WRONG)
def test_a_wrong_program_is_found_with_its_line(language: str) -> None:
    code, line = WRONG[language]
    verdict = checked_syntax(code, language)
    assert verdict.error is not None
    if line is not None and language != "javascript":
        assert verdict.line == line


def test_brackets_alone_are_said_to_be_a_weaker_check() -> None:
    assert checked_syntax("int x;", "c").thoroughness is Thoroughness.BALANCED
    assert "only brackets" in checked_syntax("int x;", "c").remark
    assert checked_syntax("x = 1", "python").thoroughness is Thoroughness.PARSED
    assert checked_syntax("case x in a) ;; esac", "bash").thoroughness is Thoroughness.NONE
    assert checked_syntax("x", "klingon").thoroughness is Thoroughness.NONE


@pytest.mark.parametrize("language", ["python", "json", "toml", "yaml", "c"])
@pytest.mark.parametrize(
    "text", ["(" * 50_000, "[" * 100_000, "-" * 100_000 + "1", "\0", "\ud800", "9" * 10_000, "'" * 9999]
)
def test_hostile_text_is_judged_and_does_not_end_the_process(language: str, text: str) -> None:
    checked_syntax(text, language)


@given(st.text(max_size=200))
def test_python_is_judged_as_its_parser_does(code: str) -> None:
    try:
        ast.parse(code)
        right = True
    except (SyntaxError, ValueError):
        right = False
    assert (checked_syntax(code, "python").error is None) == right


def test_blocks_are_taken_out_with_language_and_file_name() -> None:
    written = (
        "Save this as `src/area.py`:\n```python\nx = 1\n```\nand run\n~~~sh\necho ``` hi\n~~~\n"
        "````md\n```\ninner\n```\n````\n```js title=app.js\nlet y;\n"
    )
    assert code_blocks(written) == (
        CodeBlock(code="x = 1\n", language="python", file_name="src/area.py"),
        CodeBlock(code="echo ``` hi\n", language="bash"),
        CodeBlock(code="```\ninner\n```\n", language="md"),
        CodeBlock(code="let y;\n", language="javascript", file_name="app.js", open=True),
    )


def test_code_without_a_fence_is_found_and_prose_is_not() -> None:
    code = "def f(x):\n    return x\n\nfor y in f(3):\n    print(y)\n"
    assert code_blocks(code) == (CodeBlock(code=code, language="python"),)
    assert code_blocks("I cannot help with that.") == ()


def test_the_main_block_is_the_longest_in_the_wanted_language() -> None:
    blocks = code_blocks("```sh\npip install a b c d e f g h\n```\n```python\nx\n```\n```python\nx = 1\n```\n")
    assert [main.code if (main := main_block(blocks, wanted)) else None for wanted in ("python", "go")] == [
        "x = 1\n",
        "pip install a b c d e f g h\n",
    ]


@given(st.lists(st.text(alphabet="ab`~\n ", max_size=40), max_size=6))
def test_fenced_text_comes_out_as_it_went_in(codes: list[str]) -> None:
    bodies = [code for code in codes if "`````" not in code]
    written = "".join(f"`````x\n{body}\n`````\n\n" for body in bodies)
    assert [block.code for block in code_blocks(written)] == [body + "\n" for body in bodies]
