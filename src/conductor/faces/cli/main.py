"""The command `conductor`: puts the nouns together, turns errors into one line and an exit code.

Exit codes: 0 done · 1 the task failed · 2 wrong input · 3 no server · 4 not found · 5 conflict · 6 not allowed ·
7 overloaded, try later · 8 storage fails · 9 the ledger does not verify · 70 an error of our own · 130 interrupted.
"""

import sys
from typing import Annotated, Final

import typer

from conductor import __version__
from conductor.domain.errors import (
    ConductorError,
    Conflict,
    Exhausted,
    Forbidden,
    InvalidInput,
    InvalidTransition,
    LedgerError,
    NotFound,
    Overloaded,
    StorageError,
    Unauthenticated,
)
from conductor.faces.cli import decide, explain, key, ledger, mind, nodes, run, serve, settings, status, tasks
from conductor.faces.cli.client import Unreachable
from conductor.faces.cli.context import Context

_EXIT_CODES: Final[tuple[tuple[type[ConductorError], int], ...]] = (
    (Unreachable, 3),
    (InvalidInput, 2),
    (Exhausted, 2),
    (NotFound, 4),
    (Conflict, 5),
    (InvalidTransition, 5),
    (Unauthenticated, 6),
    (Forbidden, 6),
    (Overloaded, 7),
    (StorageError, 8),
    (LedgerError, 9),
)

app = typer.Typer(
    name="conductor",
    help="Tell your machines in plain words what to do; see where it runs, why, and prove it afterwards.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for noun in (tasks, nodes, ledger, mind, settings, key):
    app.add_typer(noun.app)
for verb in (run, decide, explain, status, serve):
    verb.register(app)
ledger.register_verification(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"conductor {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", envvar="CONDUCTOR_DATA_DIR", help="Folder of the installation.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", envvar="CONDUCTOR_CONFIG", help="YAML file with settings.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command choose the installation."""
    context.obj = Context(data_dir=data_dir, config=config)


def main() -> None:
    """Run the command line; the entry point of the package."""
    try:
        app(standalone_mode=True)
    except ConductorError as error:
        typer.secho(f"conductor: {error.message}", fg="red", err=True)
        sys.exit(next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 70))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
