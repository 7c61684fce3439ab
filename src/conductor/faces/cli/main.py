"""The command `conductor`: puts the nouns together, turns errors into one line and an exit code (see `exits`)."""

import os
import sys
from typing import Annotated

import typer

from conductor import __version__
from conductor.domain.errors import ConductorError
from conductor.faces.cli import (
    chat,
    decide,
    doctor,
    exits,
    explain,
    key,
    ledger,
    mcp,
    mind,
    models,
    nodes,
    run,
    serve,
    settings,
    status,
    tasks,
)
from conductor.faces.cli.context import Context

app = typer.Typer(
    name="conductor",
    help="Tell your machines in plain words what to do; see where it runs, why, and prove it afterwards.",
    epilog="Exit codes: 0 done, 1 the task failed, 2 wrong input, 3 no server, 4 not found, 5 conflict, 6 not allowed, "
    "7 overloaded, 8 storage fails, 9 the ledger does not verify, 10 a language model fails, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for verb in (run, decide, explain, chat, status, serve, mcp, doctor):
    verb.register(app)
for noun in (tasks, nodes, ledger, mind, models, settings, key):
    app.add_typer(noun.app)
app.add_typer(key.app, name="keys", hidden=True)  # the plural is what people type
ledger.register_verification(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"conductor {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    data_dir: Annotated[
        str | None,
        typer.Option("--data-dir", metavar="FOLDER", envvar="CONDUCTOR_DATA_DIR", help="Folder of the installation."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", envvar="CONDUCTOR_CONFIG", help="YAML file with settings."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command choose the installation."""
    context.obj = Context(data_dir=data_dir, config=config)


def main() -> None:
    """Run the command line; the entry point of the package."""
    sys.exit(_run())


def _run() -> int:
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except ConductorError as error:
        return _fail(error.message, exits.code_of(error))
    except typer.TyperException as error:  # the line could not be understood, or asks for nothing: then help is printed
        message = _remedied(error)
        return _fail(message, exits.WRONG_INPUT) if message else exits.WRONG_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return exits.INTERRUPTED
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as stop:  # typer and rich both answer a closed pipe with exit code 1, which means a failed task
        if isinstance(stop.__context__, BrokenPipeError):
            return _nobody_reads()
        raise
    return code if isinstance(code, int) else 0


def _nobody_reads() -> int:
    """Python flushes standard output once more while it ends, and must not complain then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exits.NOBODY_READS


def _fail(message: str, code: int) -> int:
    typer.secho(f"conductor: {message}", fg="red" if "NO_COLOR" not in os.environ else None, err=True)
    return code


def _remedied(error: typer.TyperException) -> str:
    """What is wrong with the line, and which help to read."""
    context = getattr(error, "ctx", None)
    message = _wrong_value(error) or " ".join(error.format_message().split())
    if context is None or not message:
        return message
    return f"{message[0].lower()}{message[1:].rstrip('.')}; `{context.command_path} --help` tells more"


def _wrong_value(error: typer.TyperException) -> str:
    """A value that an option cannot take, in our words; empty for every other mistake."""
    errors, parameter = getattr(error.__cause__, "errors", None), getattr(error, "param", None)
    if errors is None or parameter is None:
        return ""
    from conductor.app.malformed import sentence  # only mistakes wait for it

    return sentence(errors()[0], name=max(parameter.opts, key=len))


if __name__ == "__main__":
    main()
