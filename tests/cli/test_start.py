"""Help: what it loads, and that each command has one."""

import subprocess
import sys

import pytest
import typer.main
from tests.cli.terminal import Terminal

from conductor.faces.cli.main import app

HEAVY = ("pydantic", "structlog", "orjson", "sqlalchemy", "numpy", "onnxruntime", "fastapi", "aiohttp", "rich.progress")


def test_the_commands_load_nothing_of_the_application_until_one_runs() -> None:
    code = "import conductor.faces.cli.main, sys; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert [name for name in loaded if name in HEAVY or name.startswith("conductor.app")] == []


@pytest.mark.parametrize("name", [None, *typer.main.get_command(app).commands])  # type: ignore[attr-defined]
def test_every_command_has_help_that_fits_80_columns(alone: Terminal, name: str | None) -> None:
    said = alone.conductor(*([name] if name else []), "--help")

    assert said.code == 0
    assert "Usage: " in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert not alone.data_dir.exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["tasks", "lst"], "Did you mean 'list'?"),
        (["frobnicate"], "frobnicate"),
        (["run", "--frobnicate", "x"], "--frobnicate"),
        (["tasks", "show"], "--help"),
    ],
)
def test_a_line_that_cannot_be_understood_is_one_line_with_the_help_to_read(
    alone: Terminal, words: list[str], hint: str
) -> None:
    said = alone.conductor(*words)

    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert hint in said.err
