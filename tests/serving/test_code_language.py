import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.serving.code.language import UNKNOWN, Detected, detect
from conductor.serving.code.languages import LANGUAGES, language_named

SAMPLES = {
    "python": "import os\n\ndef area(r):\n    return 3.14 * r ** 2\n\nfor name in os.listdir('.'):\n    print(name)\n",
    "javascript": "const fs = require('fs');\nfunction area(r) {\n  return Math.PI * r * r;\n}\nconsole.log(area(2));\n",
    "typescript": "interface Circle {\n  radius: number;\n}\nexport const area = (c: Circle): number => c.radius ** 2;\n",
    "java": "import java.util.List;\n\npublic class Main {\n    public static void main(String[] args) {\n    }\n}\n",
    "kotlin": "data class Circle(val radius: Double)\n\nfun main() {\n    val c = Circle(2.0)\n    println(c)\n}\n",
    "c": '#include <stdio.h>\n\nint main(void) {\n    printf("hello\\n");\n    return 0;\n}\n',
    "cpp": "#include <iostream>\n\nint main() {\n    std::cout << 1 << std::endl;\n    auto x = nullptr;\n}\n",
    "csharp": "using System;\n\nnamespace Shop\n{\n    public class Item { public int Id { get; set; } }\n}\n",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tx := 1\n\tfmt.Println(x)\n}\n',
    "rust": 'use std::io;\n\nfn main() {\n    let mut x = 1;\n    println!("{}", x);\n}\n',
    "swift": "import Foundation\n\nfunc area(r: Double) -> Double {\n    guard let x = y else { return 0 }\n}\n",
    "ruby": "require 'json'\n\nclass Shop\n  def total\n    @items = items.each do |i|\n    end\n  end\nend\n",
    "php": "<?php\nfunction area($r) {\n    return pi() * $r;\n}\necho area(2);\n",
    "lua": "local function area(r)\n  if r == nil then\n    return 0\n  end\nend\n",
    "r": "library(ggplot2)\nx <- c(1, 2, 3)\ny <- x * 2\n",
    "haskell": "module Main where\n\nimport Data.List\n\narea :: Double -> Double\narea r = pi * r\n",
    "bash": 'set -e\nfor f in *.txt; do\n  if [ -f "$f" ]; then\n    echo "$f"\n  fi\ndone\n',
    "powershell": "param ($Name)\nGet-ChildItem | Where-Object { $_.Length -gt 10 }\nWrite-Output $Name\n",
    "sql": "SELECT name, price\nFROM items\nWHERE price > 10\nORDER BY name;\n",
    "html": "<!DOCTYPE html>\n<html>\n<body><p>hi</p></body>\n</html>\n",
    "xml": '<?xml version="1.0"?>\n<items><item id="1"/></items>\n',
    "css": ".card {\n  color: red;\n  margin: 4px;\n}\n@media print {\n}\n",
    "json": '{\n  "name": "x",\n  "items": [1, 2]\n}\n',
    "toml": '[project]\nname = "x"\nversion = "1"\n\n[tool.ruff]\nline-length = 120\n',
    "dockerfile": 'FROM python:3.11-slim\nWORKDIR /app\nCOPY . .\nCMD ["python"]\n',
    "makefile": ".PHONY: all\nall: build\n\t$(CC) -o x x.c\n",
}


@pytest.mark.parametrize("language", SAMPLES)
def test_a_program_is_recognised_by_its_content(language: str) -> None:
    assert detect(SAMPLES[language]).name == language, detect(SAMPLES[language])


@pytest.mark.parametrize(
    "text", ["", "Hello, how are you today?", "x", "12 + 3", "Dear Sir,\nplease find enclosed …\n"]
)
def test_what_is_no_program_is_unknown(text: str) -> None:
    assert detect(text).name == UNKNOWN


def test_the_file_name_counts_more_than_the_content() -> None:
    assert detect(SAMPLES["python"], "src/area.ts") == Detected("typescript", 1.0, "file name")
    assert detect("", "C:\\work\\Dockerfile").name == "dockerfile"
    assert detect("", "notes.unheard").name == UNKNOWN


def test_a_header_with_templates_is_cpp() -> None:
    assert detect("template <typename T>\nstd::vector<T> all();\nnamespace a {\n", "all.h").name == "cpp"
    assert detect("int all(void);\n", "all.h").name == "c"


@pytest.mark.parametrize(
    ("line", "language"),
    [("#!/usr/bin/env python3", "python"), ("#!/bin/sh", "bash"), ("#! /usr/bin/env -S node --x", "javascript")],
)
def test_the_first_line_names_the_language(line: str, language: str) -> None:
    assert detect(f"{line}\nx = 1\n") == Detected(language, 1.0, "first line")


def test_names_and_file_endings_belong_to_one_language_each() -> None:
    names = [name for language in LANGUAGES for name in {language.name, language.title.lower(), *language.names}]
    endings = [ending for language in LANGUAGES for ending in language.endings]
    assert len(names) == len(set(names))
    assert len(endings) == len(set(endings))
    assert language_named(" C++ ") is language_named("cpp")


@given(st.text(max_size=400), st.text(max_size=30))
def test_any_text_gets_a_known_name_and_a_score_within_bounds(code: str, file_name: str) -> None:
    found = detect(code, file_name)
    assert found.name == UNKNOWN or language_named(found.name) is not None
    assert 0 <= found.score <= 1
