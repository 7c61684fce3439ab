"""The reference pages that are made from the program: `python -m tests.docs.pages` writes them, a test compares them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from conductor.app.settings.keys import describe
from conductor.faces.cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
REMARK = "<!-- Made by `python -m tests.docs.pages`; change the help texts or settings instead. -->"


def commands() -> dict[str, Any]:
    """Every command with its full name: `conductor tasks list`."""
    found: dict[str, Any] = {}

    def walk(name: str, command: Any) -> None:
        found[name] = command
        for verb, child in getattr(command, "commands", {}).items():
            walk(f"{name} {verb}", child)

    walk("conductor", typer.main.get_command(app))
    return found


def cli_page() -> str:
    """`docs/cli.md`: every command, argument and option."""
    parts = ["# The command line", REMARK, ""]
    for name, command in commands().items():
        parts += [f"## {name}" if " " not in name else f"### `{name}`", "", _unwrapped(command.help or ""), ""]
        rows = list(_parameters(command))
        if rows:
            parts += ["| | |", "| --- | --- |", *rows, ""]
        if command.epilog:
            parts += [command.epilog, ""]
    return "\n".join(parts)


def settings_page() -> str:
    """`docs/settings.md`: every setting."""
    parts = [
        "# Settings",
        REMARK,
        "",
        "Stored by `conductor settings set` > environment > YAML file > defaults, setting by setting;",
        "`conductor settings show` prints each value and where it came from. In YAML, dots are nesting.",
        "Changes take effect at once, except where *restart* stands.",
        "",
        "| Setting | Environment | Value | Default | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in describe():
        default = row["default_text"] or f"`{_json(row['default'])}`"
        restart = " *Restart.*" if row["needs_restart"] else ""
        parts.append(
            f"| `{row['name']}` | `{row['variable']}` | {row['form']} | {default} | {row['description']}{restart} |"
        )
    return "\n".join([*parts, ""])


def _parameters(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            shown = parameter.metavar or parameter.name.upper()
            yield f"| `{shown}` | {_cell(parameter.help)} |"
        elif parameter.name not in ("help", "install_completion", "show_completion"):
            names = ", ".join(parameter.opts)
            value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
            default = "" if parameter.default in (None, False, ()) else f" Default: {parameter.default}."
            yield f"| `{names}{value}` | {_cell(parameter.help)}{default} |"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _unwrapped(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _json(value: Any) -> str:
    return json.dumps(value)


PAGES = {"cli.md": cli_page, "settings.md": settings_page}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
