"""`conductor serve`, also called `conductor up`: run the server in the foreground until it is told to stop."""

import os
import sys
from typing import Annotated

import typer

from conductor.faces.cli import context as contexts


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)
    app.command("up", help="The same as `conductor serve`.")(serve)


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 8000 by default, 0 takes a free one.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Answer without a key: loopback only, and nothing that executes code.")
    ] = False,
    skip_model_loading: Annotated[
        bool, typer.Option("--skip-model-loading", help="Load no model: everything that needs none is served.")
    ] = False,
    mcp_only: Annotated[
        bool, typer.Option("--mcp-only", help="Serve MCP on standard input and output instead, as `conductor mcp`.")
    ] = False,
) -> None:
    """Serve the HTTP API and run tasks. SIGTERM and Ctrl-C let running tasks end, for a while."""
    arguments = contexts.of(context).arguments()
    for name, value in (("--host", host), ("--port", port), ("--log-level", log_level)):
        if value is not None:
            arguments += [name, str(value)]
    flags = (("--no-key", no_key), ("--skip-model-loading", skip_model_loading), ("--mcp-only", mcp_only))
    arguments += [name for name, is_set in flags if is_set]
    sys.stdout.flush()
    # The server is a face of its own: this process becomes it, so signals and exit codes need no forwarding.
    os.execv(sys.executable, [sys.executable, "-m", "conductor", *arguments])  # noqa: S606
