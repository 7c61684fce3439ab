"""`conductor doctor`: what is missing, the exact command, and installing it when told to."""

import os
import shlex
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from conductor.domain.errors import Forbidden
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing

if TYPE_CHECKING:
    from conductor.app.doctor.check import Check
    from conductor.faces.cli.context import Context

#: Something is missing or wrong.
_INCOMPLETE: Final = 1
_STYLES: Final = {"ok": "green", "note": "yellow", "wrong": "red", "missing": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Technical names or categories; the whole model table by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    install: Annotated[bool, typer.Option("--install", help="Install what is missing, after asking.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --install: do not ask.")] = False,
) -> None:
    """Check this installation and what models need. Changes nothing without --install. Exit code 1: something is missing."""
    here = contexts.of(context)
    checks = _examine(here, models or [])
    if install and _install(here, checks, agreed=yes, quiet=as_json):
        checks = _examine(here, models or [])
    if as_json:
        printing.print_json({"ok": not any(c.fails for c in checks), "checks": [check.as_json() for check in checks]})
    else:
        _print(here, checks)
    if any(check.fails for check in checks):
        raise typer.Exit(_INCOMPLETE)


def _examine(here: "Context", words: list[str]) -> list["Check"]:
    from conductor.app.doctor.installation import check_installation
    from conductor.app.doctor.models import asked_models, check_extras, check_models, free_memory_bytes, graphics_cards

    installation = here.installation
    models = asked_models(installation, words)
    with here.notes.status("Looking …"):
        found = [] if words else check_installation(installation, now_unix_s=time.time())
        if not models:
            return found + check_extras()
        around = installation.around
        return found + check_models(
            models,
            environ=around.environ,
            home=around.home,
            free_memory_bytes=free_memory_bytes(),
            cards=graphics_cards(),
        )


def _install(here: "Context", checks: list["Check"], *, agreed: bool, quiet: bool) -> bool:
    """Show what would be run, ask, and run it; False where there is nothing to install."""
    from conductor.app.doctor.models import extras_to_install, install_command, install_extras

    extras = extras_to_install(checks)
    if not extras:
        here.notes.print("There is nothing to install.")
        return False
    here.notes.print(f"This would be run:\n  {shlex.join(install_command(extras))}", markup=False, soft_wrap=True)
    if not agreed and not typer.confirm("Run it?", err=True):
        raise Forbidden("nothing was installed: it was not agreed to; --yes agrees beforehand")
    tell = (lambda _line: None) if quiet else (lambda line: here.notes.print(line, markup=False, soft_wrap=True))
    install_extras(extras, environ=os.environ, tell=tell)
    return True


def _print(here: "Context", checks: list["Check"]) -> None:
    several = len({check.about for check in checks}) > 1
    for about in dict.fromkeys(check.about for check in checks):
        of_it = [check for check in checks if check.about == about]
        if several:
            here.console.print(Text(about, "bold"))
        rows = [(c.need, c.found, c.wanted, Text(c.verdict, _STYLES[c.verdict])) for c in of_it]
        here.console.print(printing.table(["Need", "Found", "Wanted", "State"], rows))
        for check in of_it:
            if check.remedy:
                here.console.print(f"{check.need}: {check.remedy}", markup=False, soft_wrap=True)
        here.console.print()
    _print_commands(here, checks)


def _print_commands(here: "Context", checks: list["Check"]) -> None:
    """Each command once, those that something waits for first."""
    for heading, failing in (("Needed:", True), ("Could be done:", False)):
        commands = dict.fromkeys(check.command for check in checks if check.command and check.fails is failing)
        if commands:
            here.console.print(heading, style="bold")
        for command in commands:
            here.console.print(f"  {command}", markup=False, soft_wrap=True)
    failures = sum(check.fails for check in checks)
    if failures:
        here.console.print(f"{failures} of {len(checks)} things are missing or wrong.", style="red")
    else:
        here.console.print(f"Nothing is missing: {len(checks)} things were looked at.", style="green")
