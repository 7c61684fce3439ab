"""What the documents say is so: reference pages are current, named commands exist, links lead somewhere, examples run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import served as served
from tests.cli.terminal import Terminal
from tests.docs.pages import DOCS, PAGES, commands

ROOT = DOCS.parent
WRITTEN = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("adr/*.md"))]


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_what_the_program_says_today(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `python -m tests.docs.pages`"


def spoken_commands(text: str) -> list[list[str]]:
    """Every `conductor …` in backticks or at the start of a line of a code block, as words."""
    inline = re.findall(r"`(conductor [^`\n]+)`", text)
    blocks = re.findall(r"^(?:\$ )?(conductor [^\n]+)$", "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.S)), re.M)
    return [shlex.split(line, comments=True) for line in inline + blocks]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_every_command_a_page_names_exists_with_its_options(page: Path) -> None:
    known = commands()
    for words in spoken_commands(page.read_text(encoding="utf-8")):
        name = next(" ".join(words[:size]) for size in (3, 2, 1) if " ".join(words[:size]) in known)
        assert name != "conductor" or words[1].startswith("-"), words
        own = words[: words.index("--")] if "--" in words else words
        options = {option for parameter in known[name].params for option in parameter.opts} | {"--help"}
        assert {word.partition("=")[0] for word in own if word.startswith("--")} <= options, words


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def example(language: str) -> str:
    """The one code block of the README in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    return str(found)


def test_the_python_example_of_the_readme_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example("python")], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert "VIDEO" in done.stdout
    assert "succeeded hello" in done.stdout


def test_the_http_example_of_the_readme_runs(served: Terminal) -> None:
    url = served.conductor("status", "--json").json()["url"]
    key = served.conductor("key", "show").out.strip()
    script = example("sh").replace("http://127.0.0.1:8000", url).replace("$(conductor key show)", key)

    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert '"state":"queued"' in done.stdout.replace(" ", "")
    assert "event: state" in done.stdout
    assert '"state": "succeeded"' in done.stdout
